package instance

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	fluxv1 "github.com/weir-dev/weir/api/controlplane/v1"
	"github.com/weir-dev/weir/api/meta"
	"github.com/weir-dev/weir/reconcilers/apply"
	"github.com/weir-dev/weir/reconcilers/distribution"
)

func TestCrossing(t *testing.T) {
	tests := map[string]struct {
		reason   string
		crossing crossing
		want     string
	}{
		"Automatic":        {"Nobody asks for anything.", crossing{release: true, open: true}, ""},
		"WindowClosed":     {"Another release comes in a window only.", crossing{release: true}, "WaitingForWindow"},
		"SameRelease":      {"An edit of the spec does not wait for one.", crossing{}, ""},
		"Unapproved":       {"A plan has to be approved.", crossing{open: true, manual: true, plan: "a"}, "WaitingForApproval"},
		"Approved":         {"Then it is done.", crossing{open: true, manual: true, plan: "a", granted: "a"}, ""},
		"Another":          {"Another plan is not approved.", crossing{open: true, manual: true, plan: "a", granted: "b"}, "WaitingForApproval"},
		"EditUnapproved":   {"Edits of the spec take an approval too.", crossing{manual: true, plan: "a"}, "WaitingForApproval"},
		"NoPlan":           {"No plan is not an approved one.", crossing{open: true, manual: true}, "WaitingForApproval"},
		"Both":             {"The approval comes first, for people sleep when windows open.", crossing{release: true, manual: true, plan: "a"}, "WaitingForApproval"},
		"ApprovedAndShut":  {"Then the window.", crossing{release: true, manual: true, plan: "a", granted: "a"}, "WaitingForWindow"},
		"ApprovedAndOpen":  {"And with both it is done.", crossing{release: true, open: true, manual: true, plan: "a", granted: "a"}, ""},
		"AutomaticGranted": {"An approval does not open a window.", crossing{release: true, granted: "a"}, "WaitingForWindow"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			if got := tc.crossing.awaits(); got != tc.want {
				t.Errorf("waits for %q, want %q: %s", got, tc.want, tc.reason)
			}
		})
	}
}

func TestCrossingMessage(t *testing.T) {
	obj := &fluxv1.FluxInstance{ObjectMeta: metav1.ObjectMeta{Namespace: "flux-system", Name: "flux"}}
	next := time.Date(2026, time.November, 21, 22, 0, 0, 0, time.FixedZone("CET", 3600))
	const approve = ". Read it in ConfigMap 'flux-system/flux-plan', and approve it with: " +
		"kubectl -n flux-system annotate --overwrite fluxinstance/flux fluxcd.controlplane.io/approved-plan=p"
	tests := map[string]struct {
		crossing crossing
		next     time.Time
		want     string
	}{
		"Window":   {crossing{release: true}, next, "Revision r waits for the maintenance window that opens at 2026-11-21T22:00:00+01:00"},
		"Edits":    {crossing{release: true, edits: errors.New("it is gone")}, next, "Revision r waits for the maintenance window that opens at 2026-11-21T22:00:00+01:00. The spec was edited, and that waits with it: it is gone"},
		"Never":    {crossing{release: true}, time.Time{}, "Revision r waits for the next maintenance window, and none opens in the next years"},
		"Approval": {crossing{manual: true, plan: "p"}, time.Time{}, "Revision r waits for the approval of plan p (1 created)" + approve},
		"Stale":    {crossing{manual: true, plan: "p", granted: "o"}, time.Time{}, "Revision r waits for the approval of plan p (1 created), which is not the one that was approved" + approve},
		"Both":     {crossing{manual: true, plan: "p", release: true}, next, "Revision r waits for the approval of plan p (1 created)" + approve + " It is then applied in the maintenance window that opens at 2026-11-21T22:00:00+01:00"},
		"Approved": {crossing{manual: true, plan: "p", granted: "p", release: true}, next, "Plan p is approved: revision r waits for the maintenance window that opens at 2026-11-21T22:00:00+01:00"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			got := tc.crossing.message(obj, "r", &plan{digest: "p", counts: "1 created"}, tc.next)
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestSameRelease(t *testing.T) {
	image := func(name, tag, digest string) fluxv1.ComponentImage {
		return fluxv1.ComponentImage{Name: name, Repository: "r/" + name, Tag: tag, Digest: digest}
	}
	was := &fluxv1.FluxInstanceStatus{
		LastAppliedRevision: "v2.9.5@sha256:1", LastArtifactRevision: "sha256:a",
		Components: []fluxv1.ComponentImage{image("source-controller", "v1", "sha256:s"), image("helm-controller", "v1", "sha256:h")},
	}
	tests := map[string]struct {
		reason   string
		version  string
		artifact string
		images   []fluxv1.ComponentImage
		want     bool
	}{
		"Same":     {"Nothing but the objects may differ.", "v2.9.5", "sha256:a", was.Components, true},
		"Version":  {"Another version is another release.", "v2.9.6", "sha256:a", was.Components, false},
		"Artifact": {"So is another artifact.", "v2.9.5", "sha256:b", was.Components, false},
		"Embedded": {"Or none.", "v2.9.5", "", was.Components, false},
		"Image":    {"Or another image of one component.", "v2.9.5", "sha256:a", []fluxv1.ComponentImage{image("source-controller", "v1", "sha256:t")}, false},
		"Dropped":  {"A component less is an edit of the spec.", "v2.9.5", "sha256:a", was.Components[:1], true},
		"Added":    {"And so is one more.", "v2.9.5", "sha256:a", append(was.Components[:2:2], image("source-watcher", "v1", "sha256:w")), true},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			if got := sameRelease(was, &distribution.Set{Version: tc.version, Images: tc.images}, tc.artifact); got != tc.want {
				t.Errorf("got %t: %s", got, tc.reason)
			}
		})
	}
}

func TestForcing(t *testing.T) {
	tests := map[string]struct {
		force, request, handled string
		want                    bool
	}{
		"Asked":   {"1", "1", "", true},
		"Nothing": {"", "", "", false},
		"Only":    {"1", "", "", false},
		"Later":   {"1", "2", "", false},
		"Handled": {"1", "1", "1", false},
		"Again":   {"2", "2", "1", true},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			obj := &fluxv1.FluxInstance{ObjectMeta: metav1.ObjectMeta{Annotations: map[string]string{
				meta.ForceRequestAnnotation: tc.force, meta.ReconcileRequestAnnotation: tc.request,
			}}}
			obj.Status.LastHandledForceAt = tc.handled
			if got := forcing(obj); got != tc.want {
				t.Errorf("got %t", got)
			}
			spend(obj)
			if forcing(obj) || !tc.want && obj.Status.LastHandledForceAt != tc.handled {
				t.Errorf("what was spent is asked for, or another request is: %q", obj.Status.LastHandledForceAt)
			}
		})
	}
}

