package kustomize_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	kustomizev1 "github.com/weir-dev/weir/api/kustomize/v1"
	"github.com/weir-dev/weir/api/meta"
	sourcev1 "github.com/weir-dev/weir/api/source/v1"
	"github.com/weir-dev/weir/reconcilers/engine"
	"github.com/weir-dev/weir/reconcilers/kustomize"
)

// TestContractFailures holds the words of each failure: in Ready, in Reconciling, and in the one event that tells of it.
func TestContractFailures(t *testing.T) {
	object := func(apiVersion, kind, name, rest string) string {
		return "apiVersion: " + apiVersion + "\nkind: " + kind + "\nmetadata: {name: " + name + ", namespace: NS}\n" + rest
	}

	const from = "\n%s is from \"a.yaml\""

	cases := map[string]struct {
		reason string
		file   string
		spec   func(*kustomizev1.KustomizationSpec)
		why    string
		want   string
	}{
		"NoObject": {
			reason: "What is no object has no place beside objects.", file: "replicas: 1\n",
			why: "BuildFailed", want: "failed to decode Kubernetes YAML from a.yaml: an object has no kind",
		},
		"NoYAML": {
			reason: "Nor has what is no YAML.", file: "a: b: c\n",
			why: "BuildFailed", want: "failed to decode Kubernetes YAML from a.yaml: yaml: mapping values are not allowed in this context",
		},
		"NoTarget": {
			reason: "A patch whose object is not there is an error.", file: configMap("a", "1"),
			spec: func(s *kustomizev1.KustomizationSpec) {
				s.Patches = []meta.Patch{{Patch: object("v1", "ConfigMap", "b", "")}}
			},
			why:  "BuildFailed",
			want: "kustomize build failed: no resource matches strategic merge patch \"ConfigMap.v1.[noGrp]/b.NS\": no matches for Id ConfigMap.v1.[noGrp]/b.NS; failed to find unique target for patch ConfigMap.v1.[noGrp]/b.NS",
		},
		"NoComponent": {
			reason: "A component that is not there is one, unless those are ignored.", file: configMap("a", "1"),
			spec: func(s *kustomizev1.KustomizationSpec) { s.Components = []string{"none"} },
			why:  "BuildFailed", want: "kustomize build failed: accumulating components: loader.New " +
				`"must build at directory: not a valid directory: stat none: no such file or directory"`,
		},
		"NoKind": {
			reason: "A kind has to be served.", file: object("example.org/v1", "Nothing", "a", ""),
			why: "ReconciliationFailed", want: `Nothing/NS/a dry-run failed: no matches for kind "Nothing" in version "example.org/v1"` +
				strings.Replace(from, "%s", "Nothing/NS/a", 1),
		},
		"NoNamespace": {
			reason: "A namespace is not made up.", file: "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n",
			why: "ReconciliationFailed", want: "ConfigMap/a namespace not specified: the server could not find the requested resource" +
				strings.Replace(from, "%s", "ConfigMap/a", 1),
		},
		"NamespaceMissing": {
			reason: "Nor made.", file: strings.Replace(configMap("a", "1"), "namespace: NS", "namespace: NS-none", 1),
			why: "ReconciliationFailed", want: `ConfigMap/NS-none/a not found: namespaces "NS-none" not found` +
				strings.Replace(from, "%s", "ConfigMap/NS-none/a", 1),
		},
		"Invalid": {
			reason: "What the API server finds invalid is told in its words.",
			file:   object("v1", "Service", "a", "spec: {ports: [{port: 0}]}\n"),
			why:    "ReconciliationFailed",
			want: `Service/NS/a dry-run failed (Invalid): Service "a" is invalid: [spec.ports[0].port: Invalid value: 0: must be between 1 and 65535, inclusive, ` +
				`spec.ports[0].targetPort: Invalid value: 0: must be between 1 and 65535, inclusive]` + strings.Replace(from, "%s", "Service/NS/a", 1),
		},
		"UnknownField": {
			reason: "A field that nobody knows is a mistake.", file: object("v1", "ConfigMap", "a", "dota: {}\n"),
			why: "ReconciliationFailed",
			want: "ConfigMap/NS/a dry-run failed: failed to create typed patch object (NS/a; /v1, Kind=ConfigMap): .dota: field not declared in schema" +
				strings.Replace(from, "%s", "ConfigMap/NS/a", 1),
		},
		"Encrypted": {
			reason: "An encrypted Secret is not applied as rubbish.",
			file:   object("v1", "Secret", "s", "stringData: {k: 'ENC[AES256_GCM,data:x]'}\nsops: {mac: x}\n"),
			why:    "ReconciliationFailed",
			want:   "Secret/NS/s is SOPS encrypted, configuring decryption is required for this secret to be reconciled",
		},
	}

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			e := newEnv(t)
			e.publish("repo", "main@sha1:1", map[string]string{"a.yaml": tc.file})
			e.kustomization("app", func(s *kustomizev1.KustomizationSpec) {
				s.RetryInterval = &metav1.Duration{Duration: 3 * time.Minute}

				if tc.spec != nil {
					tc.spec(s)
				}

				for i := range s.Patches {
					s.Patches[i].Patch = strings.ReplaceAll(s.Patches[i].Patch, "NS", e.namespace)
				}
			})

			obj, after := e.once("app")
			wantConditions(t, obj, map[string]string{
				"Ready": "False " + tc.why + ": " + tc.want, "Reconciling": "True ProgressingWithRetry: " + tc.want,
			})
			e.wantEvents("Warning " + tc.why + " : " + tc.want)

			if after != 3*time.Minute || obj.Status.ObservedGeneration != -1 {
				t.Errorf("%s\nnext run in %s, generation %d", tc.reason, after, obj.Status.ObservedGeneration)
			}

			if e.once("app"); len(e.told()) > 0 {
				t.Errorf("%s\nthe same failure again is told again", tc.reason)
			}
		})
	}
}

