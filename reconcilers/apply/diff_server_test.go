package apply_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/weir-dev/weir/reconcilers/apply"
)

func TestDiff(t *testing.T) {
	b := newBench(t)
	const secret = "apiVersion: v1\nkind: Secret\nmetadata: {name: secret, namespace: NS}\nstringData: {password: %}\n"
	before := three + "---\n" + strings.ReplaceAll(secret, "%", "hunter2") + "---\n" + configs("gone", "kept", "theirs")
	b.mustApply(before, apply.Options{})
	b.edit(b.ref("ConfigMap", "kept"), "somebody", `{"metadata":{"annotations":{"kustomize.toolkit.fluxcd.io/prune":"disabled"}}}`)
	b.edit(b.ref("ConfigMap", "theirs"), "somebody", `{"metadata":{"labels":{"kustomize.toolkit.fluxcd.io/name":"other"}}}`)
	b.edit(b.ref("Service", "app"), "kubectl-edit", `{"spec":{"sessionAffinity":"ClientIP"}}`)
	set := strings.ReplaceAll(three, "replicas: 1", "replicas: 3") + "---\n" + strings.ReplaceAll(secret, "%", "swordfish") + `
---
apiVersion: v1
kind: Namespace
metadata: {name: NS-inner}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: inner, namespace: NS-inner}
data: {key: value}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: left, namespace: NS, annotations: {kustomize.toolkit.fluxcd.io/reconcile: disabled}}
`
	o := apply.Options{Key: []byte("key"), Inventory: b.refs("ConfigMap", "config", "gone", "kept", "theirs", "missing")}
	diff := func(set string) *apply.Difference {
		t.Helper()
		d, err := b.applier.Diff(b.ctx(), b.factory.Own(), b.owner, b.objects(set), true, o)
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	b.counter.Take()
	d := diff(set)
	want := `Namespace/NS-inner created
  + .apiVersion: "v1"
  + .kind: "Namespace"
  + .metadata.labels.kustomize.toolkit.fluxcd.io/name: "app"
  + .metadata.labels.kustomize.toolkit.fluxcd.io/namespace: "NS"
  + .metadata.name: "NS-inner"
ConfigMap/NS-inner/inner created
  + .apiVersion: "v1"
  + .data.key: "value"
  + .kind: "ConfigMap"
  + .metadata.labels.kustomize.toolkit.fluxcd.io/name: "app"
  + .metadata.labels.kustomize.toolkit.fluxcd.io/namespace: "NS"
  + .metadata.name: "inner"
  + .metadata.namespace: "NS-inner"
Secret/NS/secret configured
  ~ .data.password: *** -> ***
Service/NS/app configured
  - .spec.sessionAffinity
  - .spec.sessionAffinityConfig.clientIP.timeoutSeconds
Deployment/NS/app configured
  ~ .spec.replicas: 1 -> 3
ConfigMap/NS/gone deleted
`
	same(t, "what is told", want, strings.ReplaceAll(d.Text, b.namespace, "NS"))
	same(t, "nothing is written", 0, b.counter.Take()["apply"])
	same(t, "the same again", d, diff(set))
	same(t, "another password is another plan", false, d.Digest == diff(strings.ReplaceAll(set, "swordfish", "swordfush")).Digest)

	other := o
	other.Key = []byte("another")
	if e, err := b.applier.Diff(b.ctx(), b.factory.Own(), b.owner, b.objects(set), true, other); err != nil || e.Text != d.Text || e.Digest == d.Digest ||
		slices.ContainsFunc(e.Parts, func(p string) bool { return slices.Contains(d.Parts, p) }) {
		t.Errorf("who has not the key can make the digest, and so guess the password: %v", err)
	}
	other.Key = nil
	if e, err := b.applier.Diff(b.ctx(), b.factory.Own(), b.owner, b.objects(set), true, other); err == nil {
		t.Errorf("without a key the digest is %q", e.Digest)
	}

	b.edit(b.ref("ConfigMap", "config"), "somebody", `{"data":{"added":"x"}}`)
	same(t, "what others do with what is theirs is no other plan", d.Digest, diff(set).Digest)
	b.edit(b.ref("ConfigMap", "config"), "somebody", `{"data":{"key":"x"}}`)
	same(t, "what they do with what is ours is", false, d.Digest == diff(set).Digest)

	b.mustApply(set, o)
	if _, err := b.applier.Prune(b.ctx(), b.factory.Own(), b.owner, b.refs("ConfigMap", "gone"), apply.PruneOptions{}); err != nil {
		t.Fatal(err)
	}
	same(t, "afterwards there is no difference", "", diff(set).Text)
	_, err := b.applier.Diff(b.ctx(), b.factory.Own(), b.owner, b.objects(strings.ReplaceAll(set, "port: 80", "port: 800000")), true, o)
	same(t, "what is refused is told", true, err != nil && strings.Contains(err.Error(), "Service/"+b.namespace+"/app dry-run failed (Invalid)"))
}

// TestDiffOfRecreation holds that a plan says that an object goes, and that who has approved its creation has not approved that.
func TestDiffOfRecreation(t *testing.T) {
	b := newBench(t)
	const set = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: fixed, namespace: NS}\ndata: {key: b}\nimmutable: true\n"
	o := apply.Options{Key: []byte("key"), Force: true}
	diff := func() *apply.Difference {
		t.Helper()
		d, err := b.applier.Diff(b.ctx(), b.factory.Own(), b.owner, b.objects(set), true, o)
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	created := diff()
	b.mustApply(strings.ReplaceAll(set, "key: b", "key: a"), apply.Options{})
	anew := diff()
	same(t, "what is told first", "ConfigMap/NS/fixed deleted\nConfigMap/NS/fixed created\n",
		strings.Join(strings.SplitAfter(strings.ReplaceAll(anew.Text, b.namespace, "NS"), "\n")[:2], ""))
	same(t, "two things are done", 2, len(anew.Parts))
	same(t, "the fields are those of the second", []int{0, len(strings.Split(anew.Text, "\n")) - 3}, []int{len(anew.Fields[0]), len(anew.Fields[1])})
	same(t, "the second of them is what is left when the first is done", true, slices.Contains(anew.Parts, created.Parts[0]))
	same(t, "creation is another plan", false, created.Digest == anew.Digest)
}
