package resourceset

import (
	"errors"
	"testing"
)

// TestAdmit: no more heavy sets than there may be, each until the end of its run, of which the next one knows what it compares.
func TestAdmit(t *testing.T) {
	t.Parallel()
	r := &reconciler{heavy: make(chan struct{}, maxHeavy)}
	newScope := func() *scope {
		return &scope{memo: &memo{attempt: &attempt{set: &set{key: "key", digest: "digest", of: nil, jobs: true}}}}
	}
	var runs []*scope
	for range maxHeavy {
		s := newScope()
		runs = append(runs, s)
		if err := r.admit(s); err != nil {
			t.Fatal(err)
		}
	}
	last := newScope()
	if err := r.admit(last); !errors.Is(err, errBusy) {
		t.Fatalf("one more got %v", err)
	}
	last.drop()
	if last.memo.attempt.set.key == "" {
		t.Error("a set that is not heavy is forgotten")
	}
	if err := r.admit(last); !errors.Is(err, errBusy) {
		t.Fatalf("who was not admitted has given back what others have: %v", err)
	}
	runs[0].drop()
	if left := runs[0].memo.attempt.set; left.key != "" || left.digest != "digest" {
		t.Errorf("left is %+v", left)
	}
	if err := r.admit(last); err != nil {
		t.Errorf("the next one got %v", err)
	}
	runs[1].memo.attempt = nil // it has come to its end
	runs[1].drop()
}
