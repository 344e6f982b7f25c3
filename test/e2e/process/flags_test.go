package process

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/weir-dev/weir/test/e2e/platform"
)

// tenant may write ConfigMaps.
const tenant = `apiVersion: v1
kind: ServiceAccount
metadata: {name: team, namespace: NS}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: team, namespace: NS}
rules:
- {apiGroups: [""], resources: [configmaps], verbs: ["*"]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: team, namespace: NS}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: team}
subjects: [{kind: ServiceAccount, name: team, namespace: NS}]
---
apiVersion: v1
kind: ConfigMap
metadata: {name: watched, namespace: NS, labels: {team: a}}
data: {VALUE: before}
`

// TestFlags holds that what the command line says about Kustomizations reaches them.
func TestFlags(t *testing.T) {
	s := newStage(t, "--no-cross-namespace-refs", "--default-service-account=nobody", "--requeue-dependency=7s", "--concurrent-ssa=1",
		"--watch-configs-label-selector=team=a", "--interval-jitter-percentage=0", "--custom-apply-stage-kinds=/ConfigMap",
		"--feature-gates=ExternalArtifact=false,StrictPostBuildSubstitutions=false", "--feature-gates=NoSuchGate=true")
	ns := s.namespace(t, "flags")
	objects := must(platform.Decode([]byte(strings.ReplaceAll(tenant, "NS", ns))))(t)
	manifest := strings.Replace(good, "half: applied", "half: <${VALUE}>", 1)
	repo, revision := s.repository(t, "flags", files("a.yaml", strings.ReplaceAll(manifest, "good", "${NAME}")))

	empty := s.source(ns, "empty", s.git.URL(repo))
	empty.Object["spec"].(map[string]any)["suspend"] = true //nolint:forcetypeassert // made above

	variables := func(name string, more map[string]any) map[string]any {
		post := map[string]any{"substitute": map[string]any{"NAME": name}}
		maps.Copy(post, more)

		return map[string]any{"serviceAccountName": "team", "postBuild": post}
	}
	from := func(kind, namespace, name string) map[string]any {
		return map[string]any{"sourceRef": map[string]any{"kind": kind, "namespace": namespace, "name": name}}
	}

	cases := map[string]struct {
		reason string
		spec   map[string]any
		want   string // the beginning of Ready
	}{
		"crosses": {
			"References to other namespaces are refused.", from("GitRepository", "default", "fleet"),
			"False AccessDenied: can't access 'GitRepository/default/fleet', cross-namespace references have been blocked",
		},
		"external": {
			"ExternalArtifacts are, too.", from("ExternalArtifact", ns, "none"),
			"False AccessDenied: can't access 'ExternalArtifact/" + ns + "/none', ExternalArtifact feature gate is disabled",
		},
		"anybody": {
			"Who names no account has the one of the flag.", nil,
			fmt.Sprintf("False ReconciliationFailed: ConfigMap/%s/${NAME} dry-run failed (Forbidden): "+
				`configmaps "${NAME}" is forbidden: User "system:serviceaccount:%[1]s:nobody" cannot patch`, ns),
		},
		"early": {
			"What is missing is looked for as often as the flag says.", from("GitRepository", ns, "empty"),
			"False ArtifactFailed: Source artifact not found, retrying in 7s",
		},
		"lenient": {
			"Variables that are not set are empty.", variables("lenient", nil), "True ReconciliationSucceeded: Applied revision: " + revision,
		},
		"follower": {
			"Objects with the label of the flag are watched.",
			variables("follower", map[string]any{"substituteFrom": []any{map[string]any{"kind": "ConfigMap", "name": "watched"}}}),
			"True ReconciliationSucceeded: Applied revision: " + revision,
		},
	}

	objects = append(objects, s.source(ns, "fleet", s.git.URL(repo)), empty)
	for name, tc := range cases {
		objects = append(objects, s.delivery(ns, name, "fleet", "", tc.spec))
	}

	s.apply(t, objects...)

	for name, tc := range cases {
		s.await(t, tc.reason, func(now platform.Snapshot) error {
			return says(now.Get(platform.Kustomization(), ns, name), tc.want)
		})
	}

	value := func(name, want string) func(platform.Snapshot) error {
		return func(now platform.Snapshot) error {
			o := now.Get(platform.Core("ConfigMap"), ns, name)
			if o == nil {
				return errors.New("the object is not there")
			}

			if got := platform.Text(o, "data", "half"); got != want {
				return fmt.Errorf("the object has %q, not %q", got, want)
			}

			return nil
		}
	}

	s.await(t, "what is not set is empty", value("lenient", "<>"))
	s.await(t, "the variable is there", value("follower", "<before>"))
	must(s.client.Edit(deadline(t, patience), platform.Core("ConfigMap"), ns, "watched", `{"data":{"VALUE":"after"}}`))(t)
	s.await(t, "the variable is followed", value("follower", "<after>"))
	s.metrics(t, ns)
}

