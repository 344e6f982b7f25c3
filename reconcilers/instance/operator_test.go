package instance

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	fluxv1 "github.com/weir-dev/weir/api/controlplane/v1"
	"github.com/weir-dev/weir/reconcilers/engine"
	"github.com/weir-dev/weir/reconcilers/operator"
)

const (
	zero   = "sha256:0000000000000000000000000000000000000000000000000000000000000000"
	oldOne = "r/weir:v1"
	newOne = "r/weir:v2"
)

func TestFollows(t *testing.T) {
	cases := map[string]struct {
		reason     string
		want, have string
		expected   bool
	}{
		"Same":      {"The very same.", "r/weir:v1@" + zero, "r/weir:v1@" + zero, true},
		"Mirror":    {"The same digest from elsewhere is there already.", "mirror/weir:v1@" + zero, "r/weir:latest@" + zero, true},
		"Unpinned":  {"A tag may be moved, the digest was looked at.", "r/weir:v1@" + zero, "r/weir:v1", false},
		"Tag":       {"No digest is asked for.", "r/weir:v1", "r/weir:v1@" + zero, true},
		"MirrorTag": {"Nor is another registry a reason to roll.", "mirror/weir:v1", "r/weir:v1", true},
		"Other":     {"Another version.", "r/weir:v2", "r/weir:v1", false},
		"Nonsense":  {"What is no image is not followed.", "r/weir:v2", "", false},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if got := follows(tc.want, tc.have); got != tc.expected {
				t.Errorf("%s\nfollows %v", tc.reason, got)
			}
		})
	}
}

func TestCourse(t *testing.T) {
	build := func(image string) operator.Build { return operator.Build{Image: image, Argument: image} }
	still, rolling := operator.State{Running: build(oldOne), Wanted: build(oldOne)}, operator.State{Running: build(oldOne), Wanted: build(newOne)}
	by := func(s operator.State, manager string) operator.State { s.ManagedBy = manager; return s }
	unfit := func(s operator.State) operator.State { s.Unfit = "no"; return s }
	at := &metav1.Time{Time: time.Unix(1, 0)}
	begun := fluxv1.OperatorStatus{Available: newOne, Attempt: "1", StartedAt: at}
	failed := fluxv1.OperatorStatus{Available: newOne, Failed: newOne, Attempt: "1"}
	cases := map[string]struct {
		reason string
		x      sighting
		want   course
	}{
		"Current":         {"It runs what is wanted.", sighting{state: still, want: oldOne}, courseCurrent},
		"Advance":         {"It runs something else.", sighting{state: still, want: newOne, attempt: "1"}, courseAdvance},
		"Report":          {"It is only to be told of.", sighting{state: still, want: newOne, reports: true}, courseLeave},
		"Unfit":           {"Nobody could go back.", sighting{state: unfit(still), want: newOne}, courseLeave},
		"Helm":            {"It is somebody else's.", sighting{state: by(still, "Helm"), want: newOne}, courseLeave},
		"HelmRolls":       {"Even while they roll out something else.", sighting{state: by(rolling, "Helm"), want: "r/weir:v3", last: begun, fatal: "crash"}, courseLeave},
		"HelmCurrent":     {"Theirs may be the right one.", sighting{state: by(still, "Helm"), want: oldOne}, courseCurrent},
		"NoRelease":       {"Upstream's releases have no operator of ours.", sighting{state: still}, courseUntaught},
		"NoReleaseHelm":   {"Nor have they for others.", sighting{state: by(still, "Helm")}, courseUntaught},
		"Begun":           {"The new pods come up.", sighting{state: rolling, want: newOne, attempt: "1", last: begun, hint: "slow"}, courseObserve},
		"BegunByOthers":   {"Somebody else, or a process that was killed before it wrote it down, has given it the image.", sighting{state: rolling, want: newOne, attempt: "1"}, courseObserve},
		"Report while":    {"What was begun comes to an end.", sighting{state: rolling, want: newOne, attempt: "2", last: begun, reports: true}, courseObserve},
		"Keeping":         {"Also while nobody knows what is wanted.", sighting{state: rolling, last: begun, late: true}, courseAbandon},
		"Late":            {"The time is up.", sighting{state: rolling, want: newOne, attempt: "1", last: begun, late: true}, courseAbandon},
		"Crash":           {"There is no hope.", sighting{state: rolling, want: newOne, attempt: "1", last: begun, fatal: "crash"}, courseAbandon},
		"Newer":           {"There is a better one meanwhile.", sighting{state: rolling, want: "r/weir:v3", attempt: "2", last: begun, fatal: "crash"}, courseAdvance},
		"OthersCrash":     {"The clock begins when it is seen first.", sighting{state: rolling, want: newOne, attempt: "1", fatal: "crash"}, courseObserve},
		"Restore":         {"It failed, and is to go.", sighting{state: rolling, want: newOne, attempt: "1", last: failed}, courseRestore},
		"RestoreKeeping":  {"It goes whatever is wanted.", sighting{state: rolling, last: failed}, courseRestore},
		"Stays":           {"It is left as it is.", sighting{state: rolling, want: newOne, attempt: "1", last: failed, stays: true}, courseDesist},
		"Desist":          {"It failed with the same attempt.", sighting{state: still, want: newOne, attempt: "1", last: failed}, courseDesist},
		"Again":           {"It is another attempt.", sighting{state: still, want: newOne, attempt: "2", last: failed}, courseAdvance},
		"AnotherOne":      {"Another one has not failed.", sighting{state: still, want: "r/weir:v3", attempt: "1", last: failed}, courseAdvance},
		"AgainWhileThere": {"Another attempt before it was put back.", sighting{state: rolling, want: newOne, attempt: "2", last: failed}, courseObserve},
		"Recovered":       {"What failed is what runs.", sighting{state: operator.State{Running: build(newOne), Wanted: build(newOne)}, want: newOne, attempt: "1", last: failed}, courseCurrent},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if got := tc.x.course(); got != tc.want {
				t.Errorf("%s\n%s, want %s", tc.reason, got, tc.want)
			}
		})
	}
}

