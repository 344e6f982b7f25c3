package meta_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/weir-dev/weir/api/meta"
)

func TestHistoryRecord(t *testing.T) {
	first := time.Date(2025, 11, 20, 10, 5, 0, 0, time.UTC)
	now := first.Add(time.Hour)

	entry := func(digest, status string, total int64) meta.HistoryEntry {
		return meta.HistoryEntry{
			Digest:               digest,
			FirstReconciled:      metav1.NewTime(first),
			LastReconciled:       metav1.NewTime(first),
			LastReconciledStatus: status,
			TotalReconciliations: total,
		}
	}
	recorded := meta.HistoryEntry{
		Digest:                 "sha256:a",
		FirstReconciled:        metav1.NewTime(now),
		LastReconciled:         metav1.NewTime(now),
		LastReconciledDuration: metav1.Duration{Duration: time.Second},
		LastReconciledStatus:   "Succeeded",
		TotalReconciliations:   1,
		Metadata:               map[string]string{"revision": "1"},
	}
	again := recorded
	again.FirstReconciled = metav1.NewTime(first)
	again.TotalReconciliations = 4

	cases := map[string]struct {
		reason string
		have   meta.History
		want   meta.History
	}{
		"Empty": {
			reason: "The first reconcile is the first entry.",
			want:   meta.History{recorded},
		},
		"Repeated": {
			reason: "A repeated result is counted, and moves to the front.",
			have:   meta.History{entry("sha256:b", "Succeeded", 1), entry("sha256:a", "Succeeded", 3)},
			want:   meta.History{again, entry("sha256:b", "Succeeded", 1)},
		},
		"OtherStatus": {
			reason: "The same digest with another status is another entry.",
			have:   meta.History{entry("sha256:a", "Failed", 3)},
			want:   meta.History{recorded, entry("sha256:a", "Failed", 3)},
		},
		"Full": {
			reason: "The oldest entry goes when there are too many.",
			have: meta.History{
				entry("sha256:1", "", 1), entry("sha256:2", "", 1), entry("sha256:3", "", 1),
				entry("sha256:4", "", 1), entry("sha256:5", "", 1),
			},
			want: meta.History{
				recorded, entry("sha256:1", "", 1), entry("sha256:2", "", 1), entry("sha256:3", "", 1),
				entry("sha256:4", "", 1),
			},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got := tc.have
			got.Record("sha256:a", "Succeeded", now, time.Second, map[string]string{"revision": "1"})

			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("%s\n-want, +got:\n%s", tc.reason, diff)
			}

			if got.Latest() != &got[0] {
				t.Errorf("%s\nlatest is not the first entry", tc.reason)
			}
		})
	}
}

func TestHistoryLatestOfNone(t *testing.T) {
	if got := (meta.History)(nil).Latest(); got != nil {
		t.Errorf("latest of an empty history is %v", got)
	}
}
