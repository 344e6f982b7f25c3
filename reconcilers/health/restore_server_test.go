package health_test

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/weir-dev/weir/reconcilers/access"
	"github.com/weir-dev/weir/reconcilers/health"
	"github.com/weir-dev/weir/test/cluster"
)

// An API server that is away and comes back as it was shows what it missed to tell, and is no reason for alarm. One whose etcd was restored
// from a backup meanwhile is told from it.
func TestRestoredServer(t *testing.T) {
	c := cluster.New(t, cluster.Options{})
	b := newBenchOn(t, c)
	config, other := b.config("config", "app"), b.config("other", "app")
	b.hub.Track(b.owner("app"), label, []access.ID{config, other})
	b.sees(config, health.Present)

	if err := c.Restart(b.ctx(), "kube-apiserver"); err != nil {
		t.Fatal(err)
	}
	b.delete(other)
	b.sees(other, health.Absent)

	backup := filepath.Join(t.TempDir(), "backup")
	if err := c.Backup(b.ctx(), backup); err != nil {
		t.Fatal(err)
	}
	version := b.patch(config, "", `{"data":{"is":"lost"}}`)
	for b.sees(config, health.Present).ResourceVersion != version {
		b.pause()
	}
	select {
	case err := <-b.restored:
		t.Errorf("nothing was restored yet: %v", err)
	default:
	}
	if err := c.Restore(b.ctx(), backup); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-b.restored:
		if !strings.HasPrefix(err.Error(), "the API server was restored from a backup: ") {
			t.Errorf("said %v", err)
		}
	case <-time.After(patience):
		t.Fatal("nobody has noticed")
	}
}
