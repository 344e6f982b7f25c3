package migration_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"github.com/weir-dev/weir/reconcilers/access"
	"github.com/weir-dev/weir/reconcilers/migration"
)

// TestMigrate takes a definition from one version to the next, as two releases would, and what people have applied with it.
func TestMigrate(t *testing.T) {
	b := newBench(t, "v1beta1*")
	b.must(b.apply("fleet", "v1beta1", "a", `{"value":"1"}`))
	b.edit("editor", "v1beta1", "a", "", `{"spec":{"other":"2"}}`)
	b.edit("controller", "v1beta1", "a", "status", `{"status":{"seen":"3"}}`)
	b.change("v1beta1", "v1*")
	if d := b.definition(); d.Settled() || b.tryChange("v1*") == nil {
		t.Fatalf("the old version can go before anything was migrated: %+v", d)
	}
	before := b.get("a")

	n, err := b.migrate(migration.Options{})
	b.must(err)
	after := b.get("a")
	if d := b.definition(); n != 1 || !d.Settled() || after.GetResourceVersion() == before.GetResourceVersion() {
		t.Errorf("migrated %d objects, definition %+v, object %s", n, d, after.GetResourceVersion())
	}
	if diff := cmp.Diff(managers(before), managers(after)); diff != "" {
		t.Errorf("managers in versions that are still served (-before +after):\n%s", diff)
	}
	if _, err = b.migrate(migration.Options{}); err != nil || b.get("a").GetResourceVersion() != after.GetResourceVersion() {
		t.Errorf("what is in place is written again: %v", err)
	}

	// Now the old version can go. Its fields go first, or nobody could apply any more.
	if task, err := migration.Compare(b.definition(), b.target("v1*")); task != migration.Fields || err != nil {
		t.Errorf("task %v, %v", task, err)
	}
	n, err = b.migrate(migration.Options{Stay: []string{"v1"}, Keep: true})
	b.must(err)
	b.change("v1*")
	want := []string{
		`controller Update v1 status {"f:status":{".":{},"f:seen":{}}}`,
		`editor Update v1 {"f:spec":{"f:other":{}}}`,
		`fleet Apply v1 {"f:spec":{"f:value":{}}}`,
	}
	if diff := cmp.Diff(want, managers(b.get("a"))); diff != "" || n != 1 {
		t.Errorf("managers (-want +got) of %d:\n%s", n, diff)
	}
	b.must(b.apply("fleet", "v1", "a", `{"more":["4"]}`))
	if diff := cmp.Diff(map[string]any{"other": "2", "more": []any{"4"}}, b.get("a").Object["spec"]); diff != "" {
		t.Errorf("what the manager no longer applies stays, or what others set goes (-want +got):\n%s", diff)
	}
}

// target reads the definition with other versions, as a manifest.
func (b *bench) target(versions ...string) *migration.Definition {
	b.t.Helper()
	d, err := migration.Of(b.manifest(versions...))
	b.must(err)
	return d
}

// TestTooLate repairs objects whose fields are managed in a version that is gone: nobody can apply them.
func TestTooLate(t *testing.T) {
	b := newBench(t, "v1beta1", "v1*")
	b.must(b.apply("fleet", "v1beta1", "a", `{"value":"1"}`))
	b.change("v1*")
	if err := b.apply("fleet", "v1", "a", `{"value":"2"}`); err == nil || !strings.Contains(err.Error(), "invalid group/version") {
		t.Fatalf("the API server can do without: %v", err)
	}
	_, err := b.migrate(migration.Options{})
	b.must(err)
	b.must(b.apply("fleet", "v1", "a", `{"value":"2"}`))
}

