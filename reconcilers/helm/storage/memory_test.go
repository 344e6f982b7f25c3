package storage_test

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	"helm.sh/helm/v3/pkg/release"
	helmstorage "helm.sh/helm/v3/pkg/storage"
	"helm.sh/helm/v3/pkg/storage/driver"

	"github.com/weir-dev/weir/reconcilers/helm/storage"
)

// remembering returns the records of a reconcile.
func (b *bench) remembering() *helmstorage.Storage {
	return helmstorage.Init(storage.New(b.t.Context(), b.client, b.namespace, storage.Options{Manager: "helm-controller", Memory: &storage.Memory{}}))
}

// TestMemory does what an upgrade does, and looks at the outcome with and without a memory.
func TestMemory(t *testing.T) {
	b := newBench(t)
	ours := helmstorage.Init(b.ours)

	for revision, status := range map[int]release.Status{1: release.StatusSuperseded, 2: release.StatusDeployed} {
		b.must(ours.Create(newRelease("app", revision, status)))
	}

	r := b.remembering()
	b.counter.Take()

	before, err := r.Last("app")
	b.must(err)

	if deployed, err := r.Deployed("app"); err != nil || deployed.Version != 2 {
		t.Errorf("revision %v is deployed: %v", deployed, err)
	}

	next := newRelease("app", 3, release.StatusPendingUpgrade)
	b.must(r.Create(next))

	before.Info.Status = release.StatusSuperseded
	b.must(r.Update(before))

	if again, err := r.Get("app", 3); err != nil || again.Info.Status != release.StatusPendingUpgrade {
		t.Errorf("what was created is %v: %v", again, err)
	}

	next.Info.Status, next.Info.Description = release.StatusDeployed, "done"
	b.must(r.Update(next))

	after, err := r.Last("app")
	b.must(err)

	if deployed, err := r.Deployed("app"); err != nil || deployed.Version != 3 {
		t.Errorf("now revision %v is deployed: %v", deployed, err)
	}

	_, err = r.Delete("app", 1)
	b.must(err)

	history, err := r.History("app")
	b.must(err)

	if diff := cmp.Diff(map[string]int{"list": 1, "get": 1, "create": 1, "patch": 2, "delete": 1}, b.counter.Take()); diff != "" {
		t.Errorf("requests (-want +got):\n%s", diff)
	}

	fresh, err := ours.History("app")
	b.must(err)

	statuses := func(all []*release.Release) map[int]release.Status {
		found := map[int]release.Status{}
		for _, r := range all {
			found[r.Version] = r.Info.Status
		}

		return found
	}
	if diff := cmp.Diff(statuses(fresh), statuses(history)); diff != "" || len(history) != 2 {
		t.Errorf("the history as it is and as it is remembered: -want, +got:\n%s", diff)
	}

	last, err := ours.Last("app")
	b.must(err)

	if diff := equal(last, after); diff != "" {
		t.Errorf("the newest revision as it is and as it is remembered: -want, +got:\n%s", diff)
	}

	after.Info.Description = "changed"

	if again, err := r.Last("app"); err != nil || again.Info.Description != "done" {
		t.Errorf("what callers do to a release is not remembered: %q, %v", again.Info.Description, err)
	}
}

// TestMemoryOfOthers writes beside a reconcile.
func TestMemoryOfOthers(t *testing.T) {
	b := newBench(t)
	ours := helmstorage.Init(b.ours)
	b.must(ours.Create(newRelease("app", 1, release.StatusDeployed)))

	r := b.remembering()

	_, err := r.Last("app")
	b.must(err)
	b.must(ours.Create(newRelease("app", 2, release.StatusDeployed)))

	if last, err := r.Last("app"); err != nil || last.Version != 1 {
		t.Errorf("a reconcile takes the records as it has seen them first: revision %d, %v", last.Version, err)
	}

	if err := r.Create(newRelease("app", 2, release.StatusPendingUpgrade)); !errors.Is(err, driver.ErrReleaseExists) {
		t.Errorf("a revision of somebody else's was written over: %v", err)
	}

	if last, err := r.Last("app"); err != nil || last.Version != 2 {
		t.Errorf("after that it looks again: revision %d, %v", last.Version, err)
	}

	other, err := r.Get("app", 2)
	b.must(err)

	_, err = ours.Delete("app", 2)
	b.must(err)

	if err := r.Update(other); !errors.Is(err, driver.ErrReleaseNotFound) {
		t.Errorf("a record that is gone was written: %v", err)
	}

	if last, err := r.Last("app"); err != nil || last.Version != 1 {
		t.Errorf("after that it looks again: revision %d, %v", last.Version, err)
	}
}
