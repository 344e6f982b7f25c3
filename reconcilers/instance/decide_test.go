package instance

import (
	"maps"
	"testing"
	"time"

	"github.com/fluxcd/cli-utils/pkg/kstatus/status"
	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/weir-dev/weir/api/meta"
	"github.com/weir-dev/weir/reconcilers/access"
	"github.com/weir-dev/weir/reconcilers/health"
)

func deployment(name string) access.Ref {
	return access.Ref{ID: access.ID{Group: "apps", Kind: "Deployment", Namespace: "flux-system", Name: name}, Version: "v1"}
}

func definition(name string) access.Ref {
	return access.Ref{ID: access.ID{Group: "apiextensions.k8s.io", Kind: "CustomResourceDefinition", Name: name}, Version: "v1"}
}

var syncing = access.Ref{
	ID:      access.ID{Group: "kustomize.toolkit.fluxcd.io", Kind: "Kustomization", Namespace: "flux-system", Name: "flux-system"},
	Version: "v1",
}

func service(name string) access.Ref {
	return access.Ref{ID: access.ID{Kind: "Service", Namespace: "flux-system", Name: name}, Version: "v1"}
}

func TestSuperseded(t *testing.T) {
	elsewhere := deployment("source-controller")
	elsewhere.Namespace = "elsewhere"
	tests := map[string]struct {
		reason     string
		have, want []access.Ref
		result     []access.Ref
	}{
		"Nothing": {
			reason: "A first installation has nothing to take out.",
			want:   []access.Ref{deployment("source-controller")},
		},
		"SameTopology": {
			reason: "A component that is removed goes after the others are healthy, as everything that is pruned.",
			have:   []access.Ref{deployment("source-controller"), deployment("helm-controller")},
			want:   []access.Ref{deployment("source-controller")},
		},
		"ToUnified": {
			reason: "Two controllers of the same objects must not run side by side.",
			have:   []access.Ref{deployment("source-controller"), service("source-controller"), deployment("helm-controller")},
			want:   []access.Ref{deployment("weir"), service("source-controller")},
			result: []access.Ref{deployment("source-controller"), deployment("helm-controller")},
		},
		"ToDistributed": {
			reason: "The way back takes out the shards too.",
			have:   []access.Ref{deployment("weir"), deployment("weir-blue")},
			want:   []access.Ref{deployment("source-controller"), deployment("source-controller-blue")},
			result: []access.Ref{deployment("weir"), deployment("weir-blue")},
		},
		"OtherNamespace": {
			reason: "Neither must those of one namespace run beside those of another.",
			have:   []access.Ref{elsewhere, deployment("source-controller")},
			want:   []access.Ref{deployment("source-controller")},
			result: []access.Ref{elsewhere},
		},
		"UnifiedShardGone": {
			reason: "A shard that is removed is no change of topology.",
			have:   []access.Ref{deployment("weir"), deployment("weir-blue")},
			want:   []access.Ref{deployment("weir")},
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tc.result, superseded(tc.have, tc.want)); diff != "" {
				t.Errorf("%s\n(-want +got):\n%s", tc.reason, diff)
			}
		})
	}
}

