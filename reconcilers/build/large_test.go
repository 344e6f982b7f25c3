package build

import (
	"errors"
	"strings"
	"testing"
)

// TestAloneDoesNotWaitForLarge holds that a build with a schema of its own, for which all others wait, does not wait for a large
// one in turn: two such builds of one tenant would keep all others from building.
func TestAloneDoesNotWaitForLarge(t *testing.T) {
	dir := files{
		"kustomization.yaml": "openapi: {path: s.json}\nresources: [a.yaml]\n",
		"s.json":             `{"definitions": {}}`,
		"a.yaml":             "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {key: " + strings.Repeat("x", largeBytes) + "}\n",
	}.write(t)

	b := New(Options{})

	other, err := b.large.pass(t.Context(), "other", false)
	if err != nil {
		t.Fatal(err)
	}

	if _, err := b.Build(t.Context(), Request{Dir: dir, Owner: "tenant"}); !errors.Is(err, ErrBusy) {
		t.Errorf("while another one is large, the error is %v, want that it is tried again", err)
	}

	other.leave()

	if set, err := b.Build(t.Context(), Request{Dir: dir, Owner: "tenant"}); err != nil || len(set.Objects) != 1 {
		t.Errorf("afterwards: %v", err)
	}

	if len(b.large.owners) != 0 || b.large.inside != 0 || b.gate.inside != 0 {
		t.Errorf("places are left behind: %+v, %+v", b.large, b.gate)
	}
}

// TestWhoIsSentAwayIsNotLarge holds that a build which found no room among the large ones does not go on as one of them.
func TestWhoIsSentAwayIsNotLarge(t *testing.T) {
	b := New(Options{})

	for i, owner := range []string{"a", "b", "b"} {
		v := b.large.come(owner, false)
		defer v.leave()

		if v.err != nil {
			t.Fatalf("%d: %v", i, v.err)
		}
	}

	tree, err := b.openTree(t.Context(), t.TempDir(), "b")
	if err != nil {
		t.Fatal(err)
	}
	defer tree.close()

	for range 2 {
		if err := tree.grow(); !errors.Is(err, ErrBusy) {
			t.Errorf("error is %v, want %v", err, ErrBusy)
		}
	}
}
