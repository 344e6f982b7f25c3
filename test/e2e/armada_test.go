package e2e

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"github.com/weir-dev/weir/test/e2e/platform"
	"github.com/weir-dev/weir/test/gitserver"
)

const (
	armadaShips = "armada"

	// wave is how long a commit may take to be everywhere until the next one comes nonetheless.
	wave = 5 * time.Second
)

// armada is many Kustomizations of one Git repository, which is looked at all the time.
type armada struct {
	*stage

	size int
	repo *gitserver.Repository
	view *platform.View
	keys [][2]string
	uids map[string]types.UID
	beat int

	stop context.CancelFunc // ends the commits
	rest context.CancelFunc // and the looks

	commits, looks sync.WaitGroup

	last string // revision
}

// newArmada makes one that is not launched yet.
func newArmada(t *testing.T, s *stage, size int) *armada {
	t.Helper()

	a := &armada{stage: s, size: size, repo: must(s.repositories.Create(deadline(t, patience), t.Name()))(t)}
	for i := range size {
		a.keys = append(a.keys, [2]string{armadaShips, fmt.Sprintf("ship-%03d", i)})
	}

	return a
}

// change makes every tenth ship another one, or all of them.
func (a *armada) change(all bool) map[string]string {
	files := map[string]string{}
	a.beat++

	for i, key := range a.keys {
		if !all && i%10 != a.beat%10 {
			continue
		}

		files[key[1]+"/objects.yaml"] = fmt.Sprintf(`apiVersion: v1
kind: ConfigMap
metadata:
  name: %s
  namespace: armada
data:
  beat: "%d"
---
apiVersion: apps/v1
kind: Deployment
metadata:
  name: %[1]s
  namespace: armada
  annotations:
    beat: "%[2]d"
spec:
  replicas: 0
  selector:
    matchLabels: {app: %[1]s}
  template:
    metadata:
      labels: {app: %[1]s}
    spec:
      containers:
        - name: ship
          image: ship
`, key[1], a.beat)
	}

	return files
}

func (a *armada) commit(ctx context.Context, all bool) error {
	hash, err := a.repo.Commit(ctx, "main", fmt.Sprintf("Beat %d", a.beat+1), gitserver.Change{Files: a.change(all)})
	a.last = "main@sha1:" + hash

	return err
}

// launch creates all Kustomizations and waits until they have delivered.
func (a *armada) launch(t *testing.T, view *platform.View) {
	t.Helper()

	a.view = view
	if err := a.commit(deadline(t, patience), true); err != nil {
		t.Fatal(err)
	}

	source := platform.Object(platform.GitRepository(), armadaShips, "sea")
	source.Object["spec"] = map[string]any{
		"interval": "1s", "timeout": "60s", "url": a.git.URL(a.repo), "ref": map[string]any{"branch": "main"},
	}
	objects := []*unstructured.Unstructured{platform.Object(platform.Core("Namespace"), "", armadaShips), source}

	for _, key := range a.keys {
		ship := platform.Object(platform.Kustomization(), key[0], key[1])
		ship.Object["spec"] = map[string]any{
			"interval": "30s", "retryInterval": "5s", "timeout": "1m", "prune": true, "path": key[1],
			"sourceRef": map[string]any{"kind": "GitRepository", "name": "sea"},
		}
		objects = append(objects, ship)
	}

	if err := a.client.Apply(deadline(t, patience), objects...); err != nil {
		t.Fatal(err)
	}

	if err := view.Track(deadline(t, patience), platform.Core("ConfigMap")); err != nil {
		t.Fatal(err)
	}

	a.await(t, "the armada is delivered", view, platform.Delivered(a.last, a.keys...))
	a.uids = a.cargo()
}

// cargo returns the UIDs of all that was deployed.
func (a *armada) cargo() map[string]types.UID {
	uids := map[string]types.UID{}

	for _, kind := range []string{"ConfigMap", "Deployment"} {
		gvk := platform.Core(kind)
		if kind == "Deployment" {
			gvk = platform.Deployment()
		}

		for _, o := range a.view.Now().List(gvk, armadaShips) {
			if o.GetName() != "kube-root-ca.crt" {
				uids[kind+"/"+o.GetName()] = o.GetUID()
			}
		}
	}

	return uids
}

// voyage is a time in which commits come one after the other.
type voyage struct {
	mu      sync.Mutex
	commits int
	news    int           // deliveries of a revision by a Kustomization
	longest time.Duration // between two of them
	last    time.Time
	at      map[string]string // revisions by ship
}

