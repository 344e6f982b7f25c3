package process

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/weir-dev/weir/test/cluster"
)

// TestFaultRestore restores etcd from a backup, which takes back what has been delivered since, and gives resource versions out a second
// time. What was delivered comes back, without anybody asking, and drift is corrected from then on.
func TestFaultRestore(t *testing.T) {
	t.Parallel() // it has a cluster of its own

	c := cluster.New(t, cluster.Options{})
	s := newFaultStageOn(t, c)

	f := s.newFleet(t, "restore")
	f.deliver(t, 0)

	backup := filepath.Join(t.TempDir(), "backup")
	if err := c.Backup(deadline(t, patience), backup); err != nil {
		t.Fatal(err)
	}

	s.look(t)
	f.deliver(t, 1)
	want := f.state(t)

	if err := c.Restore(deadline(t, patience), backup); err != nil {
		t.Fatal(err)
	}

	s.restarts(t)
	s.look(t)

	f.uids = nil // some are made again
	f.settle(t, "what was delivered is there again")
	f.same(t, want)
	f.drift(t)
}

// restarts waits until the manager has noticed that the past is another one, and starts it again, as a kubelet does.
func (s *stage) restarts(t *testing.T) {
	t.Helper()

	select {
	case <-s.manager.Ended():
	case <-deadline(t, patience).Done():
		s.fail(t, "noticed", errors.New("the manager lives in a past that never was"))
	}

	log := must(os.ReadFile(s.manager.Log()))(t)
	if last := lastLine(log); !strings.HasPrefix(last, "manager: run controllers: start anew: the API server was restored from a backup: ") {
		t.Errorf("the manager ended with %q", last)
	}

	s.start(t)
}

func lastLine(log []byte) string {
	lines := strings.Split(strings.TrimSpace(string(log)), "\n")

	return lines[len(lines)-1]
}
