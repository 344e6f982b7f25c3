package instance

import (
	"context"
	"fmt"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	fluxv1 "github.com/weir-dev/weir/api/controlplane/v1"
	"github.com/weir-dev/weir/reconcilers/access"
	"github.com/weir-dev/weir/reconcilers/apply"
	"github.com/weir-dev/weir/reconcilers/approval"
	"github.com/weir-dev/weir/reconcilers/engine"
	"github.com/weir-dev/weir/reconcilers/migration"
)

const (
	// planName is that of the ConfigMap beside the instance that holds the plan.
	planName = "flux-plan"

	// planLabel is on that ConfigMap. Another one of the name is left alone.
	planLabel = "fluxcd.controlplane.io/plan"

	// manyFields is how many fields of one object a plan names, and longLine how many bytes it has for one of them: definitions have
	// thousands, and everybody is to see the end of the plan.
	manyFields, longLine = 100, 500
)

// plan is what an upgrade is going to do.
type plan struct {
	digest  string // of all of it
	text    string // for people
	counts  string // in short
	refused bool   // it is none
}

// plan says what the target would change. It takes a read and a dry run of each object, and changes nothing. There is none for a target
// that is refused, whoever approves it.
func (r *reconciler) plan(ctx context.Context, obj *fluxv1.FluxInstance, s *scope) (*plan, error) {
	engine.Progress(ctx, "Planning revision "+s.set.Revision())
	key, err := r.PlanKey.Key(ctx, obj.UID, "spec.upgrade.mode Manual")
	if err != nil {
		return nil, err
	}
	if s.way == steady { // nothing but the operator changes
		text := heading(obj, s)
		return &plan{
			digest: approval.Digest(key, append([]string{s.set.Revision(), s.artifact(), s.set.Operator.String()}, text...)...),
			text:   strings.Join(text, "\n") + "\n", counts: approval.Counts(nil),
		}, nil
	}
	all, err := s.stored(ctx, obj)
	if err != nil {
		return nil, err
	}
	if slices.ContainsFunc(all, func(x replacement) bool { return x.refused != nil }) {
		return &plan{refused: true}, nil
	}
	leaving := s.leaving(obj)
	o := r.applyOptions(s)
	o.Key, o.Inventory = key, doomed(leaving)
	diff, err := s.Applier.Diff(ctx, s.Client, Owner(obj), outright(s.set.Objects, all), true, o)
	if err != nil {
		return nil, err
	}
	text := slices.Concat(heading(obj, s), changed(diff), left(leaving, diff), migrated(obj, all))
	return &plan{
		// What is not to be shown is in the digest of the differences.
		digest: approval.Digest(key, append([]string{s.set.Revision(), s.artifact(), diff.Digest}, text...)...),
		text:   strings.Join(text, "\n") + "\n", counts: approval.Counts(diff.Changes),
	}, nil
}

// publish writes the plan beside the instance, for who is to approve it.
func (r *reconciler) publish(ctx context.Context, obj *fluxv1.FluxInstance, s *scope, p *plan) error {
	return approval.Plan{
		Namespace: obj.Namespace, Name: planName, Label: planLabel, Manager: Manager,
		Owner: metav1.OwnerReference{
			APIVersion: fluxv1.GroupVersion.String(), Kind: fluxv1.FluxInstanceKind, Name: obj.Name, UID: obj.UID,
		},
		Digest: p.digest, Revision: s.set.Revision(), Text: p.text,
	}.Write(ctx, r.Home.Client)
}

// heading says how the release changes.
func heading(obj *fluxv1.FluxInstance, s *scope) []string {
	lines := []string{"Revision " + obj.Status.LastAppliedRevision + " -> " + s.set.Revision()}
	note := func(what, was, is string) {
		if was != is {
			lines = append(lines, fmt.Sprintf("  ~ %s: %q -> %q", what, was, is))
		}
	}
	note("artifact", obj.Status.LastArtifactRevision, s.artifact())
	was := obj.Status.Components
	for _, is := range s.set.Images {
		before := ""
		if i := slices.IndexFunc(was, func(c fluxv1.ComponentImage) bool { return c.Name == is.Name }); i >= 0 {
			before = reference(was[i])
		}
		note("image of "+is.Name, before, reference(is))
	}
	for _, c := range was {
		if !s.runs(c.Name) {
			note("image of "+c.Name, reference(c), "")
		}
	}
	if own, want := obj.Status.Operator, s.set.Operator.String(); own != nil && want != "" && !follows(want, own.Image) &&
		own.ManagedBy == fluxv1.OperatorManagedByWeir && obj.GetUpgrade().Operator == fluxv1.OperatorFollows {
		note("image of the operator", own.Image, want)
	}
	return lines
}