// TestMeanwhile has others write and delete what is being migrated.
func TestMeanwhile(t *testing.T) {
	tests := map[string]struct {
		reason string
		do     func(b *bench, c *access.Client)
		want   []string // managers
	}{
		"Written": {
			reason: "What somebody else comes to manage meanwhile is not lost.",
			do: func(b *bench, c *access.Client) {
				ref := b.ref("a")
				ref.Version = "v1"
				_, err := c.Patch(b.t.Context(), ref, types.MergePatchType, []byte(`{"spec":{"other":"2"}}`), access.PatchOptions{Manager: "editor"})
				b.must(err)
			},
			want: []string{`editor Update v1 {"f:spec":{"f:other":{}}}`, `fleet Apply v1 {"f:spec":{"f:value":{}}}`},
		},
		"Deleted": {
			reason: "There is nothing left to be done.",
			do: func(b *bench, c *access.Client) {
				b.must(c.Delete(b.t.Context(), b.ref("a"), access.DeleteOptions{}))
			},
		},
		"DefinitionTouched": {
			reason: "Another status, or another label, does not make what was done undone.",
			do: func(b *bench, c *access.Client) {
				_, err := c.Patch(b.t.Context(), migration.Ref(b.name), types.MergePatchType,
					[]byte(`{"metadata":{"labels":{"a":"b"}}}`), access.PatchOptions{Manager: "editor"})
				b.must(err)
			},
			want: []string{`fleet Apply v1 {"f:spec":{"f:value":{}}}`},
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, "v1beta1*")
			b.must(b.apply("fleet", "v1beta1", "a", `{"value":"1"}`))
			b.change("v1beta1", "v1*")
			b.during(1, func(c *access.Client, _ *http.Request) { tc.do(b, c) })
			_, err := b.migrate(migration.Options{Stay: []string{"v1"}})
			b.must(err)
			if !b.definition().Settled() {
				t.Error("the definition is not settled")
			}
			if tc.want == nil {
				return
			}
			if diff := cmp.Diff(tc.want, managers(b.get("a"))); diff != "" {
				t.Errorf("%s\n(-want +got):\n%s", tc.reason, diff)
			}
		})
	}
}

// TestChanged switches the storage version while objects are migrated to the one before: nothing is known of what was written then.
func TestChanged(t *testing.T) {
	b := newBench(t, "v1beta1*", "v1")
	b.must(b.apply("fleet", "v1beta1", "a", `{"value":"1"}`))
	b.change("v1beta1", "v1*")
	old := b.definition()
	b.during(1, func(*access.Client, *http.Request) {
		b.before.Store(nil)
		b.change("v1beta1*", "v1")
	})
	_, err := b.run(t.Context(), old, migration.Options{}, nil)
	if !apierrors.IsConflict(err) || !strings.Contains(err.Error(), "was changed while its objects were migrated") {
		t.Errorf("error is %v", err)
	}
	if diff := cmp.Diff([]string{"v1beta1", "v1"}, b.definition().Stored); diff != "" {
		t.Errorf("stored versions (-want +got):\n%s", diff)
	}
}

// TestDeleting migrates an object that waits for its finalizer: it would keep the old version as any other.
func TestDeleting(t *testing.T) {
	b := newBench(t, "v1beta1*")
	b.must(b.apply("fleet", "v1beta1", "a", `{"value":"1"}`))
	b.edit("editor", "v1beta1", "a", "", `{"metadata":{"finalizers":["example.com/hold"]}}`)
	b.must(b.c.Delete(t.Context(), b.ref("a"), access.DeleteOptions{}))
	b.change("v1beta1", "v1*")
	_, err := b.migrate(migration.Options{Stay: []string{"v1"}})
	b.must(err)
	b.change("v1*")
	if obj := b.get("a"); obj.GetDeletionTimestamp() == nil || len(obj.GetFinalizers()) != 1 {
		t.Errorf("object is %v", obj.Object)
	}
	b.edit("editor", "v1", "a", "", `{"metadata":{"finalizers":null}}`)
}

// TestKilled cuts a migration of many objects off, and begins again with nothing in memory.
func TestKilled(t *testing.T) {
	const many = 2000
	b := newBench(t, "v1beta1*")
	b.fill(many)
	b.change("v1beta1", "v1*")

	ctx, kill := context.WithCancelCause(t.Context())
	b.during(700, func(*access.Client, *http.Request) { kill(errors.New("killed")) })
	n, err := b.run(ctx, b.definition(), migration.Options{Stay: []string{"v1"}}, nil)
	if err == nil || n == 0 || n >= many {
		t.Fatalf("%d objects were migrated before the end: %v", n, err)
	}
	if failures, ok := errors.AsType[*migration.Error](err); ok {
		t.Errorf("what was cut off counts as a failure of the objects: %v", failures)
	}
	if diff := cmp.Diff([]string{"v1beta1", "v1"}, b.definition().Stored); diff != "" {
		t.Errorf("stored versions (-want +got):\n%s", diff)
	}

	b.before.Store(nil)
	b.c = b.client()
	var told []int
	var mu sync.Mutex
	n, err = b.run(t.Context(), b.definition(), migration.Options{Stay: []string{"v1"}}, func(objects int) {
		mu.Lock()
		defer mu.Unlock()
		told = append(told, objects)
	})
	b.must(err)
	if n != many || !b.definition().Settled() || len(told) != many/100 {
		t.Errorf("migrated %d objects, told of %v, definition %+v", n, told, b.definition())
	}
	b.change("v1*")
	left, err := b.c.List(t.Context(), b.ref("").GroupKind(), access.Query{})
	b.must(err)
	if len(left) != many {
		t.Errorf("%d objects are left", len(left))
	}
	for i := range left {
		if diff := cmp.Diff([]string{`fleet Apply v1 {"f:spec":{"f:value":{}}}`}, managers(&left[i])); diff != "" {
			t.Fatalf("managers of %q (-want +got):\n%s", left[i].GetName(), diff)
		}
	}
}

