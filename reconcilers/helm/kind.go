package helm

import (
	"cmp"
	"context"
	"time"

	"github.com/opencontainers/go-digest"
	"helm.sh/helm/v3/pkg/chart"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v2 "github.com/weir-dev/weir/api/helm/v2"
	"github.com/weir-dev/weir/api/meta"
	"github.com/weir-dev/weir/reconcilers/access"
	"github.com/weir-dev/weir/reconcilers/apply"
	"github.com/weir-dev/weir/reconcilers/artifact"
	"github.com/weir-dev/weir/reconcilers/charts"
	"github.com/weir-dev/weir/reconcilers/engine"
	"github.com/weir-dev/weir/reconcilers/expression"
	"github.com/weir-dev/weir/reconcilers/health"
	"github.com/weir-dev/weir/reconcilers/helm/kube"
	"github.com/weir-dev/weir/reconcilers/helm/render"
	"github.com/weir-dev/weir/reconcilers/helm/state"
	records "github.com/weir-dev/weir/reconcilers/helm/storage"
	"github.com/weir-dev/weir/reconcilers/helm/values"
	"github.com/weir-dev/weir/reconcilers/remote"
)

// Controller is the source of the events, the owner of the status, and the field manager of the applied objects.
const Controller = "helm-controller"

// Sources finds sources, in a cache. Kind is HelmChart, OCIRepository or ExternalArtifact. A source that does not exist is an
// IsNotFound error.
type Sources interface {
	Source(ctx context.Context, kind string, key types.NamespacedName) (client.Object, error)
}

// SourceFunc is a function as Sources.
type SourceFunc func(ctx context.Context, kind string, key types.NamespacedName) (client.Object, error)

// Source implements Sources.
func (f SourceFunc) Source(ctx context.Context, kind string, key types.NamespacedName) (client.Object, error) {
	return f(ctx, kind, key)
}

// Dependencies finds HelmReleases that others depend on. One that does not exist is an IsNotFound error.
type Dependencies interface {
	HelmRelease(ctx context.Context, key types.NamespacedName) (*v2.HelmRelease, error)
}

// DependencyFunc is a function as Dependencies.
type DependencyFunc func(ctx context.Context, key types.NamespacedName) (*v2.HelmRelease, error)

// HelmRelease implements Dependencies.
func (f DependencyFunc) HelmRelease(ctx context.Context, key types.NamespacedName) (*v2.HelmRelease, error) {
	return f(ctx, key)
}

// Trees unpacks artifacts. *artifact.Trees is one.
type Trees interface {
	Open(ctx context.Context, a *meta.Artifact) (*artifact.Tree, error)
}

// Deps are what the kind needs. All are required unless they say otherwise.
type Deps struct {
	Sources      Sources
	Dependencies Dependencies
	Configs      values.Reader
	Trees        Trees

	// Access makes the clients of the cluster, and Applier and Hub work in it.
	Access  *access.Factory
	Applier *apply.Applier
	Hub     *health.Hub

	// Remote are the clusters of kubeconfigs. They wake as Access's Applier and Hub do.
	Remote *remote.Clusters

	// Builder runs the post-renderers. *build.Builder is one.
	Builder render.Transformer

	// Expressions compiles the expressions of health checks and dependencies.
	Expressions *expression.Compiler

	// Permits bound how many actions work at the same time, and RemotePermits how many of those that do so in remote clusters,
	// which may be slow and must not hold up all others. Those that wait do not count.
	Permits, RemotePermits *kube.Permits

	// ChartLimits bound what a chart may cost.
	ChartLimits charts.Limits

	// SnapshotDigest is the algorithm of the digests in the history. Empty means SHA-256.
	SnapshotDigest digest.Algorithm

	// AdditiveReadyExpr makes a dependency with an expression meet what one without has to meet, too (feature gate
	// AdditiveCELDependencyCheck). Otherwise the expression alone decides.
	AdditiveReadyExpr bool

	// NoCrossNamespaceRefs forbids sources in other namespaces.
	NoCrossNamespaceRefs bool

	// NoExternalArtifacts forbids sources of the kind ExternalArtifact (feature gate ExternalArtifact, switched off).
	NoExternalArtifacts bool

	// NoChartDigest leaves the digest out of the version of a chart from a registry (feature gate DisableChartDigestTracking).
	NoChartDigest bool

	// AllowDNS lets templates look hosts up (feature gate AllowDNSLookups).
	AllowDNS bool

	// Helm3Defaults makes what the spec leaves open what it was with Helm 3 (feature gate UseHelm3Defaults): objects are not applied
	// on the server's side, hooks are not post-rendered, and waits are those of Helm.
	Helm3Defaults bool

	// RetryByDefault retries failures where the spec does not say what to do about them (feature gate DefaultToRetryOnFailure).
	RetryByDefault bool

	// DefaultServiceAccount is impersonated by HelmReleases that name no service account. Empty means that they act as the
	// process.
	DefaultServiceAccount string

	// RequeueDependency is when to look again for what is missing, if nothing wakes the object before. Zero means 30 s.
	RequeueDependency time.Duration

	// Now is the clock. Nil means the machine's.
	Now func() time.Time
}

