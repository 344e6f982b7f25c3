package kustomize

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	kustomizev1 "github.com/weir-dev/weir/api/kustomize/v1"
	"github.com/weir-dev/weir/api/meta"
	sourcev1 "github.com/weir-dev/weir/api/source/v1"
	"github.com/weir-dev/weir/reconcilers/engine"
	"github.com/weir-dev/weir/reconcilers/engine/enginetest"
)

func notFound(resource, name string) error {
	return apierrors.NewNotFound(schema.GroupResource{Resource: resource}, name)
}

// configs are ConfigMaps and Secrets by namespace/name. Others are not found.
type configs map[string]map[string]string

func (c configs) ConfigMap(_ context.Context, namespace, name string) (*corev1.ConfigMap, error) {
	if data, ok := c["ConfigMap/"+namespace+"/"+name]; ok {
		return &corev1.ConfigMap{Data: data}, nil
	}

	return nil, notFound("configmaps", name)
}

func (c configs) Secret(_ context.Context, namespace, name string) (*corev1.Secret, error) {
	if data, ok := c["Secret/"+namespace+"/"+name]; ok {
		s := &corev1.Secret{Data: map[string][]byte{}}
		for k, v := range data {
			s.Data[k] = []byte(v)
		}

		return s, nil
	}

	return nil, notFound("secrets", name)
}

// repository is a source with an artifact of the revision, or with none.
func repository(revision string) *sourcev1.GitRepository {
	r := &sourcev1.GitRepository{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "repo", UID: "u"}}
	if revision != "" {
		r.Status.Artifact = &meta.Artifact{Revision: revision, Digest: "sha256:0"}
	}

	return r
}

