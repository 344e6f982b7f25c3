package access_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"

	"github.com/weir-dev/weir/reconcilers/access"
	"github.com/weir-dev/weir/reconcilers/access/accesstest"
	"github.com/weir-dev/weir/test/cluster"
)

var shared cluster.Shared

func TestMain(m *testing.M) { os.Exit(shared.Main(m)) }

func configMap(name string) access.Ref {
	return access.Ref{ID: access.ID{Kind: "ConfigMap", Namespace: "default", Name: name}, Version: "v1"}
}

// body is a ConfigMap as JSON.
func body(name, value string) []byte {
	return fmt.Appendf(nil, `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":%q,"namespace":"default","labels":{"test":%q}},"data":{"key":%q}}`, name, name, value)
}

func newFactory(t *testing.T, o access.Options) *access.Factory {
	t.Helper()
	f, err := access.New(shared.Start(t).Config(), o)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestObjects(t *testing.T) {
	counter := &accesstest.Counter{}
	c := newFactory(t, access.Options{Transport: counter.Transport}).Own()
	ctx, ref := t.Context(), configMap("objects")
	o := access.ApplyOptions{Manager: "tester", Force: true}
	dry := o
	dry.DryRun = true

	m, err := c.Apply(ctx, ref, body("objects", "a"), dry)
	if err != nil || m.ResourceVersion != "" || m.Labels["test"] != "objects" {
		t.Fatalf("a dry run shows what would be created: %v, %v", m, err)
	}
	created, err := c.Apply(ctx, ref, body("objects", "a"), o)
	if err != nil || created.ResourceVersion == "" || len(created.ManagedFields) != 1 {
		t.Fatalf("an apply returns metadata: %v, %v", created, err)
	}
	again, err := c.Apply(ctx, ref, body("objects", "a"), o)
	if err != nil || again.ResourceVersion != created.ResourceVersion {
		t.Errorf("an apply that changes nothing is not stored: %v, %v", again, err)
	}
	u, err := c.Get(ctx, ref)
	if err != nil {
		t.Fatal(err)
	}
	if got, _, _ := unstructured.NestedString(u.Object, "data", "key"); got != "a" || u.GetKind() != "ConfigMap" {
		t.Errorf("got %v", u.Object)
	}
	if m, err = c.Patch(ctx, ref, types.MergePatchType, []byte(`{"data":{"key":"b"}}`), access.PatchOptions{Manager: "other"}); err != nil {
		t.Fatal(err)
	}
	if m.ManagedFields[len(m.ManagedFields)-1].Manager != "other" {
		t.Errorf("the patch is somebody else's: %v", m.ManagedFields)
	}
	if err := c.Delete(ctx, ref, access.DeleteOptions{UID: "other"}); !apierrors.IsConflict(err) {
		t.Errorf("deleting another object: %v", err)
	}
	if err := c.Delete(ctx, ref, access.DeleteOptions{UID: m.UID, Propagation: "Background"}); err != nil {
		t.Error(err)
	}
	if _, err := c.GetMeta(ctx, ref); !apierrors.IsNotFound(err) {
		t.Errorf("reading what is not there: %v", err)
	}
	want := map[string]int{"discover": 2, "dry-run": 1, "apply": 2, "get": 2, "patch": 1, "delete": 2}
	if diff := cmp.Diff(want, counter.Take()); diff != "" {
		t.Errorf("requests (-want +got):\n%s", diff)
	}
}

func TestRefusals(t *testing.T) {
	c := newFactory(t, access.Options{}).Own()
	ctx := t.Context()
	if _, err := c.Get(ctx, access.Ref{ID: access.ID{Kind: "ConfigMap", Name: "x"}}); !errors.Is(err, access.ErrNoNamespace) {
		t.Errorf("no namespace: %v", err)
	}
	if _, err := c.Get(ctx, access.Ref{ID: access.ID{Kind: "ConfigMap", Namespace: "x"}}); err == nil {
		t.Error("no name")
	}
	if _, err := c.Get(ctx, access.Ref{ID: access.ID{Kind: "Nothing", Namespace: "x", Name: "x"}}); !apimeta.IsNoMatchError(err) {
		t.Errorf("no such kind: %v", err)
	}
	_, err := c.Apply(ctx, configMap("unknown"), []byte(`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"unknown","namespace":"default"},"dota":{}}`),
		access.ApplyOptions{Manager: "tester", Strict: true})
	if err == nil || !strings.Contains(err.Error(), "dota") {
		t.Errorf("an unknown field is named: %v", err)
	}
	duplicate := `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"unknown","namespace":"default"},"data":{"a":"1","a":"2"}}`
	if _, err = c.Apply(ctx, configMap("unknown"), []byte(duplicate), access.ApplyOptions{Manager: "tester", Strict: true, DryRun: true}); err == nil {
		t.Error("a field that is there twice is refused")
	}
	ended, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := c.GetMeta(ended, configMap("x")); !errors.Is(err, context.Canceled) {
		t.Errorf("ended: %v", err)
	}
}

// A name that climbs out of its place in a path must not reach another object, or a whole collection.
func TestNamesStayInTheirPlace(t *testing.T) {
	sent := 0
	c := newFactory(t, access.Options{Transport: func(next http.RoundTripper) http.RoundTripper {
		return roundTripper(func(req *http.Request) (*http.Response, error) {
			if strings.Contains(req.URL.Path, "/namespaces") {
				sent++
			}
			return next.RoundTrip(req)
		})
	}}).Own()
	ctx := t.Context()
	for _, name := range []string{".", "..", "../secrets/x", "a/b", "a%2fb"} {
		named := configMap(name)
		inside := configMap("x")
		inside.Namespace = name
		for _, ref := range []access.Ref{named, inside} {
			if _, err := c.GetMeta(ctx, ref); !apierrors.IsNotFound(err) {
				t.Errorf("get %q: %v", ref, err)
			}
			if err := c.Delete(ctx, ref, access.DeleteOptions{}); !apierrors.IsNotFound(err) {
				t.Errorf("delete %q: %v", ref, err)
			}
			_, err := c.Apply(ctx, ref, body("x", "a"), access.ApplyOptions{Manager: "tester"})
			if err == nil || !strings.Contains(err.Error(), "invalid resource name") {
				t.Errorf("apply %q: %v", ref, err)
			}
		}
		if _, err := c.List(ctx, named.GroupKind(), access.Query{Namespace: name}); err == nil {
			t.Errorf("list in %q", name)
		}
		if _, err := c.Watch(ctx, named.GroupKind(), access.Query{Namespace: name}, "0"); err == nil {
			t.Errorf("watch in %q", name)
		}
		obj := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "v1", "kind": "ConfigMap"}}
		obj.SetNamespace(name)
		if _, err := c.Create(ctx, obj, "tester"); err == nil {
			t.Errorf("create in %q", name)
		}
	}
	if sent > 0 {
		t.Errorf("%d requests were sent", sent)
	}
}