// says compares the beginning of Ready.
func says(o *unstructured.Unstructured, want string) error {
	if o == nil {
		return errors.New("the object is not there")
	}

	status, reason, message := platform.Condition(o, "Ready")
	if got := status + " " + reason + ": " + message; !strings.HasPrefix(got, want) {
		return fmt.Errorf("%s: Ready is %q, want %q", platform.Name(o), got, want)
	}

	return nil
}

// metrics holds the names and labels of the series that dashboards read.
func (s *stage) metrics(t *testing.T, namespace string) {
	t.Helper()

	text := s.scrape(t)
	of := `kind="Kustomization",name="lenient",namespace="` + namespace + `"`

	for _, series := range []string{
		"gotk_reconcile_duration_seconds_bucket{" + of + `,le="0.01"} `,
		"gotk_reconcile_duration_seconds_count{" + of + "} ",
		`controller_runtime_reconcile_total{controller="kustomization",result="success"} `,
		`controller_runtime_max_concurrent_reconciles{controller="kustomization"} `,
		`workqueue_depth{controller="kustomization",name="kustomization"`,
		"gotk_token_cache_evictions_total ", "gotk_token_cached_items ", "go_goroutines ", "rest_client_requests_total{",
	} {
		if !strings.Contains(text, "\n"+series) {
			t.Errorf("no series %s", series)
		}
	}

	if n := strings.Count(text, "gotk_reconcile_duration_seconds_bucket{"+of); n != 11 { // ten, and infinity
		t.Errorf("%d buckets", n)
	}

	o := platform.Object(platform.Kustomization(), namespace, "lenient")
	if err := s.client.Delete(deadline(t, patience), o); err != nil {
		t.Fatal(err)
	}

	s.await(t, "the object is gone", func(now platform.Snapshot) error {
		if now.Get(platform.Kustomization(), namespace, "lenient") != nil {
			return errors.New("it is still there")
		}

		if strings.Contains(s.scrape(t), of) {
			defer s.view.Nudge() // nobody tells when a series goes

			return errors.New("its series are still there")
		}

		return nil
	})
}

// scrape returns all series.
func (s *stage) scrape(t *testing.T) string {
	t.Helper()

	address := ""

	for _, arg := range s.manager.Arguments() {
		if at, ok := strings.CutPrefix(arg, "--metrics-addr="); ok {
			address = at
		}
	}

	req := must(http.NewRequestWithContext(deadline(t, patience), http.MethodGet, "http://"+address+"/metrics", nil))(t)

	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close() //nolint:errcheck // nothing was written

	return string(must(io.ReadAll(resp.Body))(t))
}

// TestOneNamespace holds that a manager can be confined to its own namespace.
func TestOneNamespace(t *testing.T) {
	s := newStageOn(t, shared.Start(t), "--controllers=source-controller,kustomize-controller", "--watch-all-namespaces=false",
		"--watch-label-selector="+setLabel+"="+setOf(t))
	s.apply(t, must(platform.Definitions())(t)...)
	s.track(t)

	own, other := s.namespace(t, "own"), s.namespace(t, "other")
	t.Setenv("RUNTIME_NAMESPACE", own)
	s.start(t)

	repo, revision := s.repository(t, "own", files("a.yaml", good))

	for _, ns := range []string{other, own} { // the other one first
		s.apply(t, s.source(ns, "fleet", s.git.URL(repo)), s.delivery(ns, "fleet", "fleet", "", nil))
	}

	s.await(t, "the own one is delivered", platform.Delivered(revision, [2]string{own, "fleet"}))

	for _, kind := range []schema.GroupVersionKind{platform.GitRepository(), platform.Kustomization()} {
		if o := s.view.Now().Get(kind, other, "fleet"); len(o.GetFinalizers()) > 0 || platform.Text(o, "status", "conditions") != "" {
			t.Errorf("%s was looked at: %v", platform.Name(o), o.Object["status"])
		}
	}
}
