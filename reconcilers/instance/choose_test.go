package instance

import (
	"strings"
	"testing"
	"unicode/utf8"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	fluxv1 "github.com/weir-dev/weir/api/controlplane/v1"
	"github.com/weir-dev/weir/api/meta"
)

func TestChoose(t *testing.T) {
	last := func(phase, to, attempt string) *fluxv1.UpgradeStatus {
		return &fluxv1.UpgradeStatus{Phase: phase, To: to, Attempt: attempt}
	}
	tests := map[string]struct {
		reason string
		in     situation
		want   way
	}{
		"First": {
			reason: "There is nothing to come from, and nothing to go back to.",
			in:     situation{built: "b", attempt: "1"}, want: installing,
		},
		"FirstAgain": {
			reason: "An installation that failed is no upgrade either.",
			in:     situation{built: "b", attempt: "1", upgrade: last("Failed", "b", "1")}, want: installing,
		},
		"Steady": {
			reason: "What is wanted runs.",
			in:     situation{applied: "a", built: "a", upgrade: last("Succeeded", "a", "1")}, want: steady,
		},
		"TakenBackByHand": {
			reason: "Whoever wants again what was good last has it, whatever the other revision came to.",
			in:     situation{applied: "a", built: "a", upgrade: last("RollingBack", "b", "1")}, want: steady,
		},
		"Another": {
			reason: "Another revision is wanted.",
			in:     situation{applied: "a", built: "b", attempt: "2", upgrade: last("Succeeded", "a", "1")}, want: beginning,
		},
		"AnotherWithoutStatus": {
			reason: "An operator without upgrades was here before.",
			in:     situation{applied: "a", built: "b", attempt: "1"}, want: beginning,
		},
		"Superseded": {
			reason: "A revision that is under way gives place to the next one.",
			in:     situation{applied: "a", built: "c", attempt: "2", upgrade: last("Waiting", "b", "1")}, want: beginning,
		},
		"SupersededBackwards": {
			reason: "What is wanted now may be better than both: it need not wait for a rollback.",
			in:     situation{applied: "a", built: "c", attempt: "2", upgrade: last("RollingBack", "b", "1")}, want: beginning,
		},
		"Held": {
			reason: "What waited for its time may begin.",
			in:     situation{applied: "a", built: "b", attempt: "1", upgrade: last("Pending", "b", "1")}, want: beginning,
		},
		"Applying": {
			reason: "An operator that was killed goes on.",
			in:     situation{applied: "a", built: "b", attempt: "1", upgrade: last("Applying", "b", "1")}, want: upgrading,
		},
		"Waiting": {
			reason: "The same.",
			in:     situation{applied: "a", built: "b", attempt: "1", upgrade: last("Waiting", "b", "1")}, want: upgrading,
		},
		"Soaking": {
			reason: "The same.",
			in:     situation{applied: "a", built: "b", attempt: "1", upgrade: last("Soaking", "b", "1")}, want: upgrading,
		},
		"AskedMeanwhile": {
			reason: "A request in the middle of an upgrade does not make it wait for a window that has closed.",
			in:     situation{applied: "a", built: "b", attempt: "2", upgrade: last("Waiting", "b", "1")}, want: upgrading,
		},
		"Failed": {
			reason: "What could not be taken back may recover.",
			in:     situation{applied: "a", built: "b", attempt: "1", upgrade: last("Failed", "b", "1")}, want: upgrading,
		},
		"RollingBack": {
			reason: "An operator that was killed on the way back goes on back.",
			in:     situation{applied: "a", built: "b", attempt: "1", upgrade: last("RollingBack", "b", "1")}, want: returning,
		},
		"RollingBackAsked": {
			reason: "A request is another attempt.",
			in:     situation{applied: "a", built: "b", attempt: "2", upgrade: last("RollingBack", "b", "1")}, want: beginning,
		},
		"RolledBack": {
			reason: "What failed is not tried again before something changes.",
			in:     situation{applied: "a", built: "b", attempt: "1", upgrade: last("RolledBack", "b", "1")}, want: holding,
		},
		"RolledBackAsked": {
			reason: "Something has changed.",
			in:     situation{applied: "a", built: "b", attempt: "2", upgrade: last("RolledBack", "b", "1")}, want: beginning,
		},
		"Unavailable": {
			reason: "Without a release to build, the last good one is kept.",
			in:     situation{applied: "a", upgrade: last("Succeeded", "a", "1")}, want: holding,
		},
		"UnavailableBackwards": {
			reason: "The way back needs no registry.",
			in:     situation{applied: "a", upgrade: last("RollingBack", "b", "1")}, want: returning,
		},
		"Edited": {
			reason: "A status that contradicts itself is not believed.",
			in:     situation{applied: "a", built: "b", attempt: "1", upgrade: last("Succeeded", "b", "1")}, want: beginning,
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			if got := choose(tc.in); got != tc.want {
				t.Errorf("choose(%+v) = %q, want %q: %s", tc.in, got, tc.want, tc.reason)
			}
		})
	}
}

func TestAttempt(t *testing.T) {
	first := &fluxv1.FluxInstance{ObjectMeta: metav1.ObjectMeta{Generation: 1}}
	asked := &fluxv1.FluxInstance{ObjectMeta: metav1.ObjectMeta{Generation: 1, Annotations: map[string]string{meta.ReconcileRequestAnnotation: "now"}}}
	edited := &fluxv1.FluxInstance{ObjectMeta: metav1.ObjectMeta{Generation: 2}}
	seen := map[string]string{}
	for name, a := range map[string]struct {
		obj                *fluxv1.FluxInstance
		revision, artifact string
	}{
		"first": {first, "a", "d"}, "asked": {asked, "a", "d"}, "edited": {edited, "a", "d"},
		"another revision": {first, "b", "d"}, "another artifact": {first, "a", "e"},
	} {
		got, err := attempt(a.obj, a.revision, a.artifact)
		if err != nil {
			t.Fatal(err)
		}
		if other, ok := seen[got]; ok {
			t.Errorf("%s and %s are the same attempt", name, other)
		}
		seen[got] = name
		if again, _ := attempt(a.obj, a.revision, a.artifact); again != got {
			t.Errorf("%s is not the same attempt as itself", name)
		}
	}
}

func TestBrief(t *testing.T) {
	for in, want := range map[string]int{
		"a": 1, strings.Repeat("a", maxWhy): maxWhy, strings.Repeat("a", maxWhy+1): maxWhy + 3, strings.Repeat("ä", maxWhy): maxWhy + 3,
		"a" + strings.Repeat("ä", maxWhy): maxWhy - 1 + 3, // no half of a letter
	} {
		got := brief(in)
		if len(got) != want || !utf8.ValidString(got) {
			t.Errorf("brief of %d bytes has %d, want %d", len(in), len(got), want)
		}
	}
}