func TestInventory(t *testing.T) {
	newer := deployment("a")
	newer.Version = "v2"
	got := inventory([]access.Ref{newer, service("b")}, []access.Ref{deployment("a"), definition("c")})
	want := &meta.ResourceInventory{Entries: []meta.ResourceRef{
		{ID: "_c_apiextensions.k8s.io_CustomResourceDefinition", Version: "v1"},
		{ID: "flux-system_a_apps_Deployment", Version: "v2"},
		{ID: "flux-system_b__Service", Version: "v1"},
	}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("each object once, in order (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]access.Ref{definition("c"), newer, service("b")}, references(got)); diff != "" {
		t.Errorf("read back (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]access.Ref{service("b")}, without(references(got), []access.Ref{deployment("a"), definition("c")})); diff != "" {
		t.Errorf("without, whatever the version (-want +got):\n%s", diff)
	}
}

// judgement is a case of TestJudge.
type judgement struct {
	reason  string
	report  health.Report
	pods    diagnosis
	elapsed time.Duration
	want    verdict
}

func TestJudge(t *testing.T) {
	pending := []health.Condition{{ID: deployment("helm-controller").ID, Status: status.InProgressStatus, Message: "Available: 0/1"}}
	failed := []health.Condition{{ID: definition("c").ID, Status: status.FailedStatus, Message: "Names not accepted"}}
	synced := []health.Condition{{ID: syncing.ID, Status: status.InProgressStatus, Message: "Reconciling"}}
	blind := []access.ID{deployment("helm-controller").ID}
	tests := map[string]judgement{
		"Healthy": {
			reason: "All is well, however long it took.",
			report: health.Report{Current: pending}, elapsed: time.Hour,
			want: verdict{healthy: true},
		},
		"Pending": {
			reason: "While there is time, the hub wakes the instance, and its pods are looked at now and then.",
			report: health.Report{InProgress: pending}, elapsed: time.Minute,
			want: verdict{
				message: "Waiting for Deployment/flux-system/helm-controller status: 'InProgress': Available: 0/1",
				after:   recheck, arm: true,
			},
		},
		"PendingBlind": {
			reason: "What cannot be watched is looked at from time to time.",
			report: health.Report{InProgress: pending, Blind: blind}, elapsed: time.Minute,
			want: verdict{
				message: "Waiting for Deployment/flux-system/helm-controller status: 'InProgress': Available: 0/1",
				after:   recheck, arm: true,
			},
		},
		"TimedOut": {
			reason: "Past the deadline it is a failure that heals when the objects do: the hub still wakes the instance.",
			report: health.Report{InProgress: pending}, elapsed: 5 * time.Minute,
			want: verdict{
				ours:    true,
				failure: "health check timed out after 5m0s: Deployment/flux-system/helm-controller status: 'InProgress': Available: 0/1",
				after:   recheck, arm: true,
			},
		},
		"Failed": {
			reason: "What has failed is told at once, with all else that is not ready.",
			report: health.Report{InProgress: pending, Failed: failed},
			want: verdict{
				ours: true,
				failure: "health check failed: CustomResourceDefinition/c status: 'Failed': Names not accepted, " +
					"Deployment/flux-system/helm-controller status: 'InProgress': Available: 0/1",
				after: recheck,
			},
		},
	}
	maps.Copy(tests, map[string]judgement{
		"PendingSync": {
			reason: "What has no pods is looked at when it is ready, or time is up.",
			report: health.Report{InProgress: synced}, elapsed: time.Minute,
			want: verdict{
				message: "Waiting for Kustomization/flux-system/flux-system status: 'InProgress': Reconciling",
				after:   4 * time.Minute, arm: true,
			},
		},
		"SyncTimedOut": {
			reason: "What a repository holds is not up to the release.",
			report: health.Report{InProgress: synced}, elapsed: 5 * time.Minute,
			want: verdict{
				failure: "health check timed out after 5m0s: Kustomization/flux-system/flux-system status: 'InProgress': Reconciling",
				after:   recheck, arm: true,
			},
		},
		"Crashing": {
			reason: "A container that keeps ending is past hope, however much time is left.",
			report: health.Report{InProgress: pending}, pods: diagnosis{fatal: "a pod crashes", hint: "another starts"},
			want: verdict{failure: "health check failed: a pod crashes", ours: true, after: recheck, arm: true},
		},
		"Hint": {
			reason: "When time is up, what the pods say may be the cause.",
			report: health.Report{InProgress: pending}, pods: diagnosis{hint: "a pod is not scheduled"}, elapsed: time.Hour,
			want: verdict{
				failure: "health check timed out after 5m0s: Deployment/flux-system/helm-controller status: 'InProgress': Available: 0/1" +
					"; a pod is not scheduled",
				ours: true, after: recheck, arm: true,
			},
		},
		"SyncFailed": {
			reason: "A failed Kustomization does not hide that the components are late.",
			report: health.Report{InProgress: pending, Failed: synced}, elapsed: time.Hour,
			want: verdict{
				failure: "health check failed: Kustomization/flux-system/flux-system status: 'InProgress': Reconciling, " +
					"Deployment/flux-system/helm-controller status: 'InProgress': Available: 0/1",
				ours: true, after: recheck,
			},
		},
	})
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			got := judge(tc.report, tc.pods, 5*time.Minute, tc.elapsed)
			if diff := cmp.Diff(tc.want, got, cmp.AllowUnexported(verdict{})); diff != "" {
				t.Errorf("%s\n(-want +got):\n%s", tc.reason, diff)
			}
		})
	}
}

func TestRemaining(t *testing.T) {
	tests := map[string]struct {
		reason string
		in     []string
		want   []string
	}{
		"None":    {"An empty list in a merge patch still replaces the other.", nil, []string{}},
		"Toolkit": {"Those of all toolkit controllers go.", []string{"finalizers.fluxcd.io", "source.extensions.fluxcd.io/finalizer"}, []string{}},
		"Others":  {"Those of others are theirs to remove.", []string{"finalizers.fluxcd.io", "foregroundDeletion", "example.com/keep", "notfluxcd.io/x"}, []string{"foregroundDeletion", "example.com/keep", "notfluxcd.io/x"}},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, remaining(tc.in)); diff != "" {
				t.Errorf("%s\n(-want +got):\n%s", tc.reason, diff)
			}
		})
	}
}

func TestFarewell(t *testing.T) {
	kustomization := schema.GroupKind{Group: "kustomize.toolkit.fluxcd.io", Kind: "Kustomization"}
	release := schema.GroupKind{Group: "helm.toolkit.fluxcd.io", Kind: "HelmRelease"}
	source := schema.GroupKind{Group: "source.toolkit.fluxcd.io", Kind: "GitRepository"}
	held := []string{"finalizers.fluxcd.io"}
	released := map[string]any{"finalizers": []string{}, "resourceVersion": "7"}
	suspended := map[string]any{"suspend": true}
	tests := map[string]struct {
		reason string
		gk     schema.GroupKind
		held   []string
		doomed bool
		want   map[string]any
	}{
		"Source":        {"A source deploys nothing.", source, held, true, map[string]any{"metadata": released}},
		"Kustomization": {"It goes with its definition, and must not take what it deployed along.", kustomization, held, true, map[string]any{"metadata": released, "spec": suspended}},
		"HelmRelease":   {"Nor must a release be uninstalled.", release, nil, true, map[string]any{"spec": suspended}},
		"Kept":          {"Where the definition stays, the object goes on under the next instance.", kustomization, held, false, map[string]any{"metadata": released}},
		"Free":          {"Nothing to do.", source, nil, true, map[string]any{}},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, farewell(tc.gk, &metav1.ObjectMeta{Finalizers: tc.held, ResourceVersion: "7"}, tc.doomed)); diff != "" {
				t.Errorf("%s\n(-want +got):\n%s", tc.reason, diff)
			}
		})
	}
}
