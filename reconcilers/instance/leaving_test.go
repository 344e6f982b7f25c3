package instance

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	fluxv1 "github.com/weir-dev/weir/api/controlplane/v1"
	"github.com/weir-dev/weir/api/meta"
	"github.com/weir-dev/weir/reconcilers/access"
	"github.com/weir-dev/weir/reconcilers/distribution"
)

func TestLeaving(t *testing.T) {
	const releases, charts = "helmreleases.helm.toolkit.fluxcd.io", "helmcharts.source.toolkit.fluxcd.io"
	previous := []access.Ref{definition(releases), deployment("helm-controller"), syncing, deployment("kustomize-controller")}
	set := func(components ...string) *distribution.Set {
		set := &distribution.Set{Objects: []*unstructured.Unstructured{}}
		for _, c := range components {
			set.Images = append(set.Images, fluxv1.ComponentImage{Name: c})
			set.Objects = append(set.Objects, &unstructured.Unstructured{Object: map[string]any{
				"apiVersion": "apps/v1", "kind": "Deployment", "metadata": map[string]any{"namespace": "flux-system", "name": c},
			}})
		}
		return set
	}
	defined := set("kustomize-controller")
	defined.Objects = append(defined.Objects, &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": map[string]any{"name": releases},
	}})
	tests := map[string]struct {
		reason   string
		prune    *fluxv1.Pruning
		previous []access.Ref
		scope    scope
		want     []string
	}{
		"Default": {
			reason: "What users made stays.", previous: previous, scope: scope{set: set("kustomize-controller")},
			want: []string{
				"CustomResourceDefinition/" + releases + " stays, with all objects of its kind: spec.prune.definitions is not set",
				"Deployment/flux-system/helm-controller is deleted",
				"Kustomization/flux-system/flux-system is deleted, and what it has deployed stays: spec.prune.synced is not set",
			},
		},
		"All": {
			reason: "The user wants it gone.", prune: &fluxv1.Pruning{Definitions: true, Synced: true},
			previous: previous, scope: scope{set: set("kustomize-controller")},
			want: []string{
				"CustomResourceDefinition/" + releases + " is deleted, with all objects of its kind; what these have deployed stays",
				"Deployment/flux-system/helm-controller is deleted",
				"Kustomization/flux-system/flux-system is deleted, with what it has deployed",
			},
		},
		"NobodyThere": {
			reason: "Nobody is there to delete what was deployed.", prune: &fluxv1.Pruning{Synced: true},
			previous: []access.Ref{syncing}, scope: scope{set: set("source-controller")},
			want: []string{
				"Kustomization/flux-system/flux-system is deleted, and what it has deployed stays: kustomize-controller is not there to delete it",
			},
		},
		"Volume": {
			reason:   "Who no longer wants it knows what it takes along.",
			previous: []access.Ref{{ID: access.ID{Kind: "PersistentVolumeClaim", Namespace: "flux-system", Name: "source-controller"}}},
			scope:    scope{set: set("source-controller")},
			want:     []string{"PersistentVolumeClaim/flux-system/source-controller is deleted, with its contents"},
		},
		"GoingBack": {
			reason: "What a failed release has brought goes, but for what users may have made with it meanwhile.",
			prune:  &fluxv1.Pruning{Definitions: true, Synced: true}, previous: previous,
			scope: scope{set: set("kustomize-controller"), keeping: &keeping{}},
			want: []string{
				"CustomResourceDefinition/" + releases + " stays as it is",
				"Deployment/flux-system/helm-controller is deleted",
				"Kustomization/flux-system/flux-system is deleted, and what it has deployed stays: spec.prune.synced is not set",
			},
		},
		"Newer": {
			reason: "A definition that the spec asks for is not one too many because it was not applied.",
			prune:  &fluxv1.Pruning{Definitions: true}, previous: []access.Ref{definition(releases), definition(charts)},
			scope: scope{set: set("kustomize-controller"), built: defined},
			want: []string{
				"CustomResourceDefinition/" + releases + " stays as it is",
				"CustomResourceDefinition/" + charts + " is deleted, with all objects of its kind; what these have deployed stays",
			},
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			tc.scope.previous = tc.previous
			var got []string
			for _, d := range tc.scope.leaving(&fluxv1.FluxInstance{Spec: fluxv1.FluxInstanceSpec{Prune: tc.prune}}) {
				got = append(got, d.String())
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("%s\n(-want +got):\n%s", tc.reason, diff)
			}
		})
	}
}

func TestForced(t *testing.T) {
	tests := map[string]struct {
		reason         string
		request, force string
		handled        string
		from, to       string
		want           bool
	}{
		"First":        {reason: "The first release stores what it defines.", to: "v2.9.5@sha256:1"},
		"Patch":        {reason: "A patch has the versions of the one before.", from: "v2.9.5@sha256:1", to: "v2.9.6@sha256:2"},
		"Minor":        {reason: "The next minor may drop what this one has.", from: "v2.9.5@sha256:1", to: "v2.10.0@sha256:2", want: true},
		"Major":        {reason: "As may a major.", from: "v2.9.5@sha256:1", to: "v3.0.0@sha256:2", want: true},
		"Asked":        {reason: "The two annotations are the same.", request: "a", force: "a", from: "v2.9.5", to: "v2.9.5", want: true},
		"AskedBefore":  {reason: "It was done.", request: "a", force: "a", handled: "a", from: "v2.9.5", to: "v2.9.5"},
		"RequestOnly":  {reason: "A request is not by force.", request: "b", force: "a", from: "v2.9.5", to: "v2.9.5"},
		"PreRelease":   {reason: "What comes before a release is of its minor.", from: "v2.9.0-rc.1@sha256:1", to: "v2.9.0@sha256:2"},
		"NotAVersion":  {reason: "Nobody knows what it was.", from: "main@sha256:1", to: "v2.9.0@sha256:2", want: true},
		"NothingAsked": {reason: "No annotations are no request.", from: "v2.9.5", to: "v2.9.5"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			obj := &fluxv1.FluxInstance{}
			obj.Annotations = map[string]string{meta.ReconcileRequestAnnotation: tc.request, meta.ForceRequestAnnotation: tc.force}
			obj.Status.LastAppliedRevision, obj.Status.LastHandledForceAt = tc.from, tc.handled
			if got := forced(obj, tc.to); got != tc.want {
				t.Errorf("%s\ngot %t", tc.reason, got)
			}
		})
	}
}
