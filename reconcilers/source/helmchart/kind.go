package helmchart

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/weir-dev/weir/api/meta"
	sourcev1 "github.com/weir-dev/weir/api/source/v1"
	"github.com/weir-dev/weir/reconcilers/artifact"
	"github.com/weir-dev/weir/reconcilers/charts"
	"github.com/weir-dev/weir/reconcilers/engine"
	"github.com/weir-dev/weir/reconcilers/flight"
	"github.com/weir-dev/weir/reconcilers/registry"
	"github.com/weir-dev/weir/reconcilers/secrets"
	"github.com/weir-dev/weir/reconcilers/source"
)

// Sources finds sources, in a cache.
type Sources interface {
	// Source returns a HelmRepository, GitRepository or Bucket. One that does not exist is an IsNotFound error.
	Source(ctx context.Context, kind string, key types.NamespacedName) (source.Object, error)

	// HelmRepositories returns those in the namespace, in any order.
	HelmRepositories(ctx context.Context, namespace string) ([]*sourcev1.HelmRepository, error)
}

// Deps are what the kind needs. All are required unless they say otherwise.
type Deps struct {
	// Store keeps the artifacts, and the indexes of the HelmRepositories.
	Store *artifact.Store

	// Trees unpacks the artifacts of GitRepositories and Buckets.
	Trees *artifact.Trees

	// Secrets reads credentials.
	Secrets secrets.Reader

	// Sources finds sources.
	Sources Sources

	// Repositories and Registries are where charts are fetched from.
	Repositories *charts.Repositories
	Registries   *registry.Registries

	// Roots returns the trusted root of the public Sigstore, for signatures without a key. Nil makes those an error.
	Roots func(context.Context) ([]byte, error)

	// Revocation asks whether certificates of Notation are revoked. Nil makes verification by Notation an error.
	Revocation *http.Client

	// Limits of a chart. Zero fields take their defaults.
	Limits charts.Limits

	// RequeueDependency is when to look again at the latest for an artifact of a source, which usually is heard of before. Zero
	// means 30 s.
	RequeueDependency time.Duration

	// Workers is how many HelmCharts run at a time: see source.Lane. Zero means 10.
	Workers int

	// Patience is how long a server may take and not count as slow. Zero means 10 s.
	Patience time.Duration
}

// scope is what the steps of one run hand to each other.
type scope struct {
	started time.Time     // set by open
	source  source.Object // set by find
	origin  origin        // set by open
	chart   found         // set by resolve
	built   built         // set by build
	release []func()      // gives back what the run holds
}

func (s *scope) later(release func()) { s.release = append(s.release, release) }

// found is a chart that was found at its origin.
type found struct {
	// name and version of the chart in the artifact.
	name, version string
}

// file returns the name of the file of the artifact.
func (f found) file() string { return fmt.Sprintf("%s-%s.tgz", f.name, f.version) }

// check refuses what is no name of a file, or means something else in a URL. Both are up to who makes the chart.
func (f found) check() error {
	const (
		most    = 255
		allowed = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~+@"
	)

	name := f.file()

	switch {
	case len(name) > most:
		return fmt.Errorf("the name and the version of the chart have more than %d characters", most)
	case f.name == "", name[0] == '.', strings.Trim(name, allowed) != "":
		return fmt.Errorf("'%s' with version '%s' is no name of a chart", f.name, f.version)
	}

	return nil
}

// built is a chart in the storage.
type built struct {
	content      content
	packaged     bool     // it is not the one that somebody else has packaged
	values       []string // values files that were merged
	dependencies int      // charts that were added
}

// origin is where the chart of an object comes from.
type origin interface {
	// find tells which chart is meant. Its error is one of failed.
	find(ctx context.Context) (found, error)

	// build puts it into the storage. Its error is one of failed.
	build(ctx context.Context, f found) (built, error)
}