func TestOperatorEvents(t *testing.T) {
	as := func(status metav1.ConditionStatus, reason, message string) *fluxv1.FluxInstance {
		obj := &fluxv1.FluxInstance{}
		engine.Set(obj, fluxv1.OperatorUpToDateCondition, status, reason, message)
		return obj
	}
	none := &fluxv1.FluxInstance{}
	cases := map[string]struct {
		reason        string
		before, after *fluxv1.FluxInstance
		want          []string
	}{
		"Nothing":     {"Elsewhere there is no operator.", none, none, nil},
		"FoundGood":   {"Nothing has happened.", none, as("True", "OperatorUpToDate", "m"), nil},
		"FoundAbsent": {"Somebody may wonder why it does not follow.", none, as("Unknown", "OperatorNotDeployed", "m"), []string{" OperatorNotDeployed m"}},
		"Same":        {"It was told before.", as("False", "OperatorUpgradeAvailable", "m"), as("False", "OperatorUpgradeAvailable", "m"), nil},
		"Other":       {"There is another one.", as("False", "OperatorUpgradeAvailable", "m"), as("False", "OperatorUpgradeAvailable", "n"), []string{" OperatorUpgradeAvailable n"}},
		"Hints":       {"What the pods say changes often.", as("Unknown", "OperatorUpgrading", "m"), as("Unknown", "OperatorUpgrading", "n"), nil},
		"Failed":      {"It did not come up.", as("Unknown", "OperatorUpgrading", "m"), as("False", "OperatorUpgradeFailed", "n"), []string{"Warning OperatorUpgradeFailed n"}},
		"Up":          {"It did.", as("Unknown", "OperatorUpgrading", "m"), as("True", "OperatorUpToDate", "n"), []string{" OperatorUpToDate n"}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			var got []string
			for _, e := range operatorEvents(tc.before, tc.after) {
				got = append(got, e.Type+" "+e.Reason+" "+e.Message)
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("%s\n(-want +got):\n%s", tc.reason, diff)
			}
		})
	}
}