// fill makes objects in the version v1beta1.
func (b *bench) fill(many int) {
	b.t.Helper()
	var wg sync.WaitGroup
	names := make(chan string)
	for range 16 {
		wg.Go(func() {
			for name := range names {
				if err := b.apply("fleet", "v1beta1", name, `{"value":"1"}`); err != nil {
					b.t.Error(err)
				}
			}
		})
	}
	for i := range many {
		names <- fmt.Sprintf("g%d", i)
	}
	close(names)
	wg.Wait()
}

// TestShares migrates in shares: a run does no more than it is to, the next one goes on where it ended, also when the API server has
// forgotten the list meanwhile, and what has failed is tried again at the end and not before.
func TestShares(t *testing.T) {
	const many = 1700
	b := newBench(t, "v1beta1*")
	b.fill(many)
	b.change("v1beta1", "v1*")

	var patches, lists atomic.Int64
	var expired atomic.Bool
	hook := func(req *http.Request) {
		switch {
		case req.Method == http.MethodPatch:
			patches.Add(1)
		case strings.HasSuffix(req.URL.Path, "/gadgets"):
			lists.Add(1)
		}
	}
	b.answer = func(req *http.Request) *http.Response {
		token := req.URL.Query().Get("continue")
		if token == "" || !expired.CompareAndSwap(true, false) {
			return nil
		}
		body, err := json.Marshal(metav1.Status{ // as API servers answer whose etcd was compacted
			TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Status"}, ListMeta: metav1.ListMeta{Continue: token},
			Status: metav1.StatusFailure, Reason: metav1.StatusReasonExpired, Code: http.StatusGone, Message: "The provided continue parameter is too old",
		})
		if err != nil {
			t.Error(err)
		}
		return &http.Response{
			StatusCode: http.StatusGone, Header: http.Header{"Content-Type": {"application/json"}}, Request: req,
			Body: io.NopCloser(bytes.NewReader(body)),
		}
	}
	b.c = b.client()
	b.before.Store(&hook)
	m, err := migration.New(b.definition(), migration.Options{Manager: "migrator", Stay: []string{"v1"}, Most: 600})
	b.must(err)
	var runs []string
	for {
		n, err := m.Run(t.Context(), b.c, nil)
		runs = append(runs, fmt.Sprintf("%d after %d patches and %d lists", n, patches.Load(), lists.Load()))
		if err == nil {
			break
		}
		if !errors.Is(err, migration.ErrUnfinished) {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]string{"v1beta1", "v1"}, b.definition().Stored); diff != "" {
			t.Errorf("stored versions of what is not finished (-want +got):\n%s", diff)
		}
		expired.Store(true)
	}
	if diff := cmp.Diff([]string{
		"1000 after 1000 patches and 2 lists",
		"1700 after 1701 patches and 5 lists", // one patch of the definition, and one list that was refused
	}, runs); diff != "" {
		t.Errorf("runs (-want +got):\n%s", diff)
	}
	if !b.definition().Settled() || expired.Load() {
		t.Errorf("definition %+v; the list has expired: %t", b.definition(), !expired.Load())
	}
}

