package apply_test

import (
	"fmt"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/weir-dev/weir/reconcilers/apply"
	"github.com/weir-dev/weir/reconcilers/health"
)

// TestEveryMarker holds what each marker does, from where it is read, and that the case of its value does not matter.
func TestEveryMarker(t *testing.T) {
	const (
		config = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: config, namespace: NS%s}\ndata: {key: %s}\n"
		job    = "apiVersion: batch/v1\nkind: Job\nmetadata: {name: job, namespace: NS%s}\n" +
			"spec: {suspend: true, template: {spec: {restartPolicy: Never, containers: [{name: main, image: %s}]}}}\n"
	)
	mark := func(where, name, value string) string {
		return fmt.Sprintf(", %s: {kustomize.toolkit.fluxcd.io/%s: %s}", where, name, value)
	}
	patch := func(where, name, value string) string {
		return fmt.Sprintf(`{"metadata":{%q:{"kustomize.toolkit.fluxcd.io/%s":%q}}}`, where, name, value)
	}
	type object struct{ text, marker, value string }
	cases := map[string]struct {
		reason string
		kind   string
		first  *object // applied by the owner at first
		live   string  // created by somebody else at first
		edit   string  // of the live object, with kubectl, before the second apply
		set    object
		want   apply.Action // empty: refused
		value  string       // of what is changed, in the end
		pruned apply.Action
	}{
		"reconcile of the desired object": {
			reason: "what is not reconciled is not even created",
			kind:   "ConfigMap", set: object{config, mark("annotations", "reconcile", "disabled"), "new"},
			want: apply.Skipped, pruned: apply.Deleted,
		},
		"reconcile of the desired object that exists": {
			reason: "nor changed, nor pruned as long as nobody says so in the cluster",
			kind:   "ConfigMap", first: &object{config, "", "old"}, set: object{config, mark("labels", "reconcile", "Disabled"), "new"},
			want: apply.Skipped, value: "old", pruned: apply.Deleted,
		},
		"reconcile of the live object": {
			reason: "the marker counts in the cluster, too, and keeps it from being pruned",
			kind:   "ConfigMap", first: &object{config, "", "old"}, edit: patch("annotations", "reconcile", "DISABLED"),
			set:  object{config, "", "new"},
			want: apply.Skipped, value: "old", pruned: apply.Skipped,
		},
		"ssa Ignore of the desired object": {
			reason: "Ignore is another word for it",
			kind:   "ConfigMap", first: &object{config, "", "old"}, set: object{config, mark("annotations", "ssa", "ignore"), "new"},
			want: apply.Skipped, value: "old", pruned: apply.Deleted,
		},
		"ssa Ignore of the live object": {
			reason: "in the cluster, too",
			kind:   "ConfigMap", first: &object{config, "", "old"}, edit: patch("labels", "ssa", "Ignore"), set: object{config, "", "new"},
			want: apply.Skipped, value: "old", pruned: apply.Skipped,
		},
		"ssa Ignore of a live object of somebody else": {
			reason: "and before the owner has applied it",
			kind:   "ConfigMap", live: fmt.Sprintf(config, mark("annotations", "ssa", "Ignore"), "old"), set: object{config, "", "new"},
			want: apply.Skipped, value: "old", pruned: apply.Skipped,
		},
		"ssa IfNotPresent of what is missing": {
			reason: "it is created once",
			kind:   "ConfigMap", set: object{config, mark("annotations", "ssa", "ifnotpresent"), "new"},
			want: apply.Created, value: "new", pruned: apply.Deleted,
		},
		"ssa IfNotPresent of what is there": {
			reason: "and left alone if it is there, whoever made it",
			kind:   "ConfigMap", live: fmt.Sprintf(config, "", "old"), set: object{config, mark("labels", "ssa", "IfNotPresent"), "new"},
			want: apply.Skipped, value: "old", pruned: apply.Skipped,
		},
		"ssa IfNotPresent of the live object only": {
			reason: "this marker does not count in the cluster: without it in the set, the object is managed",
			kind:   "ConfigMap", first: &object{config, mark("annotations", "ssa", "IfNotPresent"), "old"}, set: object{config, "", "new"},
			want: apply.Configured, value: "new", pruned: apply.Deleted,
		},
		"ssa Override": {
			reason: "is as without a marker: what kubectl has is undone",
			kind:   "ConfigMap", first: &object{config, "", "old"}, edit: `{"data":{"added":"x"}}`,
			set:  object{config, mark("annotations", "ssa", "Override"), "old"},
			want: apply.Configured, value: "old", pruned: apply.Deleted,
		},
		"ssa Merge": {
			reason: "what kubectl has stays",
			kind:   "ConfigMap", first: &object{config, "", "old"}, edit: `{"data":{"added":"x"}}`,
			set:  object{config, mark("labels", "ssa", "mErge"), "new"},
			want: apply.Configured, value: "new added", pruned: apply.Deleted,
		},
		"no force": {
			reason: "an immutable field is refused",
			kind:   "Job", first: &object{job, "", "old"}, set: object{job, "", "new"},
			value: "old", pruned: apply.Deleted,
		},
		"force of the desired object": {
			reason: "unless the object says so",
			kind:   "Job", first: &object{job, "", "old"}, set: object{job, mark("labels", "force", "Enabled"), "new"},
			want: apply.Created, value: "new", pruned: apply.Deleted,
		},
		"force of the live object": {
			reason: "here or in the cluster",
			kind:   "Job", first: &object{job, "", "old"}, edit: patch("annotations", "force", "enabled"), set: object{job, "", "new"},
			want: apply.Created, value: "new", pruned: apply.Deleted,
		},
		"force of a live object of somebody else": {
			reason: "whoever made it",
			kind:   "Job", live: fmt.Sprintf(job, mark("annotations", "force", "enabled"), "old"), set: object{job, "", "new"},
			want: apply.Created, value: "new", pruned: apply.Deleted,
		},
		"prune of the desired object": {
			reason: "what is applied with it is in the cluster, and counts there",
			kind:   "ConfigMap", set: object{config, mark("annotations", "prune", "Disabled"), "new"},
			want: apply.Created, value: "new", pruned: apply.Skipped,
		},
		"prune of the live object": {
			reason: "it does not keep the object from being changed",
			kind:   "ConfigMap", first: &object{config, "", "old"}, edit: patch("labels", "prune", "disabled"), set: object{config, "", "new"},
			want: apply.Configured, value: "new", pruned: apply.Skipped,
		},
		"another value": {
			reason: "a value that is no word of the marker does nothing",
			kind:   "ConfigMap", first: &object{config, "", "old"}, edit: patch("labels", "reconcile", "false"), set: object{config, mark("annotations", "ssa", "Never"), "new"},
			want: apply.Configured, value: "new", pruned: apply.Deleted,
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			ref := b.ref(c.kind, map[string]string{"ConfigMap": "config", "Job": "job"}[c.kind])
			doc := func(o *object) string { return fmt.Sprintf(o.text, o.marker, o.value) }
			if c.live != "" {
				b.create(c.live)
			}
			if c.first != nil {
				b.mustApply(doc(c.first), apply.Options{})
			}
			if c.edit != "" {
				manager := "somebody"
				if strings.Contains(c.edit, "added") {
					manager = "kubectl-edit"
				}
				b.edit(ref, manager, c.edit)
				b.seen(b.get(ref).GetResourceVersion(), ref)
			}
			r, err := b.apply(doc(&c.set), apply.Options{})
			got := apply.Action("")
			if err == nil {
				got = r.Changes[0].Action
			} else if !strings.Contains(err.Error(), "dry-run failed (Invalid)") {
				t.Errorf("apply: %v", err)
			}
			same(t, c.reason, c.want, got)
			same(t, "the value in the end", c.value, b.value(c.kind))
			if err == nil {
				same(t, "a skipped object is in the inventory, and its health does not count",
					[]int{1, map[bool]int{true: 0, false: 1}[got == apply.Skipped]},
					[]int{len(r.Changes.Inventory().Entries), len(r.Changes.Applied())})
			}
			p, err := b.applier.Prune(b.ctx(), b.factory.Own(), b.owner, b.refs(c.kind, ref.Name), apply.PruneOptions{})
			if err != nil {
				t.Fatal(err)
			}
			same(t, "pruned", c.pruned, p.Changes[0].Action)
		})
	}
}

