package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// asDemo makes this test program be the demo.
const asDemo = "WEIR_TEST_AS_DEMO"

func TestMain(m *testing.M) {
	if os.Getenv(asDemo) != "" {
		main()
		os.Exit(0)
	}

	os.Exit(m.Run())
}

func testDemo(t *testing.T) (*demo, string) {
	t.Helper()
	t.Setenv(asDemo, "true")

	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}

	return &demo{dir: t.TempDir(), out: &output{w: t.Output()}}, self
}

func TestServices(t *testing.T) {
	sleep, err := exec.LookPath("sleep")
	if err != nil {
		t.Skip(err)
	}

	for name, tc := range map[string]struct {
		reason string
		args   []string
	}{
		"git":     {"it is this program", []string{"127.0.0.1"}},
		"manager": {"it becomes another program, which keeps the lock", []string{sleep, "3600"}},
	} {
		t.Run(name, func(t *testing.T) {
			d, self := testDemo(t)
			s := d.service(name)
			args := append([]string{"--dir=" + d.dir, "--node=false", "daemon", name}, tc.args...)

			t.Cleanup(func() { _ = s.stop(t.Context()) })

			if _, err := s.start(t.Context(), self, args...); err != nil {
				t.Fatalf("%s: %v", tc.reason, err)
			}

			if running, err := held(s.lock()); !running || err != nil {
				t.Errorf("%s: running is %t, error %v", tc.reason, running, err)
			}

			if err := s.stop(t.Context()); err != nil {
				t.Error(err)
			}

			if running, err := held(s.lock()); running || err != nil {
				t.Errorf("after stop, running is %t, error %v", running, err)
			}
		})
	}
}

func TestServiceKilled(t *testing.T) {
	d, self := testDemo(t)
	s := d.service("git")
	args := []string{"--dir=" + d.dir, "--node=false", "daemon", "git", "127.0.0.1"}

	if _, err := s.start(t.Context(), self, args...); err != nil {
		t.Fatal(err)
	}

	content, err := os.ReadFile(s.lock())
	if err != nil {
		t.Fatal(err)
	}

	if err := exec.CommandContext(t.Context(), "kill", "-9", string(content)).Run(); err != nil {
		t.Fatal(err)
	}

	if err := s.stop(t.Context()); err != nil {
		t.Errorf("stop a killed service: %v", err)
	}

	address, err := s.start(t.Context(), self, args...)
	if err != nil {
		t.Fatalf("start after a kill: %v", err)
	}

	if _, port, ok := strings.Cut(address, ":"); !ok || port == "" {
		t.Errorf("the server says that it listens on %q", address)
	}

	if err := s.stop(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestServiceFails(t *testing.T) {
	d, self := testDemo(t)

	_, err := d.service("git").start(t.Context(), self, "--dir="+d.dir, "--node=false", "daemon", "git", "no.such.host.invalid")
	if err == nil || !strings.Contains(err.Error(), "no.such.host.invalid") {
		t.Errorf("the error does not say why: %v", err)
	}
}

func TestDownWithoutDemo(t *testing.T) {
	d, _ := testDemo(t)
	d.dir = filepath.Join(d.dir, "none")

	if err := d.down(t.Context()); err != nil {
		t.Error(err)
	}

	if _, err := os.Stat(d.dir); !os.IsNotExist(err) {
		t.Errorf("it made the folder: %v", err)
	}
}

func TestShort(t *testing.T) {
	for in, want := range map[string]string{
		"main@sha1:0123456789012345678901234567890123456789":          "main@sha1:01234567",
		"localhost:21005/weir:demo@sha256:" + strings.Repeat("a", 64): "localhost:21005/weir:demo@sha256:aaaaaaaa",
		"localhost:21005/web:1.0.0":                                   "localhost:21005/web:1.0.0",
		"":                                                            "",
	} {
		if got := short(in); got != want {
			t.Errorf("short(%q) = %q, want %q", in, got, want)
		}
	}
}
