package process

import (
	"errors"
	"fmt"
	"testing"

	"github.com/weir-dev/weir/test/e2e/platform"
	"github.com/weir-dev/weir/test/gitserver"
)

// TestRequest asks source and delivery for a reconcile as the flux CLI does: it sets the annotation and waits until the
// status shows the same value. Suspended objects answer too, but do nothing.
func TestRequest(t *testing.T) {
	s := newStage(t)
	namespace := s.namespace(t, "request")
	repo, first := s.repository(t, "request", files("good.yaml", good))
	source, delivery := s.source(namespace, "fleet", s.git.URL(repo)), s.delivery(namespace, "fleet", "fleet", "", nil)
	key := [2]string{namespace, "fleet"}

	s.apply(t, source, delivery)
	s.await(t, "the fleet is ready", platform.Delivered(first, key))

	answered := func(token string, kinds ...string) func(platform.Snapshot) error {
		return func(now platform.Snapshot) error {
			for _, kind := range kinds {
				o := now.Get(platform.Kustomization(), key[0], key[1])
				if kind == "GitRepository" {
					o = now.Get(platform.GitRepository(), key[0], key[1])
				}

				if o == nil {
					return errors.New("the object is not there")
				}

				if at := platform.Text(o, "status", "lastHandledReconcileAt"); at != token {
					return fmt.Errorf("%s has handled %q, not %q", platform.Name(o), at, token)
				}
			}

			return nil
		}
	}

	// Nothing has changed: the request is answered all the same.
	s.await(t, "an idle delivery answers", answered(s.request(t, delivery), "Kustomization"))

	// A new commit comes with the answer of the source, long before its interval is over.
	second := s.commit(t, repo, gitserver.Change{Files: map[string]string{"more.yaml": deployment("more", "paused: false")}})
	s.await(t, "the source answers", answered(s.request(t, source), "GitRepository"))

	if at := platform.Text(s.view.Now().Get(platform.GitRepository(), key[0], key[1]), "status", "artifact", "revision"); at != second {
		t.Errorf("when the source answered, its artifact was %q, not %q", at, second)
	}

	s.await(t, "the commit is delivered", platform.Delivered(second, key))

	// Suspended objects answer and do nothing.
	for _, o := range []string{"GitRepository", "Kustomization"} {
		kind := platform.Kustomization()
		if o == "GitRepository" {
			kind = platform.GitRepository()
		}

		must(s.client.Edit(deadline(t, patience), kind, key[0], key[1], `{"spec":{"suspend":true}}`))(t)
	}

	s.commit(t, repo, gitserver.Change{Remove: []string{"more.yaml"}})
	s.await(t, "a suspended source answers", answered(s.request(t, source), "GitRepository"))
	s.await(t, "a suspended delivery answers", answered(s.request(t, delivery), "Kustomization"))

	if at := platform.Text(s.view.Now().Get(platform.GitRepository(), key[0], key[1]), "status", "artifact", "revision"); at != second {
		t.Errorf("a suspended source went from %q to %q", second, at)
	}
}