func TestIdentities(t *testing.T) {
	var agent string
	f := newFactory(t, access.Options{UserAgent: "tester/1", Transport: func(next http.RoundTripper) http.RoundTripper {
		return roundTripper(func(req *http.Request) (*http.Response, error) {
			agent = req.UserAgent()
			return next.RoundTrip(req)
		})
	}})
	for _, id := range [][2]string{
		{"", ""}, {"default", ""}, {"", "default"}, {"default", " "}, {"default", "Team"}, {"default", "team:admin"}, {"default", "a/b"},
		{"kube-system:default", "x"}, {"Default", "team"}, {"a.b", "team"}, {"default", "system:serviceaccount:kube-system:default"},
		{"default", "system:masters"}, {"default", "team\nImpersonate-Group: system:masters"}, {"default", "-"}, {"default", "*"},
		{"default", strings.Repeat("a", 254)}, {strings.Repeat("a", 64), "team"},
	} {
		if c, err := f.As(id[0], id[1]); !errors.Is(err, access.ErrNoIdentity) || c != nil {
			t.Errorf("%q: %v, %v", id, c, err)
		}
		if token, _, err := f.Own().Token(t.Context(), id[0], id[1], []string{"a"}, time.Hour); !errors.Is(err, access.ErrNoIdentity) || token != "" {
			t.Errorf("a token of %q: %q, %v", id, token, err)
		}
		if err := access.CheckAccount(id[0], id[1]); !strings.Contains(err.Error(), fmt.Sprintf("%q of namespace %q", id[1], id[0])) {
			t.Errorf("%q is not named: %v", id, err)
		}
	}
	if agent != "" {
		t.Error("a request was sent for somebody that nobody can be")
	}
	c, err := f.As("default", "nobody")
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.GetMeta(t.Context(), configMap("x"))
	if !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), c.Identity()) || c.Identity() != "system:serviceaccount:default:nobody" {
		t.Errorf("it acts as the account: %v", err)
	}
	if agent != "tester/1" {
		t.Errorf("user agent %q", agent)
	}
}

// seen tells of a full item whether it is the named object, with its data, and of metadata the name.
func seen(i access.Item, name string) string {
	if i.Meta != nil {
		return i.Meta.Name
	}
	return fmt.Sprint(strings.Contains(string(i.Raw), `"name":"`+name+`"`), strings.Contains(string(i.Raw), `"data"`))
}

