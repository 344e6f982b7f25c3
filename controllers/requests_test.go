package controllers

import (
	"net/http"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/labels"
)

func TestDescribe(t *testing.T) {
	const apply = "application/apply-patch+yaml"

	for name, tc := range map[string]struct {
		method, path, contentType string
		want                      [2]string
	}{
		"Discovery":     {http.MethodGet, "/apis", "", [2]string{"get", "/apis"}},
		"Group":         {http.MethodGet, "/apis/apps/v1", "", [2]string{"get", "/apis/apps/v1"}},
		"Health":        {http.MethodGet, "/livez/ping", "", [2]string{"get", "/livez/ping"}},
		"Prefix":        {http.MethodGet, "/k8s/clusters/c-1/api/v1/namespaces/api/configmaps/apis", "", [2]string{"get", "configmaps"}},
		"PrefixGroup":   {http.MethodGet, "/k8s/clusters/c-1/apis/apps/v1", "", [2]string{"get", "/apis/apps/v1"}},
		"Get":           {http.MethodGet, "/api/v1/namespaces/ns/configmaps/c", "", [2]string{"get", "configmaps"}},
		"List":          {http.MethodGet, "/api/v1/configmaps", "", [2]string{"list", "configmaps"}},
		"ListIn":        {http.MethodGet, "/apis/apps/v1/namespaces/ns/deployments", "", [2]string{"list", "deployments"}},
		"Watch":         {http.MethodGet, "/apis/apps/v1/deployments?watch=true", "", [2]string{"watch", "deployments"}},
		"Namespace":     {http.MethodGet, "/api/v1/namespaces/ns", "", [2]string{"get", "namespaces"}},
		"NamespaceSub":  {http.MethodPatch, "/api/v1/namespaces/ns/status", "", [2]string{"patch", "namespaces/status"}},
		"Status":        {http.MethodPatch, "/apis/apps/v1/namespaces/ns/deployments/d/status", "", [2]string{"patch", "deployments/status"}},
		"Apply":         {http.MethodPatch, "/api/v1/namespaces/ns/configmaps/c?force=true", apply, [2]string{"apply", "configmaps"}},
		"DryRun":        {http.MethodPatch, "/api/v1/namespaces/ns/configmaps/c?dryRun=All", apply, [2]string{"dryrun", "configmaps"}},
		"Create":        {http.MethodPost, "/apis/events.k8s.io/v1/namespaces/ns/events", "", [2]string{"create", "events"}},
		"Update":        {http.MethodPut, "/apis/coordination.k8s.io/v1/namespaces/ns/leases/l", "", [2]string{"update", "leases"}},
		"Delete":        {http.MethodDelete, "/api/v1/namespaces/ns", "", [2]string{"delete", "namespaces"}},
		"DeleteMany":    {http.MethodDelete, "/api/v1/namespaces/ns/pods", "", [2]string{"deletecollection", "pods"}},
		"ClusterScoped": {http.MethodGet, "/apis/rbac.authorization.k8s.io/v1/clusterroles/admin", "", [2]string{"get", "clusterroles"}},
	} {
		t.Run(name, func(t *testing.T) {
			req, err := http.NewRequestWithContext(t.Context(), tc.method, "https://cluster"+tc.path, nil)
			if err != nil {
				t.Fatal(err)
			}

			req.Header.Set("Content-Type", tc.contentType)

			verb, resource := describe(req)
			if diff := cmp.Diff(tc.want, [2]string{verb, resource}); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestSelect(t *testing.T) {
	for name, tc := range map[string]struct {
		names []string
		want  []string
		lease string
		err   string
	}{
		"One":   {[]string{"source-controller"}, []string{"source-controller"}, "source-controller-leader-election", ""},
		"Short": {[]string{"source", " kustomize"}, []string{"source-controller", "kustomize-controller"}, "weir-leader-election", ""},
		"Twice": {[]string{"source", "source-controller"}, []string{"source-controller"}, "source-controller-leader-election", ""},
		"Unknown": {[]string{"sauce"}, nil, "", `unknown controller "sauce": want all or some of flux-operator, source-controller, ` +
			`kustomize-controller, helm-controller, notification-controller, image-reflector-controller, image-automation-controller, source-watcher`},
		"None": {nil, nil, "", `no controllers: want all or some of flux-operator, source-controller, kustomize-controller, ` +
			`helm-controller, notification-controller, image-reflector-controller, image-automation-controller, source-watcher`},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := Select(tc.names)
			if message := errorString(err); message != tc.err {
				t.Fatalf("error: got %q, want %q", message, tc.err)
			}

			if err != nil {
				return
			}

			if diff := cmp.Diff(tc.want, componentNames(got)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}

			if lease := LeaseName(got); lease != tc.lease {
				t.Errorf("lease: got %q, want %q", lease, tc.lease)
			}
		})
	}
}

func errorString(err error) string {
	if err == nil {
		return ""
	}

	return err.Error()
}

// TestLeaseOfShards holds that shards have leases of their own, under the names that they have with Flux.
func TestLeaseOfShards(t *testing.T) {
	for text, want := range map[string]string{
		"":                              "kustomize-controller-leader-election",
		"sharding.fluxcd.io/key=shard1": "kustomize-controller-leader-election-73fdc1be",
		"!sharding.fluxcd.io/key":       "kustomize-controller-leader-election-42da7484",
	} {
		components, err := Select([]string{"kustomize-controller"})
		if err != nil {
			t.Fatal(err)
		}

		selector, err := labels.Parse(text)
		if err != nil {
			t.Fatal(err)
		}

		if got := (Options{Components: components, WatchLabelSelector: selector}).leaseName(); got != want {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
}
