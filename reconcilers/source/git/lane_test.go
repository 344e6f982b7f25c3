package git_test

import (
	"strings"
	"testing"
	"time"

	"github.com/weir-dev/weir/api/meta"
	sourcev1 "github.com/weir-dev/weir/api/source/v1"
	"github.com/weir-dev/weir/reconcilers/artifact"
	"github.com/weir-dev/weir/test/gitserver"
)

// Whoever fetches a commit whose archive was there once, and is no more, may wait for a server as well: it must not hold a worker
// that others need.
func TestLostArchiveWaitsInTheLane(t *testing.T) {
	w := newWorld(t)
	w.deps.Workers, w.deps.Patience = 2, time.Millisecond // there is room for one
	w.remotes.IdleBytes = 1                               // no clone is kept

	s, stuck := w.serve(t, gitserver.HTTPOptions{}), w.serve(t, gitserver.HTTPOptions{})
	r := w.repository(t, "app")
	app, again, slow := object("app", s.URL(r)), object("again", s.URL(r)), object("slow", stuck.URL(r))
	b := w.bench(t, app, again, slow)
	expect(t, b.run(t, app).Object, meta.ReadyCondition, "True Succeeded: ")

	_, err := w.store.Remove(artifact.Owner{Kind: sourcev1.GitRepositoryKind, Namespace: app.Namespace, Name: app.Name})
	check(t, err)
	s.Hang(true)
	stuck.Hang(true)

	done := make(chan string, 2)
	for _, obj := range []*sourcev1.GitRepository{again, slow} {
		go func() { done <- condition(b.run(t, obj).Object, meta.ReadyCondition) }()
	}

	if got := <-done; !strings.Contains(got, "gave up after 1ms: ") {
		t.Errorf("the first one to end is %q, want one that gives its worker back", got)
	}

	s.Close()
	stuck.Close()
	<-done
}
