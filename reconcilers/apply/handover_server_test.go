package apply_test

import (
	"context"
	"net/http"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/weir-dev/weir/reconcilers/access"
	"github.com/weir-dev/weir/reconcilers/access/accesstest"
	"github.com/weir-dev/weir/reconcilers/apply"
)

// other is a second owner over the same applier.
func (b *bench) other() apply.Owner {
	o := b.owner
	o.Name = "other"
	return o
}

func (b *bench) applyFor(owner apply.Owner, set string) {
	b.t.Helper()
	if _, err := b.applier.Apply(b.ctx(), b.factory.Own(), owner, b.objects(set), apply.Options{}); err != nil {
		b.t.Fatal(err)
	}
}

func (b *bench) pruneFor(ctx context.Context, c *access.Client, owner apply.Owner, names ...string) []string {
	b.t.Helper()
	p, err := b.applier.Prune(ctx, c, owner, b.refs("ConfigMap", names...), apply.PruneOptions{})
	if err != nil {
		b.t.Fatal(err)
	}
	return actions(p.Changes)
}

// TestHandOver holds that an object that moves to another owner is never deleted by the one that had it.
func TestHandOver(t *testing.T) {
	cases := map[string]struct {
		reason string
		steps  func(b *bench)
		want   []string
		name   string // of the owner in the end
	}{
		"taken over before": {
			reason: "the labels tell whose it is",
			steps:  func(b *bench) { b.applyFor(b.other(), configs("a")) },
			want:   []string{"a skipped"}, name: `"other"`,
		},
		"taken back once more": {
			reason: "an owner that has not heard yet takes it back, but may not delete it then",
			steps: func(b *bench) {
				b.applyFor(b.other(), configs("a"))
				b.wake()
				b.applyFor(b.owner, configs("a"))
			},
			want: []string{"a skipped"}, name: `"app"`, // the other one is woken, and puts its labels back
		},
		"given up by both": {
			reason: "an owner that gave it up, too, does not keep it",
			steps: func(b *bench) {
				b.applyFor(b.other(), configs("a"))
				b.wake()
				b.applyFor(b.owner, configs("a"))
				b.pruneFor(b.ctx(), b.factory.Own(), b.other(), "a")
			},
			want: []string{"a deleted"},
		},
		"the other one is gone": {
			reason: "nor does one that is gone",
			steps: func(b *bench) {
				b.applyFor(b.other(), configs("a"))
				b.wake()
				b.applyFor(b.owner, configs("a"))
				b.applier.Forget(b.other().ID)
			},
			want: []string{"a deleted"},
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			b.mustApply(configs("a"), apply.Options{})
			uid := b.get(b.ref("ConfigMap", "a")).GetUID()
			c.steps(b)
			b.mustApply(configs("b"), apply.Options{Inventory: b.refs("ConfigMap", "a")})
			same(t, c.reason, c.want, b.pruneFor(b.ctx(), b.factory.Own(), b.owner, "a"))
			if c.name != "" {
				same(t, "the same object", uid, b.get(b.ref("ConfigMap", "a")).GetUID())
				same(t, "whose", c.name, b.field(b.ref("ConfigMap", "a"), "metadata", "labels", b.owner.Prefix+"/name"))
			}
		})
	}
}

// TestYielded holds that what another owner has by now is known without a request.
func TestYielded(t *testing.T) {
	b := newBench(t)
	b.mustApply(configs("a", "b"), apply.Options{})
	refs := b.refs("ConfigMap", "a", "b", "missing")
	same(t, "nobody has taken anything", 0, len(b.applier.Yielded(b.owner, refs)))
	b.applyFor(b.other(), configs("a"))
	b.wake() // it is seen
	same(t, "what was taken over", b.refs("ConfigMap", "a"), b.applier.Yielded(b.owner, refs))
}

// TestGeneration holds that an applier knows which generation its apply has made.
func TestGeneration(t *testing.T) {
	const policy = "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: a, namespace: NS}\nspec: {podSelector: {}, policyTypes: [Ingress]}\n"
	b := newBench(t)
	id := b.ref("NetworkPolicy", "a").ID
	id.Group = "networking.k8s.io"
	same(t, "never applied", int64(0), b.applier.Generation(b.owner.ID, id))
	b.mustApply(policy, apply.Options{})
	same(t, "made", int64(1), b.applier.Generation(b.owner.ID, id))
	b.mustApply(strings.Replace(policy, "Ingress", "Egress", 1), apply.Options{})
	same(t, "changed", int64(2), b.applier.Generation(b.owner.ID, id))
}

// TestClaimWithoutRights holds that a set which has an object of somebody else, that it may not write, does not keep it from
// being deleted: a tenant would keep the rights that are taken from it.
func TestClaimWithoutRights(t *testing.T) {
	for name, c := range map[string]struct {
		reason string
		set    string
	}{
		"refused":  {"the API server refuses it", configs("a")},
		"disabled": {"a marker keeps it from being asked", strings.Replace(configs("a"), "name: a", "name: a, annotations: {kustomize.toolkit.fluxcd.io/reconcile: disabled}", 1)},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			b.mustApply(configs("a"), apply.Options{})
			if _, err := b.applier.Apply(b.ctx(), b.tenant("configmaps", "get"), b.other(), b.objects(c.set), apply.Options{}); name == "refused" && !apierrors.IsForbidden(err) {
				t.Fatalf("the tenant may write it: %v", err)
			}
			b.mustApply(configs("b"), apply.Options{Inventory: b.refs("ConfigMap", "a")})
			same(t, c.reason, []string{"a deleted"}, b.pruneFor(b.ctx(), b.factory.Own(), b.owner, "a"))
		})
	}
}

// TestTakenOverDuringPrune holds that an object is not deleted that changes hands between the look at it and the request,
// by a process that is not ours.
func TestTakenOverDuringPrune(t *testing.T) {
	b := newBench(t)
	b.mustApply(configs("a"), apply.Options{})
	done := false
	rival := access.Options{Transport: func(next http.RoundTripper) http.RoundTripper {
		return roundTripper(func(req *http.Request) (*http.Response, error) {
			if accesstest.Verb(req) == "delete" && !done {
				done = true
				b.edit(b.ref("ConfigMap", "a"), "kustomize-controller", `{"metadata":{"labels":{"kustomize.toolkit.fluxcd.io/name":"other"}}}`)
			}
			return next.RoundTrip(req)
		})
	}}
	f, err := access.New(shared.Start(t).Config(), rival)
	if err != nil {
		t.Fatal(err)
	}
	b.mustApply(configs("b"), apply.Options{Inventory: b.refs("ConfigMap", "a")})
	same(t, "what changed hands", []string{"a skipped"}, b.pruneFor(b.ctx(), f.Own(), b.owner, "a"))
	same(t, "the rival was there", true, done)
	b.get(b.ref("ConfigMap", "a"))
}
