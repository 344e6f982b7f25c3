package controllers

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/opencontainers/go-digest"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/config"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/metrics"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	fluxv1 "github.com/weir-dev/weir/api/controlplane/v1"
	"github.com/weir-dev/weir/reconcilers/access"
	"github.com/weir-dev/weir/reconcilers/artifact"
	"github.com/weir-dev/weir/reconcilers/build"
	"github.com/weir-dev/weir/reconcilers/engine"
	"github.com/weir-dev/weir/reconcilers/events"
	"github.com/weir-dev/weir/reconcilers/remote"
)

// Options of a process. What they mean is said with the flags of cmd/manager.
type Options struct {
	// Components to run, from Select.
	Components []Component

	// Config leads to the cluster.
	Config *rest.Config

	// Namespace that the process lives in.
	Namespace string

	// Hostname names the process in events.
	Hostname string

	// Pod is the name of the pod that runs the process, if one does.
	Pod string

	// UserAgent is sent with each API request.
	UserAgent string

	// Image of the process itself, from which the instance deploys the components.
	Image string

	// Version of the process, as the report tells it.
	Version string

	// ReportingInterval is the time between two reports. Zero means that of package report.
	ReportingInterval time.Duration

	MetricsAddr, HealthAddr, EventsAddr       string
	LeaderElection, ReleaseOnCancel           bool
	LeaseDuration, RenewDeadline, RetryPeriod time.Duration
	GracefulShutdownTimeout                   time.Duration

	WatchAllNamespaces    bool
	WatchLabelSelector    labels.Selector
	WatchConfigsSelector  labels.Selector
	NoCrossNamespaceRefs  bool
	DefaultServiceAccount string

	// DefaultWorkloadIdentityServiceAccount is whose cloud identity objects have that name none. Empty means
	// DefaultServiceAccount.
	DefaultWorkloadIdentityServiceAccount string

	// DefaultKubeconfigServiceAccount and KubeconfigRules are about remote clusters: see packages remote and access.
	DefaultKubeconfigServiceAccount string
	KubeconfigRules                 access.Rules

	// AdditiveReadyExpr and NoExternalArtifacts are those of packages kustomize and helm.
	AdditiveReadyExpr, NoExternalArtifacts bool

	// NoConfigWatches leaves changes of ConfigMaps and Secrets to the interval.
	NoConfigWatches bool

	Decryption DecryptionOptions

	// OverrideManagers are the beginnings of the names of field managers whose fields are taken over, and
	// ExactOverrideManagers whole names.
	OverrideManagers, ExactOverrideManagers []string

	Kustomizations KustomizationOptions

	// Concurrent is how many objects of a kind run at a time. Zero leaves it to the kind.
	Concurrent        int
	ConcurrentApply   int
	RequeueDependency time.Duration
	MinRetryDelay     time.Duration
	MaxRetryDelay     time.Duration
	Jitter            float64
	FetchRetries      int

	// ReconciliationTimeout bounds a run of an ArtifactGenerator. Zero means 10 minutes.
	ReconciliationTimeout time.Duration

	// TokenCacheSize is how many tokens of clouds are kept, and TokenCacheAge for how long at most.
	TokenCacheSize int
	TokenCacheAge  time.Duration

	// SSHKeyExchanges and SSHHostKeys are the algorithms that are offered to SSH servers. Empty means the usual ones.
	SSHKeyExchanges, SSHHostKeys []string

	Storage  StorageOptions
	Helm     HelmOptions
	Releases ReleaseOptions
}

// KustomizationOptions are those of package kustomize, and of its builds, that the zero value leaves as they usually are.
type KustomizationOptions struct {
	NoFailFast, NoCommitStatus bool

	// Lenient makes variables empty that are not set.
	Lenient bool

	// RemoteBases lets builds fetch remote bases.
	RemoteBases bool

	// Stages are kinds that are applied, and waited for, before others.
	Stages []schema.GroupKind
}

// ReleaseOptions are those of package helm that the zero value leaves as they usually are.
type ReleaseOptions struct {
	NoChartDigest, AllowDNS, Helm3Defaults, RetryByDefault bool

	// SnapshotDigest is the algorithm of the digests of releases. Empty means SHA-256.
	SnapshotDigest digest.Algorithm
}

