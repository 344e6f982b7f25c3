package approval_test

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/weir-dev/weir/reconcilers/access"
	"github.com/weir-dev/weir/reconcilers/access/accesstest"
	"github.com/weir-dev/weir/reconcilers/apply"
	"github.com/weir-dev/weir/reconcilers/approval"
	"github.com/weir-dev/weir/test/cluster"
)

var shared cluster.Shared

func TestMain(m *testing.M) { os.Exit(shared.Main(m)) }

func TestKey(t *testing.T) {
	secret := approval.Source(func(context.Context) ([]byte, error) { return []byte("secret"), nil })
	first, err := secret.Key(t.Context(), "1", "spec.plan")

	if err != nil || len(first) != 32 {
		t.Fatalf("got %d bytes, %v", len(first), err)
	}

	again, _ := secret.Key(t.Context(), "1", "spec.plan")
	if second, _ := secret.Key(t.Context(), "2", "spec.plan"); string(second) == string(first) || string(again) != string(first) {
		t.Error("two objects have the same key, or one has two")
	}

	for name, tc := range map[string]struct {
		source approval.Source
		want   string
	}{
		"None":   {nil, "spec.plan is not possible: there is no key for the digests of plans"},
		"Failed": {func(context.Context) ([]byte, error) { return nil, errors.New("no") }, "get the key for the digests of plans: no"},
		"Empty":  {func(context.Context) ([]byte, error) { return nil, nil }, "get the key for the digests of plans: it is empty"},
	} {
		t.Run(name, func(t *testing.T) {
			if key, err := tc.source.Key(t.Context(), "1", "spec.plan"); key != nil || err == nil || err.Error() != tc.want {
				t.Errorf("got %q, %v; want %s", key, err, tc.want)
			}
		})
	}
}

func TestDigest(t *testing.T) {
	seen := map[string]string{}

	for name, got := range map[string]string{
		"":      approval.Digest([]byte("key"), "a", "b"),
		"key":   approval.Digest([]byte("other"), "a", "b"),
		"order": approval.Digest([]byte("key"), "b", "a"),
		"join":  approval.Digest([]byte("key"), "ab"),
		"quote": approval.Digest([]byte("key"), `a" "b`),
		"more":  approval.Digest([]byte("key"), "a", "b", ""),
	} {
		if other, ok := seen[got]; ok || !strings.HasPrefix(got, "sha256:") || len(got) != 71 {
			t.Errorf("%q has the digest %s, like %q", name, got, other)
		}

		seen[got] = name
	}

	if got, ok := seen[approval.Digest([]byte("key"), "a", "b")]; !ok || got != "" {
		t.Errorf("the digest is another one each time: that of %q", got)
	}
}

func TestWrite(t *testing.T) {
	counter := &accesstest.Counter{}

	f, err := access.New(shared.Start(t).Config(), access.Options{Transport: counter.Transport})
	if err != nil {
		t.Fatal(err)
	}

	c := f.Own()
	plan := approval.Plan{
		Namespace: "default", Name: "app-plan", Label: "example.com/plan", Manager: "test",
		Owner:  metav1.OwnerReference{APIVersion: "example.com/v1", Kind: "App", Name: "app", UID: "1"},
		Digest: "sha256:1", Revision: "r1", Text: "ConfigMap/default/a created\n",
	}
	ref := access.Ref{ID: access.ID{Kind: "ConfigMap", Namespace: "default", Name: "app-plan"}, Version: "v1"}

	want := func(step string, data map[string]any, requests map[string]int) {
		t.Helper()

		if diff := cmp.Diff(requests, counter.Take("discover")); diff != "" {
			t.Errorf("%s: requests (-want +got):\n%s", step, diff)
		}

		live, err := c.Get(t.Context(), ref)
		if err != nil {
			t.Fatal(err)
		}

		owners := live.GetOwnerReferences()
		if diff := cmp.Diff(data, live.Object["data"]); diff != "" || len(owners) != 1 || owners[0] != plan.Owner || live.GetLabels()["example.com/plan"] != "app" {
			t.Errorf("%s: of %v (-want +got):\n%s", step, owners, diff)
		}

		counter.Take()
	}

	if err := plan.Write(t.Context(), c); err != nil {
		t.Fatal(err)
	}

	want("new", map[string]any{"digest": "sha256:1", "revision": "r1", "plan": "ConfigMap/default/a created\n"}, map[string]int{"get": 1, "apply": 1})

	if err := plan.Write(t.Context(), c); err != nil {
		t.Fatal(err)
	}

	want("the same", map[string]any{"digest": "sha256:1", "revision": "r1", "plan": "ConfigMap/default/a created\n"}, map[string]int{"get": 1})

	plan.Digest, plan.Revision, plan.Text = "sha256:2", "r2", strings.Repeat(strings.Repeat("x", 99)+"\n", 10_000)
	if err := plan.Write(t.Context(), c); err != nil {
		t.Fatal(err)
	}

	want("too long", map[string]any{
		"digest": "sha256:2", "revision": "r2", "plan": strings.Repeat(strings.Repeat("x", 99)+"\n", 9216) + "... and 784 lines more\n",
	}, map[string]int{"get": 1, "apply": 1})

	plan.Owner.Name = "other"
	if err := plan.Write(t.Context(), c); err == nil || err.Error() != "ConfigMap/default/app-plan exists, and is not a plan" {
		t.Errorf("the ConfigMap of somebody else: %v", err)
	}
}

func TestWithin(t *testing.T) {
	for _, tc := range []struct {
		left, approved []string
		want           bool
	}{
		{nil, nil, true},
		{nil, []string{"a"}, true},
		{[]string{"b"}, []string{"a", "b"}, true},
		{[]string{"b", "c"}, []string{"a", "b"}, false},
		{[]string{"a"}, nil, false},
	} {
		if got := approval.Within(tc.left, tc.approved); got != tc.want {
			t.Errorf("of %q, %q are approved: %t", tc.left, tc.approved, got)
		}
	}
}

func TestCounts(t *testing.T) {
	changes := apply.Changes{{Action: apply.Created}, {Action: apply.Configured}, {Action: apply.Created}, {Action: apply.Unchanged}, {Action: apply.Deleted}}
	if got := approval.Counts(changes); got != "2 created, 1 configured, 1 deleted" {
		t.Errorf("got %q", got)
	}
}