func TestListAndWatch(t *testing.T) {
	cases := map[string]struct {
		reason string
		full   bool
		want   string
	}{
		"Metadata": {"metadata comes without the object", false, "watch-metadata"},
		"Full":     {"a whole object comes as it was sent", true, "true true"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			c := newFactory(t, access.Options{}).Own()
			gk, object := schema.GroupKind{Kind: "ConfigMap"}, "watch-"+strings.ToLower(name)
			q := access.Query{Labels: "test=" + object, Full: tc.full}
			apply := func(value string) {
				t.Helper()
				if _, err := c.Apply(t.Context(), configMap(object), body(object, value), access.ApplyOptions{Manager: "tester", Force: true}); err != nil {
					t.Fatal(err)
				}
			}
			apply("a")
			var got []string
			version, err := c.Each(t.Context(), gk, q, func(i access.Item) error { got = append(got, seen(i, object)); return nil })
			if err != nil || !cmp.Equal(got, []string{tc.want}) {
				t.Fatalf("%s: listed %q, %v", tc.reason, got, err)
			}
			list, err := c.List(t.Context(), gk, q)
			if err != nil || len(list) != 1 || list[0].GetKind() != "ConfigMap" || list[0].GetAPIVersion() != "v1" {
				t.Errorf("listed %v, %v", list, err)
			}
			w, err := c.Watch(t.Context(), gk, q, version)
			if err != nil {
				t.Fatal(err)
			}
			defer w.Close()
			apply(strings.Repeat("long", 20_000)) // does not fit the first buffer
			if err := c.Delete(t.Context(), configMap(object), access.DeleteOptions{}); err != nil {
				t.Fatal(err)
			}
			for _, want := range []watch.EventType{watch.Modified, watch.Deleted} {
				e, err := w.Next()
				if err != nil || e.Type != want || seen(e.Item, object) != tc.want {
					t.Fatalf("%s: event %q of %q, %v", tc.reason, e.Type, seen(e.Item, object), err)
				}
			}
			w.Close()
			if _, err := w.Next(); err == nil {
				t.Error("a closed watch goes on")
			}
		})
	}
}

// TestWatchBytes reads what an API server might send.
func TestWatchBytes(t *testing.T) {
	cases := map[string]struct {
		reason, body string
		want         string
	}{
		"Bookmark": {"a bookmark tells a version", `{"type":"BOOKMARK","object":{"kind":"ConfigMap","metadata":{"resourceVersion":"12"}}}`, "BOOKMARK 12"},
		"Expired":  {"an error is an API error", `{"type":"ERROR","object":{"kind":"Status","apiVersion":"v1","status":"Failure","message":"too old","reason":"Expired","code":410}}`, "expired"},
		"Broken":   {"garbage is an error", `{"type":5}`, "error"},
		"Cut":      {"so is half an event", `{"type":"ADDED","object":{"a"`, "error"},
		"End":      {"the end is io.EOF", ``, "end"},
	}
	config := shared.Start(t).Config()
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			f, err := access.New(config, access.Options{Transport: func(next http.RoundTripper) http.RoundTripper {
				return roundTripper(func(req *http.Request) (*http.Response, error) {
					if accesstest.Verb(req) != "watch" {
						return next.RoundTrip(req)
					}
					return &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(c.body))}, nil
				})
			}})
			if err != nil {
				t.Fatal(err)
			}
			w, err := f.Own().Watch(t.Context(), schema.GroupKind{Kind: "ConfigMap"}, access.Query{Full: true}, "1")
			if err != nil {
				t.Fatal(err)
			}
			e, err := w.Next()
			got := "error"
			switch {
			case errors.Is(err, io.EOF):
				got = "end"
			case apierrors.IsResourceExpired(err):
				got = "expired"
			case err == nil:
				got = string(e.Type) + " " + e.ResourceVersion
			}
			if got != c.want {
				t.Errorf("%s: got %q, %v", c.reason, got, err)
			}
		})
	}
}

func TestTimeoutIsForRequestsOnly(t *testing.T) {
	config := shared.Start(t).Config()
	config.Timeout = time.Hour
	f, err := access.New(config, access.Options{Transport: func(next http.RoundTripper) http.RoundTripper {
		return roundTripper(func(req *http.Request) (*http.Response, error) {
			if _, limited := req.Context().Deadline(); limited == (accesstest.Verb(req) == "watch") {
				t.Errorf("%s: has a deadline: %t", req.URL, limited)
			}
			return next.RoundTrip(req)
		})
	}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Own().GetMeta(t.Context(), access.Ref{ID: access.ID{Kind: "Namespace", Name: "default"}}); err != nil {
		t.Error(err)
	}
	w, err := f.Own().Watch(t.Context(), schema.GroupKind{Kind: "Namespace"}, access.Query{}, "")
	if err != nil {
		t.Fatal(err)
	}
	w.Close()
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }
