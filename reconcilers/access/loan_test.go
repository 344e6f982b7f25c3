package access_test

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/cli-runtime/pkg/resource"
	"k8s.io/client-go/dynamic"

	"github.com/weir-dev/weir/reconcilers/access"
)

// TestLoan uses a loan as a library does.
func TestLoan(t *testing.T) {
	var identities atomic.Value
	identities.Store("")
	f := newFactory(t, access.Options{Transport: func(next http.RoundTripper) http.RoundTripper {
		return roundTripper(func(req *http.Request) (*http.Response, error) {
			identities.Store(req.Header.Get("Impersonate-User"))
			return next.RoundTrip(req)
		})
	}})
	ref := configMap("lent")
	if _, err := f.Own().Apply(t.Context(), ref, body("lent", "value"), access.ApplyOptions{Manager: "tester"}); err != nil {
		t.Fatal(err)
	}
	why := errors.New("the action has ended")
	ctx, end := context.WithCancelCause(t.Context())
	library := func(c *access.Client) dynamic.ResourceInterface {
		config, err := c.Lend(ctx).ToRESTConfig()
		if err != nil {
			t.Fatal(err)
		}
		d, err := dynamic.NewForConfig(config)
		if err != nil {
			t.Fatal(err)
		}
		return d.Resource(schema.GroupVersionResource{Version: "v1", Resource: "configmaps"}).Namespace(ref.Namespace)
	}
	own := library(f.Own())
	got, err := own.Get(t.Context(), "lent", metav1.GetOptions{})
	if err != nil || got.GetName() != "lent" {
		t.Fatalf("read: got %v, %v", got, err)
	}
	if _, err := own.Get(t.Context(), "none", metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("what is not there: got %v", err)
	}
	if err := own.Delete(t.Context(), "lent", metav1.DeleteOptions{}); err == nil || !strings.Contains(err.Error(), "only reads") {
		t.Errorf("a loan that deletes: got %v", err)
	}
	if _, err := own.Watch(t.Context(), metav1.ListOptions{}); err == nil {
		t.Error("a loan that watches")
	}
	account, err := f.As("default", "nobody")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := library(account).Get(t.Context(), "lent", metav1.GetOptions{}); !apierrors.IsForbidden(err) {
		t.Errorf("an account without rights: got %v", err)
	}
	if got := identities.Load(); got != "system:serviceaccount:default:nobody" {
		t.Errorf("the request acted as %q", got)
	}
	end(why)
	if _, err := own.Get(t.Context(), "lent", metav1.GetOptions{}); !errors.Is(err, why) {
		t.Errorf("a loan that outlives its action: %v", err)
	}
}

// TestServed tells all who ask what there is, once.
func TestServed(t *testing.T) {
	var requests atomic.Int64
	f := newFactory(t, access.Options{Transport: func(next http.RoundTripper) http.RoundTripper {
		return roundTripper(func(req *http.Request) (*http.Response, error) {
			requests.Add(1)
			return next.RoundTrip(req)
		})
	}})
	first, err := f.Own().Served(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"v1", "v1/Pod", "apps/v1", "apps/v1/Deployment"} {
		if !slices.Contains(first.Kinds, want) {
			t.Errorf("want %q among what is served", want)
		}
	}
	if first.Version.Major != "1" {
		t.Errorf("the version: got %+v", first.Version)
	}
	f.Learn(&unstructured.Unstructured{Object: map[string]any{"spec": map[string]any{
		"group": "learnt.example", "scope": "Namespaced", "names": map[string]any{"kind": "Learnt", "plural": "learnts"},
		"versions": []any{map[string]any{"name": "v1", "served": true}},
	}}})
	before := requests.Load()
	if _, err := f.Own().Served(t.Context()); err != nil || requests.Load() == before {
		t.Errorf("what has changed is asked for again: %v", err)
	}
	before = requests.Load()
	account, err := f.As("default", "nobody")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := account.Served(t.Context()); err != nil || requests.Load() != before {
		t.Errorf("what is known is not asked for again: %v", err)
	}
	for kind, want := range map[string]bool{"apps/v1/Deployment": true, "apps/v1/Scale": false, "apps/v9/Deployment": false, "gone.example/v1/Gone": false, "/v1/Pod": true} {
		part := strings.Split(kind, "/")
		got, err := f.Own().Serves(t.Context(), schema.GroupVersionKind{Group: part[0], Version: part[1], Kind: part[2]})
		if err != nil || got != want {
			t.Errorf("whether %s is served: got %v, %v", kind, got, err)
		}
	}
}

// TestReplace puts an object in the place of another.
func TestReplace(t *testing.T) {
	c := newFactory(t, access.Options{}).Own()
	ref := configMap("replaced")
	if _, err := c.Apply(t.Context(), ref, body("replaced", "old"), access.ApplyOptions{Manager: "tester"}); err != nil {
		t.Fatal(err)
	}
	obj, err := c.Get(t.Context(), ref)
	if err != nil {
		t.Fatal(err)
	}
	obj.SetManagedFields(nil)
	delete(obj.Object, "data")
	if _, err := c.Replace(t.Context(), obj, "other"); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Replace(t.Context(), obj, "other"); !apierrors.IsConflict(err) {
		t.Errorf("a version that is not there any more: got %v", err)
	}
	if obj, err = c.Get(t.Context(), ref); err != nil || obj.Object["data"] != nil {
		t.Errorf("what was there before: got %v, %v", obj, err)
	}
	if _, err := c.Logs(t.Context(), ref.Namespace, "none", "none", 1, 1); !apierrors.IsNotFound(err) {
		t.Errorf("the log of a pod that is not there: got %v", err)
	}
}

// TestNothing has no objects, and asks nobody.
func TestNothing(t *testing.T) {
	loan := (&access.Client{}).Lend(t.Context())

	c, err := loan.Nothing(schema.GroupVersion{Version: "v1"}, resource.UnstructuredPlusDefaultContentConfig())
	if err != nil {
		t.Fatal(err)
	}

	if err := c.Get().Namespace("any").Resource("pods").Name("any").Do(t.Context()).Error(); !apierrors.IsNotFound(err) {
		t.Errorf("got %v", err)
	}

	if err := c.Delete().Namespace("any").Resource("pods").Name("any").Do(t.Context()).Error(); err == nil {
		t.Error("it can be changed")
	}
}