// sail begins to commit, again and again, until arrive or pause.
func (a *armada) sail(t *testing.T) *voyage {
	t.Helper()
	a.halt()

	v := &voyage{last: time.Now(), at: map[string]string{}}

	ctx, rest := context.WithCancel(t.Context())
	a.rest = rest
	a.looks.Go(func() { v.look(ctx, a) })

	ctx, stop := context.WithCancel(ctx)
	a.stop = stop
	a.commits.Go(func() { a.push(ctx, t, v) })

	return v
}

// push commits when all has been delivered, or a wave is over.
func (a *armada) push(ctx context.Context, t *testing.T, v *voyage) {
	for ctx.Err() == nil {
		if err := a.commit(ctx, false); err != nil {
			if ctx.Err() == nil {
				t.Errorf("commit: %v", err)
			}

			return
		}

		v.mu.Lock()
		v.commits++
		v.mu.Unlock()

		waves, cancel := context.WithTimeout(ctx, wave)
		_ = a.view.Until(waves, platform.Delivered(a.last, a.keys...)) //nolint:errcheck // the next one comes nonetheless

		cancel()
	}
}

// look notes when Kustomizations come to another revision.
func (v *voyage) look(ctx context.Context, a *armada) {
	for {
		changed := a.view.Changed()
		v.note(a)

		select {
		case <-changed:
		case <-ctx.Done():
			return
		}
	}
}

func (v *voyage) note(a *armada) {
	v.mu.Lock()
	defer v.mu.Unlock()

	now := time.Now()

	for _, key := range a.keys {
		k := a.view.Now().Get(platform.Kustomization(), key[0], key[1])
		if k == nil {
			continue
		}

		at := platform.Text(k, "status", "lastAppliedRevision")
		if before := v.at[key[1]]; before != "" && before != at {
			v.news++
			v.longest = max(v.longest, now.Sub(v.last))
			v.last = now
		}

		v.at[key[1]] = at
	}
}

// halt ends the commits, and the looks at what becomes of them.
func (a *armada) halt() {
	if a.stop != nil {
		a.stop()
		a.commits.Wait()
		a.rest()
		a.looks.Wait()
	}
}

// pause says for people how long no Kustomization came to a new revision.
func (a *armada) pause(t *testing.T, when string, v *voyage) {
	t.Helper()

	// A pause ends with a delivery.
	err := a.view.Until(deadline(t, patience), func(platform.Snapshot) error {
		v.mu.Lock()
		defer v.mu.Unlock()

		if v.commits < 2 || v.news < a.size {
			return fmt.Errorf("%d deliveries of %d commits", v.news, v.commits)
		}

		return nil
	})
	if err != nil {
		a.fail(t, "under way "+when, err)
	}

	v.mu.Lock()
	defer v.mu.Unlock()

	t.Logf("%s: %d commits, %d deliveries, the longest time between two of them %.1f s", when, v.commits, v.news, v.longest.Seconds())
}

// arrive ends the commits, waits until all has been delivered, and checks that nothing was lost on the way.
func (a *armada) arrive(t *testing.T) {
	t.Helper()
	a.stop()
	a.commits.Wait() // the looks go on: what comes last belongs to it too

	if err := a.commit(deadline(t, patience), true); err != nil {
		t.Fatal(err)
	}

	a.await(t, "the armada has arrived", a.view, platform.Delivered(a.last, a.keys...), a.laden)

	if diff := cmp.Diff(a.uids, a.cargo()); diff != "" {
		t.Errorf("objects were deleted or created: -before, +after:\n%s", diff)
	}

	a.halt()
}

// laden is a condition: the objects are those of the last commit.
func (a *armada) laden(s platform.Snapshot) error {
	for _, key := range a.keys {
		c := s.Get(platform.Core("ConfigMap"), armadaShips, key[1])
		if c == nil {
			return fmt.Errorf("ConfigMap %s is not there", key[1])
		}

		if beat := platform.Text(c, "data", "beat"); beat != fmt.Sprint(a.beat) {
			return fmt.Errorf("ConfigMap %s is of beat %s, not %d", key[1], beat, a.beat)
		}
	}

	return nil
}

// scuttle deletes the namespace with all that is left.
func (a *armada) scuttle(t *testing.T) {
	t.Helper()
	a.halt()

	namespace := platform.Object(platform.Core("Namespace"), "", armadaShips)
	if err := a.client.Delete(deadline(t, patience), namespace); err != nil {
		t.Fatal(err)
	}

	if err := a.view.Track(deadline(t, patience), platform.Core("Namespace")); err != nil {
		t.Fatal(err)
	}

	a.await(t, "the armada is gone", a.view, func(s platform.Snapshot) error {
		if s.Get(platform.Core("Namespace"), "", armadaShips) != nil {
			return fmt.Errorf("the namespace is still there")
		}

		return nil
	})
}
