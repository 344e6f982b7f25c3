package report

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	apiequality "k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	fluxv1 "github.com/weir-dev/weir/api/controlplane/v1"
	"github.com/weir-dev/weir/api/meta"
	"github.com/weir-dev/weir/reconcilers/access"
	"github.com/weir-dev/weir/reconcilers/engine"
)

// Manager is the field manager of the report and of its status.
const Manager = "flux-operator"

// DefaultInterval is the time between two reports.
const DefaultInterval = 5 * time.Minute

// Deps are what the kind needs.
type Deps struct {
	// Client acts as the operator.
	Client *access.Client

	// Operator is what the report says of the process itself.
	Operator fluxv1.OperatorReport

	// Interval between two reports. Zero means DefaultInterval.
	Interval time.Duration

	// Metrics optionally take what was seen.
	Metrics *Metrics

	// Gone is called when the report was deleted. Nil means that nobody makes a new one.
	Gone func()

	// Now is the clock. Nil means the machine's.
	Now func() time.Time
}

// scope is what the steps of one run hand to each other.
type scope struct {
	started time.Time
	took    time.Duration
	survey  survey
	spec    fluxv1.FluxReportSpec
}

type reconciler struct{ Deps }

// Kind declares how the FluxReport is made. It has no finalizer: it leaves nothing behind, and must not keep anybody from
// taking the operator out.
func Kind(d Deps) engine.Kind[*fluxv1.FluxReport, scope] {
	r := newReconciler(d)
	return engine.Kind[*fluxv1.FluxReport, scope]{
		Name: fluxv1.FluxReportKind, Controller: Manager,
		New:      func() *fluxv1.FluxReport { return &fluxv1.FluxReport{} },
		Interval: func(obj *fluxv1.FluxReport) time.Duration { return obj.GetInterval(r.Interval) },
		Ready:    engine.FromVerdict(success),
		Steps: engine.Steps[*fluxv1.FluxReport, scope]{
			{Name: "survey", Reason: meta.ReconciliationFailedReason, Run: r.survey},
			{Name: "write", Reason: meta.ReconciliationFailedReason, Run: r.write},
		},
		Forget: func(types.NamespacedName) {
			if r.Gone != nil {
				r.Gone()
			}
		},
	}
}

func newReconciler(d Deps) *reconciler {
	if d.Interval == 0 {
		d.Interval = DefaultInterval
	}
	if d.Now == nil {
		d.Now = time.Now
	}
	return &reconciler{Deps: d}
}

// Create makes the report of the namespace, or writes it anew if there is one.
func Create(ctx context.Context, d Deps, namespace string) error {
	r := newReconciler(d)
	obj := &fluxv1.FluxReport{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: fluxv1.InstanceName}}
	s := &scope{}
	if err := r.survey(ctx, obj, s); err != nil {
		return err
	}
	return r.write(ctx, obj, s)
}

// success tells how long it took. With so many digits, no two reports say the same: the time that people see as that of the last
// report is the one of the last change of Ready.
func success(_ *fluxv1.FluxReport, s *scope) (reason, message string) {
	return meta.SucceededReason, "Reporting finished in " + s.took.Round(time.Microsecond).String()
}

// survey looks at the cluster.
func (r *reconciler) survey(ctx context.Context, obj *fluxv1.FluxReport, s *scope) error {
	s.started = r.Now()
	s.survey = survey{client: r.Client, namespace: obj.Namespace}
	err := s.survey.look(ctx)
	if err != nil {
		return err
	}
	s.spec.Operator, s.spec.Reconcilers = &r.Operator, s.survey.reconcilers
	if s.spec.Distribution, err = s.survey.distribution(ctx); err != nil {
		return err
	}
	if s.spec.Cluster, err = s.survey.cluster(ctx); err != nil {
		return err
	}
	if s.spec.Components, err = s.survey.components(ctx); err != nil {
		return err
	}
	s.spec.Sync, err = s.survey.sync(ctx)
	return err
}

// write brings the report into the cluster, if it says something new, and into the metrics.
func (r *reconciler) write(ctx context.Context, obj *fluxv1.FluxReport, s *scope) error {
	r.Metrics.set(s.survey.objects)
	if obj.UID == "" || !apiequality.Semantic.DeepEqual(obj.Spec, s.spec) {
		if err := r.apply(ctx, obj, s.spec); err != nil {
			return err
		}
	}
	s.took = r.Now().Sub(s.started)
	return nil
}

func (r *reconciler) apply(ctx context.Context, obj *fluxv1.FluxReport, spec fluxv1.FluxReportSpec) error {
	ref := access.Ref{Version: fluxv1.GroupVersion.Version, ID: access.ID{
		Group: fluxv1.GroupVersion.Group, Kind: fluxv1.FluxReportKind, Namespace: obj.Namespace, Name: obj.Name,
	}}
	body, err := json.Marshal(map[string]any{
		"apiVersion": fluxv1.GroupVersion.String(), "kind": fluxv1.FluxReportKind,
		"metadata": map[string]any{"namespace": obj.Namespace, "name": obj.Name},
		"spec":     spec,
	})
	if err != nil {
		return fmt.Errorf("encode the report: %w", err)
	}
	live, err := r.Client.Apply(ctx, ref, body, access.ApplyOptions{Manager: Manager, Force: true})
	if err != nil {
		return fmt.Errorf("write the report: %w", err)
	}
	obj.Spec = spec
	obj.Generation, obj.ResourceVersion = live.Generation, live.ResourceVersion // Ready is about what was just written
	return nil
}
