package controllers

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/types"

	sourcev1 "github.com/weir-dev/weir/api/source/v1"
	"github.com/weir-dev/weir/reconcilers/artifact"
	"github.com/weir-dev/weir/reconcilers/engine"
)

// Two processes in one folder would remove each other's files.
func TestStorageIsLocked(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new", "storage")

	held, err := lockStorage(dir)
	if err != nil {
		t.Fatal(err)
	}

	if _, err := lockStorage(dir); err == nil || !strings.Contains(err.Error(), "another process uses") {
		t.Errorf("the second one: %v", err)
	}

	if err := held.Close(); err != nil {
		t.Fatal(err)
	}

	again, err := lockStorage(dir)
	if err != nil {
		t.Fatalf("after the first one has ended: %v", err)
	}
	defer again.Close()

	if _, err := artifact.NewStore(artifact.StoreOptions{Root: dir, Address: "here"}); err != nil {
		t.Fatal(err)
	}

	if _, err := os.Stat(filepath.Join(dir, ".lock")); err != nil {
		t.Errorf("the store has taken the lock away: %v", err)
	}
}

// An object that runs while the mirror is about to stop could lose what it has just stored.
func TestObjectsWaitForTheStorage(t *testing.T) {
	s := newStorage()
	opened := false

	kind := after(s, engine.Kind[*sourcev1.Bucket, struct{}]{
		Open: func(context.Context, *sourcev1.Bucket, *struct{}) error {
			opened = true

			return nil
		},
	})
	plain := after(s, engine.Kind[*sourcev1.Bucket, struct{}]{})

	ctx, cancel := context.WithCancel(t.Context())
	cancel()

	if err := kind.Open(ctx, nil, nil); !errors.Is(err, context.Canceled) || opened {
		t.Errorf("it runs: %t, %v", opened, err)
	}

	if err := s.lead(t.Context()); err != nil {
		t.Fatal(err)
	}

	if err := kind.Open(t.Context(), nil, nil); err != nil || !opened {
		t.Errorf("it does not run: %t, %v", !opened, err)
	}

	if err := plain.Open(t.Context(), nil, nil); err != nil {
		t.Errorf("one without a scope: %v", err)
	}
}

// Whoever takes the finalizer away leaves the artifacts behind: nobody is to get them any more.
func TestForgottenObjectsLeaveNothing(t *testing.T) {
	root := t.TempDir()

	store, err := artifact.NewStore(artifact.StoreOptions{Root: root, Address: "here"})
	if err != nil {
		t.Fatal(err)
	}

	s := newStorage()
	s.store = store

	at := artifact.Location{Owner: artifact.Owner{Kind: "Bucket", Namespace: "apps", Name: "one"}, File: "a"}

	a, err := store.Put(t.Context(), at, "r", artifact.File(strings.NewReader("content")))
	if err != nil {
		t.Fatal(err)
	}

	s.forget("Bucket", types.NamespacedName{Namespace: "apps", Name: "one"})

	if err := store.Verify(a); !errors.Is(err, artifact.ErrNotFound) {
		t.Errorf("it is still there: %v", err)
	}
}