// reference writes an image as pods name it.
func reference(c fluxv1.ComponentImage) string {
	text := c.Repository
	if c.Tag != "" {
		text += ":" + c.Tag
	}
	if c.Digest != "" {
		text += "@" + c.Digest
	}
	return text
}

// changed says what becomes of the objects of the target.
func changed(diff *apply.Difference) []string {
	var lines []string
	for i, change := range diff.Changes {
		if change.Action == apply.Deleted {
			if slices.ContainsFunc(diff.Changes[i:], func(c apply.Change) bool { return c.Action == apply.Created && c.ID == change.ID }) {
				lines = append(lines, change.ID.String()+" is deleted, and made anew: it cannot be changed so")
			}
			continue
		}
		lines = append(lines, change.String())
		fields := diff.Fields[i]
		for _, field := range fields[:min(len(fields), manyFields)] {
			lines = append(lines, "  "+abridge(field))
		}
		if n := len(fields) - manyFields; n > 0 {
			lines = append(lines, fmt.Sprintf("  ... and %d fields more", n))
		}
	}
	return lines
}

// abridge cuts a line that nobody would read to its end.
func abridge(line string) string {
	line = strings.ReplaceAll(line, "\n", `\n`) // in the name of a field
	if len(line) <= longLine {
		return line
	}
	return strings.ToValidUTF8(line[:longLine], "") + fmt.Sprintf("... and %d bytes more", len(line)-longLine)
}

// doomed are the references to what is to be deleted.
func doomed(leaving []departure) []access.Ref {
	var refs []access.Ref
	for _, d := range leaving {
		if !d.stays {
			refs = append(refs, d.Ref)
		}
	}
	return refs
}

// left says what becomes of the objects that the target does not have, but for those that are gone, or nobody's business.
func left(leaving []departure, diff *apply.Difference) []string {
	var lines []string
	for _, d := range leaving {
		goes := slices.ContainsFunc(diff.Changes, func(c apply.Change) bool { return c.Action == apply.Deleted && c.ID == d.ID })
		if d.stays || goes {
			lines = append(lines, d.String())
		}
	}
	return lines
}

// stored compares all definitions of the target with those in the cluster.
func (s *scope) stored(ctx context.Context, obj *fluxv1.FluxInstance) ([]replacement, error) {
	var all []replacement
	for _, o := range s.set.Objects {
		if !isDefinition(access.Of(o)) {
			continue
		}
		x, err := s.compare(ctx, obj, o)
		if err != nil {
			return nil, err
		}
		if x.target != nil {
			all = append(all, x)
		}
	}
	return all, nil
}

// outright leaves out the definitions that the API server does not take, not even in a dry run, before objects are migrated.
func outright(objects []*unstructured.Unstructured, all []replacement) []*unstructured.Unstructured {
	return slices.DeleteFunc(slices.Clone(objects), func(o *unstructured.Unstructured) bool {
		return isDefinition(access.Of(o)) && slices.ContainsFunc(all, func(x replacement) bool {
			return x.task == migration.Objects && x.live.Name == o.GetName()
		})
	})
}

// migrated says what becomes of the definitions that are left out of a dry run, and of what is stored of custom resources.
func migrated(obj *fluxv1.FluxInstance, all []replacement) []string {
	var lines []string
	for _, x := range all {
		if x.task == migration.Objects {
			lines = append(lines, migration.Ref(x.live.Name).String()+" configured",
				fmt.Sprintf("  ~ versions: %s -> %s", strings.Join(x.live.Versions, ", "), strings.Join(x.target.Versions, ", ")))
		}
		if x.task != migration.Nothing {
			lines = append(lines, x.String())
		}
		old := slices.ContainsFunc(x.live.Stored, func(v string) bool { return v != x.target.Storage })
		if (old || x.live.Storage != x.target.Storage) && obj.GetMigrateResources() {
			lines = append(lines, fmt.Sprintf("all objects of %q are migrated to version %s when the revision works", x.live.Name, x.target.Storage))
		}
	}
	return lines
}