// TestChanged holds that one object with very many fields, or one very long one, hides nothing of the others.
func TestChanged(t *testing.T) {
	diff := &apply.Difference{
		Changes: apply.Changes{
			{Ref: service("a"), Action: apply.Created}, {Ref: service("gone"), Action: apply.Deleted}, {Ref: service("b"), Action: apply.Configured},
		},
		Fields: [][]string{
			slicesOf("+ .x: 1", 250), nil,
			{"~ .long: " + strings.Repeat("ü", 300), "+ .evil\nService/flux-system/c created: 1"},
		},
	}
	got := changed(diff)
	want := []string{"Service/flux-system/a created"}
	want = append(want, slicesOf("  + .x: 1", 100)...)
	want = append(want, "  ... and 150 fields more", "Service/flux-system/b configured",
		"  ~ .long: "+strings.Repeat("ü", 245)+"... and 109 bytes more",
		`  + .evil\nService/flux-system/c created: 1`)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func slicesOf(line string, n int) []string {
	lines := make([]string, n)
	for i := range lines {
		lines[i] = line
	}
	return lines
}

// TestHeading holds that a plan says how the release changes, images of components and of the operator included.
func TestHeading(t *testing.T) {
	image := func(name, tag string) fluxv1.ComponentImage {
		return fluxv1.ComponentImage{Name: name, Repository: "r/weir", Tag: tag, Digest: "sha256:" + tag}
	}
	obj := &fluxv1.FluxInstance{Status: fluxv1.FluxInstanceStatus{
		LastAppliedRevision: "v2.9.5@sha256:1",
		Components:          []fluxv1.ComponentImage{image("source-controller", "1"), image("helm-controller", "1"), image("kustomize-controller", "2")},
	}}
	own, err := distribution.ParseImage("r/weir:2@sha256:" + strings.Repeat("2", 64))
	if err != nil {
		t.Fatal(err)
	}
	s := &scope{set: &distribution.Set{
		Version: "v2.9.6", Digest: "sha256:2", Operator: own,
		Images: []fluxv1.ComponentImage{image("source-controller", "2"), image("kustomize-controller", "2"), image("source-watcher", "2")},
	}}
	components := []string{
		"Revision v2.9.5@sha256:1 -> v2.9.6@sha256:2",
		`  ~ image of source-controller: "r/weir:1@sha256:1" -> "r/weir:2@sha256:2"`,
		`  ~ image of source-watcher: "" -> "r/weir:2@sha256:2"`,
		`  ~ image of helm-controller: "r/weir:1@sha256:1" -> ""`,
	}
	operator := `  ~ image of the operator: "r/weir:1" -> "` + own.String() + `"`
	tests := map[string]struct {
		reason   string
		operator *fluxv1.OperatorStatus
		mode     string
		want     []string
	}{
		"Unknown": {"Nobody has looked at the operator yet.", nil, "", components},
		"Follows": {"It follows the release.", &fluxv1.OperatorStatus{Image: "r/weir:1", ManagedBy: "Weir"}, "", append(components[:4:4], operator)},
		"Same":    {"It runs the image already.", &fluxv1.OperatorStatus{Image: own.String(), ManagedBy: "Weir"}, "", components},
		"Reports": {"It is only to report.", &fluxv1.OperatorStatus{Image: "r/weir:1", ManagedBy: "Weir"}, "Report", components},
		"Helm":    {"It is Helm's.", &fluxv1.OperatorStatus{Image: "r/weir:1", ManagedBy: "Helm"}, "", components},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			obj.Status.Operator, obj.Spec.Upgrade = tc.operator, &fluxv1.Upgrade{Operator: tc.mode}
			if diff := cmp.Diff(tc.want, heading(obj, s)); diff != "" {
				t.Errorf("%s\n(-want +got):\n%s", tc.reason, diff)
			}
		})
	}
}
