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
	digest string // of all of it
	text   string // for people
	counts string // in short
}

// plan says what the target would change. It takes a read and a dry run of each object, and changes nothing.
func (r *reconciler) plan(ctx context.Context, obj *fluxv1.FluxInstance, s *scope) (*plan, error) {
	engine.Progress(ctx, "Planning revision "+s.set.Revision())
	key, err := r.PlanKey.Key(ctx, obj.UID, "spec.upgrade.mode Manual")
	if err != nil {
		return nil, err
	}
	leaving := s.leaving(obj)
	o := r.applyOptions(s)
	o.Key, o.Inventory = key, doomed(leaving)
	diff, err := s.Applier.Diff(ctx, s.Client, Owner(obj), s.set.Objects, true, o)
	if err != nil {
		return nil, err
	}
	stored, err := s.migrations(ctx, obj)
	if err != nil {
		return nil, err
	}
	head := heading(obj, s)
	text := slices.Concat(head, changed(diff), left(leaving, diff), stored)
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

// migrations says what becomes of what is stored of the custom resources.
func (s *scope) migrations(ctx context.Context, obj *fluxv1.FluxInstance) ([]string, error) {
	var lines []string
	for _, o := range s.set.Objects {
		if !isDefinition(access.Of(o)) {
			continue
		}
		line, err := s.migration(ctx, obj, o)
		if err != nil {
			return nil, err
		}
		lines = append(lines, line...)
	}
	return lines, nil
}

func (s *scope) migration(ctx context.Context, obj *fluxv1.FluxInstance, manifest *unstructured.Unstructured) ([]string, error) {
	x, err := s.compare(ctx, obj, manifest)
	if err != nil || x.target == nil {
		return nil, err
	}
	var lines []string
	if x.refused != nil || x.task != migration.Nothing {
		lines = append(lines, x.String())
	}
	old := slices.ContainsFunc(x.live.Stored, func(v string) bool { return v != x.target.Storage })
	if old && x.refused == nil && obj.GetMigrateResources() {
		lines = append(lines, fmt.Sprintf("all objects of %q are migrated to version %s when the revision works", x.live.Name, x.target.Storage))
	}
	return lines, nil
}