// Owner returns who releases the objects of the HelmRelease: the key under which the applier and the hub know it.
func Owner(key types.NamespacedName) apply.Owner {
	return apply.Owner{
		ID:     access.ID{Group: v2.Group, Kind: v2.HelmReleaseKind, Namespace: key.Namespace, Name: key.Name},
		Prefix: v2.Group, Manager: Controller,
	}
}

// scope is what the steps of one run hand to each other.
type scope struct {
	permit kube.Permit // to compute; set by release and uninstall
	tree   *artifact.Tree

	rules map[schema.GroupKind]health.Rule // how healthy custom objects are; set by compile

	artifact  *meta.Artifact // set by resolve
	values    map[string]any // set by load
	files     *charts.Source // of the chart; set by fetch
	path      string         // of the chart among the files
	metadata  *chart.Metadata
	ociDigest string // of the chart, if it came from a registry

	chart     *chart.Chart // shared; see reconciler.chart
	giveChart func()

	site   *reconciler    // works in the cluster of the release; set by enter
	visit  *remote.Visit  // of a remote cluster, while something is done there
	client *access.Client // acts as the service account; set by enter

	memory    *records.Memory // of what Helm has stored; set by remember
	remembers string          // in which namespace

	// saved tells that the status says where Helm keeps the release.
	saved bool

	// recalled tells that a release was made of which the status did not tell; set by release.
	recalled bool

	// compared tells that the cluster was compared with the release; set by release.
	compared bool

	// summed tells that the conditions of the actions say how the run went; set by release.
	summed bool
}

// reconciler holds what the steps share beyond one run. That of a remote cluster has the Access, Applier and Hub of that one.
type reconciler struct {
	Deps
	shelf *shelf
}

// Kind declares how a HelmRelease is reconciled.
func Kind(d Deps) engine.Kind[*v2.HelmRelease, scope] {
	if d.Now == nil {
		d.Now = time.Now
	}

	d.RequeueDependency = cmp.Or(d.RequeueDependency, 30*time.Second)
	d.SnapshotDigest = cmp.Or(d.SnapshotDigest, digest.SHA256)
	r := &reconciler{Deps: d, shelf: &shelf{}}

	return engine.Kind[*v2.HelmRelease, scope]{
		Name:       v2.HelmReleaseKind,
		Controller: Controller,
		New:        func() *v2.HelmRelease { return &v2.HelmRelease{} },
		Open:       r.complete,
		Finalizer:  meta.Finalizer,
		Interval:   func(obj *v2.HelmRelease) time.Duration { return obj.Spec.Interval.Duration },
		Ready:      summarize,
		Close:      closeRun,
		Steps: engine.Steps[*v2.HelmRelease, scope]{
			{Name: "compile", Reason: meta.InvalidCELExpressionReason, Run: r.compile},
			{Name: "template", Reason: v2.HelmChartSyncErrorReason, Run: r.template},
			{Name: "depend", Reason: meta.DependencyNotReadyReason, Run: r.depend},
			{Name: "resolve", Reason: meta.ArtifactFailedReason, Run: r.resolve},
			{Name: "load", Reason: v2.ValuesErrorReason, Run: r.load},
			{Name: "fetch", Reason: meta.ArtifactFailedReason, Run: r.fetch},
			{Name: "release", Reason: v2.StateErrorReason, Run: r.release},
		},
		Delete: engine.Steps[*v2.HelmRelease, scope]{
			{Name: "remove", Reason: v2.UninstallFailedReason, Run: r.remove},
			{Name: "untemplate", Reason: v2.HelmChartSyncErrorReason, Run: r.untemplate},
		},
		Failure: failure,
		Forget: func(key types.NamespacedName) {
			r.Applier.Forget(Owner(key).ID)
			r.Remote.Release(Owner(key).ID)
		},
	}
}

func closeRun(s *scope) {
	if s.giveChart != nil {
		s.giveChart()
	}

	if s.files != nil {
		_ = s.files.Close() // it was only read
	}

	if s.tree != nil {
		s.tree.Close()
	}

	if s.permit != nil {
		s.permit.Release()
	}

	if s.visit != nil {
		s.visit.Leave()
	}
}

// wanted is what is to be released.
func (s *scope) wanted() state.Wanted { return state.Wanted{Chart: s.metadata, Values: s.values} }