// HelmOptions bound charts, in bytes. Zero means the default of package charts.
type HelmOptions struct {
	IndexBytes, ChartBytes, ChartFileBytes int64
}

// StorageOptions are those of the artifact store.
type StorageOptions struct {
	Path, ServeAddr, AdvertiseAddr string
	RetentionTTL                   time.Duration
	RetentionRecords               int
	DigestAlgorithm                string
}

// Process is the manager of a process and what its controllers share.
type Process struct {
	Options
	manager.Manager

	engine   engine.Options
	access   *access.Factory
	history  *history
	events   *events.Recorder
	secrets  *reads[*corev1.Secret]
	accounts *reads[*corev1.ServiceAccount]
	network  *network         // of the sources; nil until one asks for it
	storage  *storage         // of the sources; nil until one asks for it
	trees    *artifact.Trees  // of all; nil until one asks for it
	delivery *delivery        // of the appliers; nil until one asks for it
	configs  *configs         // of all but the operator; nil until one asks for them
	clusters *remote.Clusters // of all but the operator; nil until one asks for them
	builder  *build.Builder   // of all; nil until one asks for it
	held     []*os.File       // open as long as the process lives
}

// New makes the process with the controllers of its components. Nothing runs before Start.
func New(o Options) (*Process, error) {
	scheme, err := Scheme()
	if err != nil {
		return nil, err
	}

	count, err := countRequests(metrics.Registry)
	if err != nil {
		return nil, err
	}

	past := newHistory()
	o.Config = rest.CopyConfig(o.Config)
	o.Config.Wrap(count)
	o.Config.Wrap(past.transport)

	api, err := access.New(o.direct(), access.Options{UserAgent: o.UserAgent})
	if err != nil {
		return nil, fmt.Errorf("make API access: %w", err)
	}

	if err := o.awaitKinds(context.Background(), api, scheme); err != nil {
		return nil, err
	}

	mo := o.manager(scheme)
	mo.Cache.NewInformer = past.informer

	mgr, err := manager.New(o.managed(), mo)
	if err != nil {
		return nil, fmt.Errorf("make manager: %w", err)
	}

	if err := mgr.Add(past); err != nil {
		return nil, fmt.Errorf("add the watch over the past: %w", err)
	}

	p := &Process{Options: o, Manager: mgr, access: api, history: past}
	p.secrets = newReads(p.GetAPIReader(), func() *corev1.Secret { return &corev1.Secret{} }, weight)
	p.accounts = newReads(p.GetAPIReader(), func() *corev1.ServiceAccount { return &corev1.ServiceAccount{} }, nil)

	if p.engine, err = p.engineOptions(); err != nil {
		return nil, err
	}

	for _, c := range o.Components {
		if c.Setup == nil {
			mgr.GetLogger().Info("This version has no reconcilers of the component: it only answers its probes", "component", c.Name)

			continue
		}

		if err := c.Setup(p); err != nil {
			return nil, fmt.Errorf("set up %s: %w", c.Name, err)
		}
	}

	return p, p.addProbes()
}

// lastEvents is how long a process that ends writes the events that wait.
const lastEvents = 5 * time.Second

// Start runs the controllers until the context ends, and has the events of their last runs written.
func (p *Process) Start(ctx context.Context) error {
	ctxEvents := context.WithoutCancel(ctx) // a run ends later than the context

	p.events.Start(ctxEvents)

	err := p.Manager.Start(ctx)

	ctxEvents, cancel := context.WithTimeout(ctxEvents, lastEvents)
	defer cancel()
	p.events.Close(ctxEvents)

	return err //nolint:wrapcheck // says what ended
}