// TestRefusedObjects has a policy keep some objects from being written. They are named, the others are migrated, and the definition
// goes on saying that the old version is stored.
func TestRefusedObjects(t *testing.T) {
	b := newBench(t, "v1beta1*")
	for i := range 7 {
		b.must(b.apply("fleet", "v1beta1", fmt.Sprintf("bad%d", i), `{"value":"1"}`))
	}
	b.must(b.apply("fleet", "v1beta1", "good", `{"value":"1"}`))
	b.deny("bad")
	b.change("v1beta1", "v1*")
	before := b.get("good").GetResourceVersion()

	o := migration.Options{Manager: "migrator"}
	m, err := migration.New(b.definition(), o)
	b.must(err)
	n, err := m.Run(t.Context(), b.c, nil)
	failed, ok := errors.AsType[*migration.Error](err)
	if !ok || failed.Count != 7 || len(failed.Failures) != 7 || n != 1 {
		t.Fatalf("%d objects, error %v", n, err)
	}
	if !strings.HasPrefix(err.Error(), `7 objects of "`+b.name+`" could not be migrated: Gadget/default/bad0: `) ||
		!strings.Contains(err.Error(), "not this one") || !strings.HasSuffix(err.Error(), "; …") || strings.Contains(err.Error(), "bad5") {
		t.Errorf("message %q", err)
	}
	if !apierrors.IsInvalid(err) && !apierrors.IsForbidden(err) {
		t.Errorf("the cause is lost: %v", err)
	}
	if d := b.definition(); d.Settled() || !m.Fits(d, o) || m.Fits(d, migration.Options{Manager: "migrator", Stay: []string{"v1"}}) || b.get("good").GetResourceVersion() == before {
		t.Errorf("definition %+v", d)
	}

	// When the policy is gone, what is left is migrated.
	b.permit("bad")
	var patched []string
	var mu sync.Mutex
	hook := func(req *http.Request) {
		if req.Method == http.MethodPatch {
			mu.Lock()
			defer mu.Unlock()
			patched = append(patched, path.Base(req.URL.Path))
		}
	}
	b.before.Store(&hook)
	if n, err = m.Run(t.Context(), b.c, nil); err != nil || n != 8 || !b.definition().Settled() {
		t.Errorf("%d objects, error %v", n, err)
	}
	slices.Sort(patched)
	if diff := cmp.Diff([]string{"bad0", "bad1", "bad2", "bad3", "bad4", "bad5", "bad6", "status"}, patched); diff != "" {
		t.Errorf("patched (-want +got):\n%s", diff)
	}
}

// TestUnserved says what is the matter with a definition whose objects nobody can reach.
func TestUnserved(t *testing.T) {
	b := newBench(t, "v1beta1*")
	b.change("v1beta1-", "v1*-")
	_, err := b.migrate(migration.Options{})
	if err == nil || !strings.Contains(err.Error(), "serves no version in which its objects could be migrated") {
		t.Errorf("error is %v", err)
	}
}

// deny refuses to write objects whose names begin with the prefix, from when on it returns.
func (b *bench) deny(prefix string) {
	b.t.Helper()
	policy := map[string]any{
		"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicy",
		"metadata": map[string]any{"name": b.group},
		"spec": map[string]any{
			"matchConstraints": map[string]any{"resourceRules": []any{map[string]any{
				"apiGroups": []any{b.group}, "apiVersions": []any{"*"}, "operations": []any{"UPDATE"}, "resources": []any{"gadgets"},
			}}},
			"validations": []any{map[string]any{
				"expression": fmt.Sprintf("!object.metadata.name.startsWith(%q)", prefix), "message": "not this one",
			}},
		},
	}
	binding := map[string]any{
		"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicyBinding",
		"metadata": map[string]any{"name": b.group},
		"spec":     map[string]any{"policyName": b.group, "validationActions": []any{"Deny"}},
	}
	for _, obj := range []map[string]any{policy, binding} {
		u := &unstructured.Unstructured{Object: obj}
		_, err := b.c.Create(b.t.Context(), u, "tester")
		b.must(err)
		b.t.Cleanup(func() { _ = b.c.Delete(context.Background(), access.Of(u), access.DeleteOptions{}) })
	}
	b.eventually("the policy takes effect", func() error {
		if b.try(prefix+"0") == nil {
			return errors.New("it admits")
		}
		return nil
	})
}

// permit lifts the policy.
func (b *bench) permit(prefix string) {
	b.t.Helper()
	binding := access.Ref{ID: access.ID{Group: "admissionregistration.k8s.io", Kind: "ValidatingAdmissionPolicyBinding", Name: b.group}}
	b.must(b.c.Delete(b.t.Context(), binding, access.DeleteOptions{}))
	b.eventually("the policy is lifted", func() error { return b.try(prefix + "0") })
}

// try tells whether the object could be written.
func (b *bench) try(name string) error {
	_, err := b.c.Patch(b.t.Context(), b.ref(name), types.MergePatchType, []byte(`{}`), access.PatchOptions{Manager: "tester", DryRun: true})
	return err
}