// TestBlocked holds what a Kustomization says that cannot get as far as a build.
func TestBlocked(t *testing.T) {
	source := func(s Source, err error) SourceFunc {
		return func(_ context.Context, kind string, key types.NamespacedName) (Source, error) {
			if kind != "GitRepository" {
				t.Errorf("asked for a %s %s", kind, key)
			}

			return s, err
		}
	}
	found := source(repository("main@sha1:1"), nil)
	dependency := func(change func(*kustomizev1.Kustomization)) DependencyFunc {
		return func(_ context.Context, key types.NamespacedName) (*kustomizev1.Kustomization, error) {
			if key.Name == "missing" {
				return nil, notFound("kustomizations", key.Name)
			}

			return built(func(k *kustomizev1.Kustomization) {
				k.Namespace, k.Name = key.Namespace, key.Name
				if change != nil {
					change(k)
				}
			}), nil
		}
	}
	on := func(refs ...meta.DependencyReference) func(*kustomizev1.Kustomization) {
		return func(k *kustomizev1.Kustomization) { k.Spec.DependsOn = refs }
	}
	from := func(refs ...kustomizev1.SubstituteReference) func(*kustomizev1.Kustomization) {
		return func(k *kustomizev1.Kustomization) {
			k.Spec.PostBuild = &kustomizev1.PostBuild{SubstituteFrom: refs}
		}
	}

	type want struct {
		reason, message string
		stalled         bool
		reconciling     bool
		after           time.Duration
		event           string
	}

	cases := map[string]struct {
		reason string
		deps   Deps
		change func(*kustomizev1.Kustomization)
		want   want
	}{
		"SourceMissing": {
			reason: "A source that is not there may come.",
			deps:   Deps{Sources: source(nil, notFound("gitrepositories", "repo"))},
			want: want{
				reason: "ArtifactFailed", message: "Source 'GitRepository/ns/repo' not found", after: 2 * time.Minute,
				event: "Normal ArtifactFailed Source 'GitRepository/ns/repo' not found",
			},
		},
		"SourceUnreadable": {
			reason: "An error of the API server is tried again.",
			deps:   Deps{Sources: source(nil, errors.New("no way"))},
			want: want{
				reason: "ArtifactFailed", message: "get source 'GitRepository/ns/repo': no way", reconciling: true, after: 2 * time.Minute,
				event: "Warning ArtifactFailed get source 'GitRepository/ns/repo': no way",
			},
		},
		"ArtifactMissing": {
			reason: "A source without an artifact may get one.",
			deps:   Deps{Sources: source(repository(""), nil)},
			want: want{
				reason: "ArtifactFailed", message: "Source artifact not found, retrying in 30s", after: 30 * time.Second,
				event: "Normal ArtifactFailed Source artifact not found, retrying in 30s",
			},
		},
		"CrossNamespaceSource": {
			reason: "A source in another namespace can be forbidden.",
			deps:   Deps{Sources: found, NoCrossNamespaceRefs: true},
			change: func(k *kustomizev1.Kustomization) { k.Spec.SourceRef.Namespace = "other" },
			want: want{
				reason: "AccessDenied", stalled: true,
				message: "can't access 'GitRepository/other/repo', cross-namespace references have been blocked",
				event:   "Warning AccessDenied can't access 'GitRepository/other/repo', cross-namespace references have been blocked",
			},
		},
		"CrossNamespaceDependency": {
			reason: "So can a dependency.",
			deps:   Deps{Sources: found, Dependencies: dependency(nil), NoCrossNamespaceRefs: true},
			change: on(meta.DependencyReference{Name: "a", Namespace: "other"}),
			want: want{
				reason: "AccessDenied", stalled: true,
				message: "can't access 'Kustomization/other/a', cross-namespace references have been blocked",
				event:   "Warning AccessDenied can't access 'Kustomization/other/a', cross-namespace references have been blocked",
			},
		},
		"DependencyMissing": {
			reason: "A dependency that is not there may come.",
			deps:   Deps{Sources: found, Dependencies: dependency(func(k *kustomizev1.Kustomization) { k.Status.LastAppliedRevision = "main@sha1:1" })},
			change: on(meta.DependencyReference{Name: "a"}, meta.DependencyReference{Name: "missing", Namespace: "other"}),
			want: want{
				reason: "DependencyNotReady", message: `dependency 'other/missing' not found: kustomizations "missing" not found`, after: 30 * time.Second,
				event: "Normal DependencyNotReady Dependencies do not meet ready condition, retrying in 30s",
			},
		},
		"DependencyBehind": {
			reason: "A dependency with the same source has to have the same revision.",
			deps:   Deps{Sources: found, Dependencies: dependency(nil)},
			change: on(meta.DependencyReference{Name: "a"}),
			want: want{
				reason: "DependencyNotReady", message: "dependency 'ns/a' revision is not up to date", after: 30 * time.Second,
				event: "Normal DependencyNotReady Dependencies do not meet ready condition, retrying in 30s",
			},
		},
		"VariablesMissing": {
			reason: "Variables that are not optional have to be there.",
			deps:   Deps{Sources: found, Configs: configs{}},
			change: from(kustomizev1.SubstituteReference{Kind: "Secret", Name: "a", Optional: true}, kustomizev1.SubstituteReference{Kind: "ConfigMap", Name: "b"}),
			want: want{
				reason: "BuildFailed", message: `substitute from 'ConfigMap/b' error: configmaps "b" not found`, reconciling: true, after: 2 * time.Minute,
				event: `Warning BuildFailed substitute from 'ConfigMap/b' error: configmaps "b" not found`,
			},
		},
		"VariableName": {
			reason: "A name has to be one of a variable; a value is never told.",
			deps:   Deps{Sources: found, Configs: configs{"Secret/ns/s": {"a-b": "s3cret"}}},
			change: from(kustomizev1.SubstituteReference{Kind: "Secret", Name: "s"}),
			want: want{
				reason: "BuildFailed", reconciling: true, after: 2 * time.Minute,
				message: `substitute from 'Secret/s' error: 'a-b' var name is invalid, must match '^[_[:alpha:]][_[:alpha:][:digit:]]*$'`,
				event:   `Warning BuildFailed substitute from 'Secret/s' error: 'a-b' var name is invalid, must match '^[_[:alpha:]][_[:alpha:][:digit:]]*$'`,
			},
		},
	}

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			obj := built(func(k *kustomizev1.Kustomization) {
				k.Status = kustomizev1.KustomizationStatus{ObservedGeneration: -1}
				k.Spec.RetryInterval = &metav1.Duration{Duration: 2 * time.Minute}
				k.Spec.Interval = metav1.Duration{Duration: time.Hour}

				if tc.change != nil {
					tc.change(k)
				}
			})

			bench := enginetest.New(t, Kind(tc.deps), enginetest.Options{}, obj)
			first := bench.Run(t, obj)

			is := engine.Condition(first.Object, meta.ReadyCondition)
			if is == nil {
				t.Fatalf("%s\nno Ready condition", tc.reason)
			}

			got := want{
				reason: is.Reason, message: is.Message,
				stalled:     engine.IsTrue(first.Object, meta.StalledCondition),
				reconciling: engine.IsTrue(first.Object, meta.ReconcilingCondition),
				after:       first.Result.RequeueAfter,
			}

			var told []string
			for _, e := range first.Events {
				told = append(told, e.Type+" "+e.Reason+" "+e.Message)
			}

			got.event = strings.Join(told, "\n")
			if diff := cmp.Diff(tc.want, got, cmp.AllowUnexported(want{})); diff != "" {
				t.Errorf("%s\n-want, +got:\n%s", tc.reason, diff)
			}

			// The same thing again is no news.
			if again := bench.Run(t, obj); len(again.Events)+len(again.Patches) > 0 {
				t.Errorf("%s\na second run tells %v and patches %v", tc.reason, again.Events, again.Patches)
			}
		})
	}
}

func TestVariables(t *testing.T) {
	r := &reconciler{Deps: Deps{Configs: configs{
		"ConfigMap/ns/one": {"A": "1", "B": "1", "C": "1"},
		"Secret/ns/two":    {"B": "two\n", "C": "2"},
	}}}
	obj := built(func(k *kustomizev1.Kustomization) {
		k.Spec.PostBuild = &kustomizev1.PostBuild{
			Substitute: map[string]string{"C": "three"},
			SubstituteFrom: []kustomizev1.SubstituteReference{
				{Kind: "ConfigMap", Name: "one"}, {Kind: "Secret", Name: "two"}, {Kind: "Secret", Name: "none", Optional: true},
			},
		}
	})

	s := &scope{memo: &memo{}, artifact: &meta.Artifact{}}
	if err := r.load(t.Context(), obj, s); err != nil {
		t.Fatal(err)
	}

	if got := s.variables.Redact("A=1 B=two C=three"); got != "A=1 B=***** C=three" || s.variables.Len() != 3 {
		t.Errorf("variables %d, %q", s.variables.Len(), got)
	}
}