// seen waits until the hub has seen the version of an object.
func (b *bench) seen(version string, ref interface{ String() string }) {
	b.t.Helper()
	for {
		for _, found := range b.hub.Labelled(b.owner.ID, b.owner.Prefix+"/name", b.owner.Prefix+"/namespace") {
			if live, _ := b.hub.Lookup(found.ID, b.owner.Prefix+"/name"); found.String() == ref.String() &&
				health.Revision(live.ResourceVersion) >= health.Revision(version) {
				return
			}
		}
		b.settleBriefly()
	}
}

// value tells what the ConfigMap or Job was made with.
func (b *bench) value(kind string) string {
	b.t.Helper()
	name := map[string]string{"ConfigMap": "config", "Job": "job"}[kind]
	if _, err := b.admin.Get(b.ctx(), b.ref(kind, name)); apierrors.IsNotFound(err) {
		return ""
	}
	if kind == "ConfigMap" {
		value := strings.Trim(b.field(b.ref(kind, name), "data", "key"), `"`)
		if b.field(b.ref(kind, name), "data", "added") != "" {
			value += " added"
		}
		return value
	}
	spec := b.field(b.ref(kind, name), "spec", "template", "spec", "containers")
	for _, image := range []string{"old", "new"} {
		if strings.Contains(spec, `"image":"`+image+`"`) {
			return image
		}
	}
	return spec
}
