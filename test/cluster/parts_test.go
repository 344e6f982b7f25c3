package cluster

import (
	"archive/tar"
	"context"
	"errors"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestSlotsDoNotOverlap(t *testing.T) {
	ports := map[int]int{}
	for n := range slots {
		s := &slot{number: n}
		for which := range portsUsed {
			if other, taken := ports[s.port(which)]; taken {
				t.Fatalf("slots %d and %d share port %d", other, n, s.port(which))
			}
			ports[s.port(which)] = n
		}
		if n > 0 && s.network().Overlaps((&slot{number: n - 1}).network()) {
			t.Errorf("the networks of slots %d and %d overlap", n-1, n)
		}
		link := netip.PrefixFrom(s.host(), 30).Masked()
		for _, p := range []netip.Prefix{s.pods(), s.services(), link} {
			if !s.network().Contains(p.Addr()) || p.Bits() < s.network().Bits() {
				t.Errorf("%v is not within %v", p, s.network())
			}
		}
		if s.pods().Overlaps(s.services()) || s.pods().Overlaps(link) || s.services().Overlaps(link) {
			t.Errorf("the ranges of slot %d overlap", n)
		}
		if !link.Contains(s.node()) || !s.services().Contains(s.dns()) || !s.services().Contains(s.firstService()) {
			t.Errorf("an address of slot %d is out of its range", n)
		}
	}
}

func TestSweepClearsKilledRuns(t *testing.T) {
	for name, tt := range map[string]struct {
		reason string
		keep   bool
		held   bool
		want   []string
	}{
		"killed":  {reason: "nobody else will remove its files", want: []string{"mine"}},
		"kept":    {reason: "its user wants to read the logs", keep: true, want: []string{"logs", "mine"}},
		"running": {reason: "the lock is held", held: true, want: []string{"logs", "mine"}},
	} {
		t.Run(name, func(t *testing.T) {
			cache, dir := t.TempDir(), t.TempDir()
			for _, f := range []string{"mine", "logs/etcd.log"} {
				if err := writeFile(filepath.Join(dir, f), ""); err != nil {
					t.Fatal(err)
				}
			}
			s, err := trySlot(filepath.Join(cache, "slots"), 7)
			if err != nil {
				t.Fatal(err)
			}
			if err := s.write(record{Dir: dir, Keep: tt.keep}); err != nil {
				t.Fatal(err)
			}
			if !tt.held {
				s.lock.unlock()
			}
			if err := Clean(cache); err != nil {
				t.Fatal(err)
			}
			var got []string
			entries, err := os.ReadDir(dir)
			for _, e := range entries {
				got = append(got, e.Name())
			}
			if err != nil || !slices.Equal(got, tt.want) {
				t.Errorf("%s: want %q left, got %q, %v", tt.reason, tt.want, got, err)
			}
			if exists(s.file) != tt.held {
				t.Errorf("record is there: %v, want %v", !tt.held, tt.held)
			}
		})
	}
}

func TestLock(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	first, err := tryLock(path)
	if first == nil || err != nil {
		t.Fatalf("want a free lock, got %v", err)
	}
	if second, err := tryLock(path); second != nil || err != nil {
		t.Errorf("the lock was held twice, %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := lock(ctx, path); !errors.Is(err, context.Canceled) {
		t.Errorf("want to give up, got %v", err)
	}
	first.unlock()
	if third, err := lock(t.Context(), path); third == nil || err != nil {
		t.Errorf("want a free lock, got %v", err)
	}
}

func TestKeyFollowsSources(t *testing.T) {
	w := &workshop{source: t.TempDir(), goVer: "go1.26.0"}
	file := filepath.Join(w.source, "a", "main.go")
	key := func(tl tool) string {
		t.Helper()
		k, err := w.key(tl)
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	seen := map[string]string{}
	note := func(what, k string) {
		t.Helper()
		if other, taken := seen[k]; taken {
			t.Errorf("%s and %s have the key %q", what, other, k)
		}
		seen[k] = what
		if !strings.HasPrefix(k, "a-v1-") {
			t.Errorf("key %q does not name the tool and its version", k)
		}
	}
	base := tool{name: "a", version: "v1", source: "a"}
	for _, content := range []string{"package main", "package other"} {
		if err := writeFile(file, content); err != nil {
			t.Fatal(err)
		}
		note(content, key(base))
	}
	if again := key(base); again != key(base) {
		t.Error("a key changes by itself")
	}
	flags := base
	flags.flags = []string{"-tags", "x"}
	note("flags", key(flags))
	env := base
	env.env = []string{"CGO_ENABLED=0"}
	note("environment", key(env))
	w.goVer = "go1.26.1"
	note("Go", key(base))
}

func TestImage(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, []byte("content"), 0o755); err != nil {
		t.Fatal(err)
	}
	files := map[string]string{"/app": file, "/etc/deep/a": file, "/etc/deep/b": file}
	img, err := Image(files, "/app", "serve")
	if err != nil {
		t.Fatal(err)
	}
	config, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	if got := config.Config; !slices.Equal(got.Entrypoint, []string{"/app", "serve"}) || got.User != imageUser {
		t.Errorf("config: %+v", got)
	}
	layers, err := img.Layers()
	if err != nil || len(layers) != 1 {
		t.Fatalf("want one layer, got %d, %v", len(layers), err)
	}
	r, err := layers[0].Uncompressed()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var got []string
	for tr := tar.NewReader(r); ; {
		h, err := tr.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, h.Name)
	}
	if want := []string{"app", "etc/", "etc/deep/", "etc/deep/a", "etc/deep/b"}; !slices.Equal(got, want) {
		t.Errorf("want files %q, got %q", want, got)
	}
	again, err := Image(files, "/app", "serve")
	if err != nil {
		t.Fatal(err)
	}
	a, _ := img.Digest()
	if b, err := again.Digest(); a != b || err != nil {
		t.Errorf("equal images differ: %v, %v, %v", a, b, err)
	}
}