// TestContractSources holds what is said of each way in which an artifact is not there.
func TestContractSources(t *testing.T) {
	cases := map[string]struct {
		reason string
		deps   func(*kustomize.Deps)
		spec   func(*kustomizev1.KustomizationSpec)
		lose   func(e *env)
		want   string
		after  time.Duration
	}{
		"NoSource": {
			reason: "It is looked for again after the retry interval.",
			spec:   func(s *kustomizev1.KustomizationSpec) { s.SourceRef.Name = "none" },
			want:   "False ArtifactFailed: Source 'GitRepository/NS/none' not found", after: 3 * time.Minute,
		},
		"NoArtifact": {
			reason: "It may come at any time.",
			lose: func(e *env) {
				source := &sourcev1.GitRepository{}
				e.fetch(source, "repo")
				before := source.DeepCopy()
				source.Status.Artifact = nil
				must(e.t, e.c.Status().Patch(e.t.Context(), source, client.MergeFrom(before)))
			},
			want: "False ArtifactFailed: Source artifact not found, retrying in 30s", after: 30 * time.Second,
		},
		"Sooner": {
			reason: "--requeue-dependency says how soon.",
			deps:   func(d *kustomize.Deps) { d.RequeueDependency = 5 * time.Second },
			spec:   func(s *kustomizev1.KustomizationSpec) { s.DependsOn = []meta.DependencyReference{{Name: "base"}} },
			want:   `False DependencyNotReady: dependency 'NS/base' not found: kustomizations.kustomize.toolkit.fluxcd.io "base" not found`,
			after:  5 * time.Second,
		},
		"OtherNamespace": {
			reason: "A reference that is forbidden is not tried again.",
			deps:   func(d *kustomize.Deps) { d.NoCrossNamespaceRefs = true },
			spec: func(s *kustomizev1.KustomizationSpec) {
				s.DependsOn = []meta.DependencyReference{{Name: "base", Namespace: "default"}}
			},
			want: "False AccessDenied: can't access 'Kustomization/default/base', cross-namespace references have been blocked",
		},
	}

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			e := newEnv(t, func(d *kustomize.Deps) {
				if tc.deps != nil {
					tc.deps(d)
				}
			})
			e.publish("repo", "main@sha1:1", map[string]string{"a.yaml": configMap("a", "1")})
			e.kustomization("app", func(s *kustomizev1.KustomizationSpec) {
				s.RetryInterval = &metav1.Duration{Duration: 3 * time.Minute}

				if tc.spec != nil {
					tc.spec(s)
				}
			})

			if tc.lose != nil {
				tc.lose(e)
			}

			obj, after := e.once("app")
			if got := says(obj, meta.ReadyCondition); got != tc.want || after != tc.after {
				t.Errorf("%s\nReady is %q, want %q; next run in %s, want %s", tc.reason, got, tc.want, after, tc.after)
			}

			if stalled := engine.IsTrue(obj, meta.StalledCondition); stalled != (tc.after == 0) || engine.IsTrue(obj, meta.ReconcilingCondition) {
				t.Errorf("%s\nconditions: %q", tc.reason, status(obj))
			}

			if obj.Status.LastAttemptedRevision != "" || len(obj.Status.History) > 0 {
				t.Errorf("%s\nstatus is %+v", tc.reason, obj.Status)
			}
		})
	}
}

// TestContractFailFast holds when a health check gives up though some objects may still become healthy.
func TestContractFailFast(t *testing.T) {
	for name, tc := range map[string]struct {
		reason  string
		patient bool
		want    string
	}{
		"Fast": {
			"One that has failed is enough.", false,
			"False HealthCheckFailed: health check failed after D: failed early due to stalled resources: [Deployment/NS/bad status: 'Failed']",
		},
		"Patient": {
			"With the gate DisableFailFastBehavior the others are waited for.", true, "Unknown Progressing: Reconciliation in progress",
		},
	} {
		t.Run(name, func(t *testing.T) {
			e := newEnv(t, func(d *kustomize.Deps) { d.NoFailFast = tc.patient })
			e.publish("repo", "main@sha1:1", map[string]string{"bad.yaml": deployment("bad", "a:1"), "slow.yaml": deployment("slow", "a:1")})
			e.kustomization("app", func(s *kustomizev1.KustomizationSpec) {
				s.Wait = true
				s.Timeout = &metav1.Duration{Duration: time.Minute}
			})
			e.once("app")
			e.rollOut("bad", stuck())
			e.eventually("the failure is seen", func() error {
				obj, _ := e.once("app")

				return wants("Ready", says(obj, meta.ReadyCondition), tc.want)
			})

			if !tc.patient {
				return
			}

			e.calm()
			e.rollOut("slow", nil)
			e.awaken("app", "all are current or have failed")

			obj, _ := e.once("app")
			if diff := cmp.Diff("False HealthCheckFailed: health check failed after D: failed early due to stalled resources: "+
				"[Deployment/NS/bad status: 'Failed']", says(obj, meta.ReadyCondition)); diff != "" {
				t.Errorf("%s\n-want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}