func (o Options) manager(scheme *runtime.Scheme) manager.Options {
	readYourWrites := true
	m := manager.Options{
		Scheme:                        scheme,
		Metrics:                       metricsserver.Options{BindAddress: o.MetricsAddr, ExtraHandlers: pprofHandlers()},
		HealthProbeBindAddress:        o.HealthAddr,
		LeaderElection:                o.LeaderElection,
		LeaderElectionID:              o.leaseName(),
		LeaderElectionNamespace:       o.Namespace,
		LeaderElectionReleaseOnCancel: o.ReleaseOnCancel,
		LeaseDuration:                 &o.LeaseDuration,
		RenewDeadline:                 &o.RenewDeadline,
		RetryPeriod:                   &o.RetryPeriod,
		GracefulShutdownTimeout:       &o.GracefulShutdownTimeout,
		Client: client.Options{Cache: &client.CacheOptions{
			DisableFor:                      []client.Object{&corev1.Secret{}, &corev1.ConfigMap{}, &corev1.ServiceAccount{}},
			EnableReadYourWritesConsistency: &readYourWrites,
		}},
		Cache:      o.cache(),
		Controller: config.Controller{CacheSyncTimeout: 2 * time.Minute},
	}

	return m
}

// leaseName is that of the components; a shard has a lease of its own.
func (o Options) leaseName() string {
	name := LeaseName(o.Components)
	if o.WatchLabelSelector != nil && !o.WatchLabelSelector.Empty() {
		name += "-" + shortHash(o.WatchLabelSelector.String())
	}

	return name
}

// cache keeps what the controllers watch, without the fields that nobody reads. ConfigMaps and Secrets are watched by
// their metadata, and only those that ask for it.
func (o Options) cache() cache.Options {
	c := cache.Options{
		DefaultTransform: cache.TransformStripManagedFields(),
		ByObject:         map[client.Object]cache.ByObject{},
	}

	if !o.WatchAllNamespaces {
		c.DefaultNamespaces = map[string]cache.Config{o.Namespace: {}}
	}

	for _, component := range o.Components {
		if component.Kinds == nil || o.WatchLabelSelector == nil || o.WatchLabelSelector.Empty() {
			continue
		}

		for _, obj := range component.Kinds() {
			c.ByObject[obj] = cache.ByObject{Label: o.WatchLabelSelector}
		}
	}

	// There is one report, and it lives beside the operator. Instances of remote clusters live anywhere.
	c.ByObject[&fluxv1.FluxReport{}] = cache.ByObject{
		Namespaces: map[string]cache.Config{o.Namespace: {}}, Field: fields.OneTermEqualSelector("metadata.name", fluxv1.InstanceName),
	}

	for _, kind := range []string{"ConfigMap", "Secret"} {
		obj := &metav1.PartialObjectMetadata{}
		obj.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind(kind))
		c.ByObject[obj] = cache.ByObject{Label: o.WatchConfigsSelector}
	}

	return c
}

func (p *Process) engineOptions() (engine.Options, error) {
	m, err := engine.NewMetrics(metrics.Registry)
	if err != nil {
		return engine.Options{}, fmt.Errorf("register metrics: %w", err)
	}

	p.events, err = events.New(p.access.Own(), events.Options{
		Instance: p.Hostname, Log: p.GetLogger().WithName("events"), Metrics: metrics.Registry,
	})
	if err != nil {
		return engine.Options{}, fmt.Errorf("make event recorder: %w", err)
	}

	recorders := engine.Recorders{Cluster: p.events}

	if p.EventsAddr != "" {
		sink := engine.NewSink(p.EventsAddr, p.Hostname)
		recorders.Sink = sink

		if err := p.Add(sink); err != nil {
			return engine.Options{}, fmt.Errorf("add event sink: %w", err)
		}
	}

	return engine.Options{
		Client: p.GetClient(), Recorder: recorders, Metrics: m,
		MinRetryDelay: p.MinRetryDelay, MaxRetryDelay: p.MaxRetryDelay, Jitter: p.Jitter,
	}, nil
}

// addProbes serves /healthz and /readyz. A process is ready when it could take its place: that it waits for its lease is no
// reason to keep a new version from replacing an old one.
func (p *Process) addProbes() error {
	if err := p.AddHealthzCheck("ping", healthz.Ping); err != nil {
		return fmt.Errorf("add health check: %w", err)
	}

	if err := p.AddReadyzCheck("ping", healthz.Ping); err != nil {
		return fmt.Errorf("add readiness check: %w", err)
	}

	return nil
}
