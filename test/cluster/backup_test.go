package cluster

import (
	"encoding/json"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// What was written after a backup is gone when it is restored, and resource versions come a second time.
func TestBackup(t *testing.T) {
	c := New(t, Options{Mode: ControlPlane})
	const configMaps = "/api/v1/namespaces/default/configmaps"
	create := func(name string) int {
		t.Helper()
		var raw json.RawMessage
		body := strings.NewReader(`{"metadata":{"name":"` + name + `"}}`)
		if err := c.client.do(t.Context(), http.MethodPost, c.client.base+configMaps, "application/json", body, &raw); err != nil {
			t.Fatal(err)
		}
		var made struct {
			Metadata struct{ ResourceVersion string }
		}
		if err := json.Unmarshal(raw, &made); err != nil {
			t.Fatal(err)
		}
		version, err := strconv.Atoi(made.Metadata.ResourceVersion)
		if err != nil {
			t.Fatal(err)
		}
		return version
	}
	create("before")
	backup := filepath.Join(t.TempDir(), "backup")
	if err := c.Backup(t.Context(), backup); err != nil {
		t.Fatal(err)
	}
	for i := range 200 { // more than a control plane writes when it starts
		create("after-" + strconv.Itoa(i))
	}
	lost := create("after")
	if err := c.Restore(t.Context(), backup); err != nil {
		t.Fatal(err)
	}
	if err := c.client.get(t.Context(), configMaps+"/before", nil); err != nil {
		t.Errorf("what was backed up is lost: %v", err)
	}
	if err := c.client.get(t.Context(), configMaps+"/after", nil); err == nil {
		t.Error("what came after the backup is there")
	}
	if again := create("again"); again >= lost {
		t.Errorf("resource version %d comes after %d", again, lost)
	}
	if err := c.Backup(t.Context(), backup); err == nil {
		t.Error("a backup was overwritten")
	}
}
