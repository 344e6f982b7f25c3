package artifact_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/go-digest"

	"github.com/weir-dev/weir/api/meta"
	"github.com/weir-dev/weir/reconcilers/artifact"
)

func TestCollect(t *testing.T) {
	type step struct {
		file string
		wait time.Duration // before
	}

	cases := map[string]struct {
		reason string
		steps  []step
		wait   time.Duration
		want   []string
	}{
		"KeepsTwo": {
			reason: "A superseded artifact stays for those who are on their way to it.",
			steps:  []step{{file: "a"}, {"b", time.Second}},
		},
		"TooMany": {
			reason: "The oldest of too many goes.",
			steps:  []step{{file: "a"}, {"b", time.Second}, {"c", time.Second}},
			want:   []string{"a"},
		},
		"TooOld": {
			reason: "What is superseded goes when it is old, but not the current one.",
			steps:  []step{{file: "a"}, {"b", time.Second}},
			wait:   2 * time.Minute,
			want:   []string{"a"},
		},
	}

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			root, now := t.TempDir(), newClock()
			s := newStore(t, artifact.StoreOptions{Root: root, Now: now.Now})

			var current *meta.Artifact
			for _, step := range tc.steps {
				now.Add(step.wait)
				current = put(t, s, at("one", step.file), step.file)
			}

			other := put(t, s, at("two", "a"), "a")
			now.Add(tc.wait)

			var want []string
			for _, f := range tc.want {
				want = append(want, "gitrepository/apps/one/"+f)
			}

			got, err := s.Collect(at("one", "").Owner, current)
			if err != nil {
				t.Fatal(err)
			}

			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s\n-want +got:\n%s", tc.reason, diff)
			}

			for _, a := range []*meta.Artifact{current, other} {
				if err := s.Verify(a); err != nil {
					t.Errorf("%s: %v", a.Path, err)
				}
			}
		})
	}
}

func TestCollectNothing(t *testing.T) {
	s := newStore(t, artifact.StoreOptions{})

	if got, err := s.Collect(at("one", "").Owner, nil); err != nil || len(got) != 0 {
		t.Errorf("got %q, %v", got, err)
	}
}

// The age of an artifact is that of its path, not that of a content which was there before.
func TestCollectLinkedContent(t *testing.T) {
	now := newClock()
	s := newStore(t, artifact.StoreOptions{Now: now.Now})

	old := put(t, s, at("one", "a"), "content")
	now.Add(time.Hour)

	if _, err := s.Link(at("two", "a"), "r", digest.Digest(old.Digest)); err != nil {
		t.Fatal(err)
	}

	current := put(t, s, at("two", "b"), "other")

	if got, err := s.Collect(at("two", "").Owner, current); err != nil || len(got) != 0 {
		t.Errorf("removed %q, %v", got, err)
	}
}
