package controllers

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	helmv2 "github.com/weir-dev/weir/api/helm/v2"
	"github.com/weir-dev/weir/api/meta"
	sourcev1 "github.com/weir-dev/weir/api/source/v1"
	"github.com/weir-dev/weir/reconcilers/engine"
)

func TestReleaseReferences(t *testing.T) {
	chart := &helmv2.HelmChartTemplate{Spec: helmv2.HelmChartTemplateSpec{
		Chart: "app", SourceRef: helmv2.CrossNamespaceObjectReference{Kind: "HelmRepository", Name: "charts", Namespace: "sources"},
	}}

	for name, tc := range map[string]struct {
		reason string
		spec   helmv2.HelmReleaseSpec
		want   map[string][]string
	}{
		"Template": {
			reason: "The HelmChart is made beside the repository.", spec: helmv2.HelmReleaseSpec{Chart: chart},
			want: map[string][]string{bySource: {"HelmChart/sources/team-app"}},
		},
		"Reference": {
			reason: "A source of another namespace counts.",
			spec: helmv2.HelmReleaseSpec{ChartRef: &helmv2.CrossNamespaceSourceReference{
				Kind: "OCIRepository", Name: "app", Namespace: "sources",
			}},
			want: map[string][]string{bySource: {"OCIRepository/sources/app"}},
		},
		"Rest": {
			reason: "Dependencies, values and the kubeconfig are in the namespace of the release, unless they say another one.",
			spec: helmv2.HelmReleaseSpec{
				ChartRef:   &helmv2.CrossNamespaceSourceReference{Kind: "ExternalArtifact", Name: "app"},
				DependsOn:  []meta.DependencyReference{{Name: "db"}, {Name: "dns", Namespace: "infra"}},
				ValuesFrom: []meta.ValuesReference{{Kind: "Secret", Name: "passwords"}, {Kind: "ConfigMap", Name: "defaults"}},
				KubeConfig: &meta.KubeConfigReference{SecretRef: &meta.SecretKeyReference{Name: "cluster"}},
			},
			want: map[string][]string{
				bySource:     {"ExternalArtifact/team/app"},
				byDependency: {"HelmRelease/team/db", "HelmRelease/infra/dns"},
				byConfig:     {"ConfigMap/team/defaults", "Secret/team/cluster", "Secret/team/passwords"},
			},
		},
		"Neither": {reason: "What was never admitted refers to nothing.", want: map[string][]string{}},
	} {
		t.Run(name, func(t *testing.T) {
			obj := &helmv2.HelmRelease{ObjectMeta: metav1.ObjectMeta{Namespace: "team", Name: "app"}, Spec: tc.spec}

			got := map[string][]string{}
			for field, values := range releaseReferences() {
				if found := values(obj); len(found) > 0 {
					got[field] = found
				}
			}

			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tc.reason, diff)
			}
		})
	}
}

func TestReleased(t *testing.T) {
	release := func(ready metav1.ConditionStatus, digest string, generation int64) *helmv2.HelmRelease {
		obj := &helmv2.HelmRelease{}
		obj.Status.ObservedGeneration = generation
		obj.Status.History = helmv2.Snapshots{{Digest: digest}}
		engine.Set(obj, meta.ReadyCondition, ready, "Any", "")

		return obj
	}

	first := release(metav1.ConditionTrue, "a", 1)

	for name, tc := range map[string]struct {
		before, after *helmv2.HelmRelease
		want          bool
	}{
		"BecomesReady":   {release(metav1.ConditionUnknown, "a", 1), first, true},
		"AnotherRelease": {first, release(metav1.ConditionTrue, "b", 1), true},
		"AnotherSpec":    {first, release(metav1.ConditionTrue, "a", 2), true},
		"Nothing":        {first, release(metav1.ConditionTrue, "a", 1), false},
		"StillFails":     {first, release(metav1.ConditionFalse, "b", 2), false},
		"NoHistory":      {&helmv2.HelmRelease{}, first, true},
	} {
		if got := released(tc.before, tc.after); got != tc.want {
			t.Errorf("%s: got %v, want %v", name, got, tc.want)
		}
	}
}

func TestUsable(t *testing.T) {
	source := func(ready metav1.ConditionStatus, revision string, generation int64) *sourcev1.OCIRepository {
		obj := &sourcev1.OCIRepository{}
		obj.Status.ObservedGeneration = generation
		obj.Status.Artifact = &meta.Artifact{Revision: revision, Digest: revision}
		engine.Set(obj, meta.ReadyCondition, ready, "Any", "")

		return obj
	}

	first := source(metav1.ConditionTrue, "1", 1)

	for name, tc := range map[string]struct {
		reason        string
		before, after *sourcev1.OCIRepository
		want          bool
	}{
		"NewArtifact":  {"There is something else to release.", first, source(metav1.ConditionTrue, "2", 1), true},
		"LookedAgain":  {"Its spec has changed and its artifact has not: until now it could not be used.", first, source(metav1.ConditionTrue, "1", 2), true},
		"Recovered":    {"It may have been stalled.", source(metav1.ConditionFalse, "1", 1), first, true},
		"StillFailing": {"Nothing has changed for the better.", first, source(metav1.ConditionFalse, "1", 2), false},
		"Nothing":      {"An interval has passed.", first, source(metav1.ConditionTrue, "1", 1), false},
	} {
		if got := usable(tc.before, tc.after); got != tc.want {
			t.Errorf("%s: %s got %v, want %v", name, tc.reason, got, tc.want)
		}
	}
}
