package cluster

import (
	"errors"
	"io/fs"
	"net/http"
	"os"
	"strings"
	"testing"
)

func TestSideBySide(t *testing.T) {
	var running []*Cluster
	for range 2 {
		// Not New: what Stop leaves is looked at.
		c, err := Start(t.Context(), Options{Mode: ControlPlane, Log: t.Output()})
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