// reconciler holds what the steps share beyond one run.
type reconciler struct {
	Deps
	storage source.Storage
	lane    *source.Lane
	pulls   flight.Group[flight.Fingerprint, *pulled]

	verified flight.Memo[flight.Fingerprint, signed]   // images, by their digest and who has to have signed them
	made     flight.Memo[flight.Fingerprint, struct{}] // artifacts and the images that they were made of
}

const (
	// maxFacts bounds what is remembered of signatures.
	maxFacts = 10_000

	// Charts that were pulled a moment ago, for others that want them: how long, and how many bytes.
	pullAge  = time.Minute
	pullRoom = 256 << 20

	// readers is how many charts are read at a time. None waits for a server meanwhile, and each may take some hundred MiB.
	readers = 2
)

// Kind declares how a HelmChart is reconciled.
func Kind(d Deps) engine.Kind[*sourcev1.HelmChart, scope] {
	if d.RequeueDependency == 0 {
		d.RequeueDependency = 30 * time.Second
	}

	if d.Limits.Turns == nil {
		d.Limits.Turns = make(chan struct{}, readers)
	}

	storage := source.Storage{Store: d.Store, Kind: sourcev1.HelmChartKind}
	r := &reconciler{
		Deps: d, storage: storage, lane: source.NewLane(d.Workers, d.Patience),
		pulls: flight.Group[flight.Fingerprint, *pulled]{
			Age: pullAge, Room: pullRoom, Now: d.Repositories.Now,
			Weigh: func(p *pulled) int64 { return p.size }, Drop: func(p *pulled) { p.release() },
		},
		verified: flight.Memo[flight.Fingerprint, signed]{Size: maxFacts},
		made:     flight.Memo[flight.Fingerprint, struct{}]{Size: maxFacts},
	}

	return engine.Kind[*sourcev1.HelmChart, scope]{
		Name:       sourcev1.HelmChartKind,
		Controller: source.Controller,
		New:        func() *sourcev1.HelmChart { return &sourcev1.HelmChart{} },
		Finalizer:  meta.Finalizer,
		Interval:   func(obj *sourcev1.HelmChart) time.Duration { return obj.Spec.Interval.Duration },
		Ready:      source.Ready[*sourcev1.HelmChart, scope](),
		Open:       r.start,
		Close:      closeScope,
		Steps: engine.Steps[*sourcev1.HelmChart, scope]{
			source.CheckStep[*sourcev1.HelmChart, scope](storage),
			{
				Name: "find", Reason: sourcev1.SourceUnavailableReason,
				Condition: meta.FetchFailedCondition, Run: r.find,
			},
			{
				Name: "open", Reason: meta.AuthenticationFailedReason,
				Condition: meta.FetchFailedCondition, Run: r.open,
			},
			{Name: "resolve", Reason: sourcev1.UnknownReason, Condition: meta.BuildFailedCondition, Run: r.resolve},
			{
				Name: "verify", Reason: sourcev1.ChartVerificationErrorReason,
				Condition: meta.BuildFailedCondition, Run: r.verify,
			},
			{Name: "build", Reason: sourcev1.UnknownReason, Condition: meta.BuildFailedCondition, Run: r.build},
			{
				Name: "store", Reason: sourcev1.ArchiveOperationFailedReason,
				Condition: meta.StorageOperationFailedCondition, Run: r.store,
			},
		},
		Delete: engine.Steps[*sourcev1.HelmChart, scope]{
			source.RemoveStep[*sourcev1.HelmChart, scope](storage),
		},
		Events: events,
	}
}

// SourceKey returns what the object refers to. It has to run when that gets another artifact or generation.
func SourceKey(obj *sourcev1.HelmChart) (kind string, key types.NamespacedName) {
	ref := obj.Spec.SourceRef

	return ref.Kind, types.NamespacedName{Namespace: obj.Namespace, Name: ref.Name}
}

func (r *reconciler) start(_ context.Context, _ *sourcev1.HelmChart, s *scope) error {
	s.started = r.Repositories.Now()

	return nil
}

func closeScope(s *scope) {
	for _, release := range s.release {
		release()
	}
}
