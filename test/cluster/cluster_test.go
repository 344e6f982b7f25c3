package cluster

import (
	"errors"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestSideBySide(t *testing.T) {
	var running []*Cluster
	for range 2 {
		// Not New: what Stop leaves is looked at.
		c, err := Start(t.Context(), Options{Mode: ControlPlane, Log: t.Output(), Audit: true})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Stop() })
		running = append(running, c)
	}
	const configMaps = "/api/v1/namespaces/default/configmaps"
	for i, c := range running {
		other := running[1-i]
		name := "of-" + strings.ReplaceAll(c.Config().Host[8:], ":", "-")
		body := `{"metadata":{"name":"` + name + `"}}`
		if err := c.client.do(t.Context(), http.MethodPost, c.client.base+configMaps, "application/json", strings.NewReader(body), nil); err != nil {
			t.Fatal(err)
		}
		if err := c.client.get(t.Context(), configMaps+"/"+name, nil); err != nil {
			t.Error(err)
		}
		if err := other.client.get(t.Context(), configMaps+"/"+name, nil); err == nil {
			t.Errorf("%q is in both clusters", name)
		}
	}
	log, err := os.ReadFile(running[0].AuditLog())
	if err != nil || !strings.Contains(string(log), `"requestURI":"`+configMaps+`"`) {
		t.Errorf("the request is not in the audit log: %v", err)
	}
	if err := running[0].Restart(t.Context(), "kube-apiserver"); err != nil {
		t.Error(err)
	}
	for _, c := range running {
		gone := watchProcesses(t, c.Processes())
		if err := c.Stop(); err != nil {
			t.Error(err)
		}
		gone()
		for _, path := range []string{c.Dir(), c.slot.file} {
			if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("%q is still there: %v", path, err)
			}
		}
	}
}

func TestShared(t *testing.T) {
	var s Shared
	c := s.Start(t)
	defer c.Stop()
	if other := s.Start(t); other != c {
		t.Error("the second test got another cluster")
	}
	pod := `{"metadata":{"name":"a"},"spec":{"containers":[{"name":"a","image":"a"}]}}`
	url := c.client.base + "/api/v1/namespaces/default/pods"
	if err := c.client.do(t.Context(), http.MethodPost, url, "application/json", strings.NewReader(pod), nil); err != nil {
		t.Errorf("an API server alone should store pods: %v", err)
	}
	var names []string
	for _, p := range c.Processes() {
		names = append(names, p.Name)
	}
	if want := []string{"etcd", "kube-apiserver"}; !slices.Equal(names, want) {
		t.Errorf("want processes %q, got %q", want, names)
	}
}

func TestForeignFolder(t *testing.T) {
	dir := t.TempDir()
	if err := writeFile(filepath.Join(dir, "logs", "mine"), ""); err != nil {
		t.Fatal(err)
	}
	if _, err := Start(t.Context(), Options{Dir: dir}); err == nil {
		t.Error("want it refused")
	}
	if !exists(filepath.Join(dir, "logs", "mine")) {
		t.Error("somebody's files are gone")
	}
}

func TestFailedStart(t *testing.T) {
	dir := t.TempDir()
	_, err := Start(t.Context(), Options{Dir: dir, APIServerArgs: []string{"--no-such-flag"}})
	if err == nil || !strings.Contains(err.Error(), "no-such-flag") {
		t.Errorf("want an error that shows what kube-apiserver said, got: %v", err)
	}
	left, err := os.ReadDir(dir)
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}
