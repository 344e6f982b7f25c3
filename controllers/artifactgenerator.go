package controllers

import (
	"context"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	ctrlsource "sigs.k8s.io/controller-runtime/pkg/source"

	sourcev1 "github.com/weir-dev/weir/api/source/v1"
	extensionsv1beta1 "github.com/weir-dev/weir/api/sourceextensions/v1beta1"
	"github.com/weir-dev/weir/reconcilers/engine"
	"github.com/weir-dev/weir/reconcilers/source/generator"
)

// generatorWorkers is how many ArtifactGenerators run at a time. Most of a run is reading and writing files.
const generatorWorkers = 4

// setupGenerator adds the controller of the ArtifactGenerator. It runs when its spec or an annotation changes, when a source has
// a new artifact, when somebody removes or changes an ExternalArtifact of its making, when an artifact is lost, and every hour.
func setupGenerator(p *Process) error {
	store, err := p.sharedStorage()
	if err != nil {
		return err
	}

	trees, err := p.sharedTrees()
	if err != nil {
		return err
	}

	dir, err := p.folder("weir-generator-")
	if err != nil {
		return err
	}

	// The context only bounds getting the informer.
	err = index(context.Background(), p, &extensionsv1beta1.ArtifactGenerator{}, bySource,
		func(g *extensionsv1beta1.ArtifactGenerator) []string {
			var refs []string
			for _, s := range g.Spec.Sources {
				refs = append(refs, ref(s.Kind, generator.SourceKey(g, s)))
			}

			return refs
		})
	if err != nil {
		return err
	}

	kind := generator.Kind(generator.Deps{
		Store: store, Trees: trees, Sources: generator.SourceFunc(p.generatorSource), Client: p.GetClient(), Dir: dir,
		NoCrossNamespaceRefs: p.NoCrossNamespaceRefs, RequeueDependency: p.RequeueDependency, Timeout: p.ReconciliationTimeout,
	})

	w := newWaker()
	p.storage.translate(sourcev1.ExternalArtifactKind, w, p.generatorOf)

	find := finder(p, &extensionsv1beta1.ArtifactGeneratorList{})

	return add(p, after(p.storage, kind), w, true, generatorWorkers,
		watchSource(p, sourcev1.GitRepositoryKind, &sourcev1.GitRepository{}, find),
		watchSource(p, sourcev1.OCIRepositoryKind, &sourcev1.OCIRepository{}, find),
		watchSource(p, sourcev1.BucketKind, &sourcev1.Bucket{}, find),
		watchSource(p, sourcev1.HelmChartKind, &sourcev1.HelmChart{}, find),
		watchSource(p, sourcev1.ExternalArtifactKind, &sourcev1.ExternalArtifact{}, find),
		ctrlsource.Kind(p.GetCache(), &sourcev1.ExternalArtifact{}, generated()))
}

// generatorSource finds a source that an ArtifactGenerator may have.
func (p *Process) generatorSource(ctx context.Context, kind string, key types.NamespacedName) (generator.Source, error) {
	return p.source(ctx, kind, key)
}

// generatorOf returns the generator that makes an ExternalArtifact.
func (p *Process) generatorOf(ctx context.Context, key types.NamespacedName) (types.NamespacedName, bool) {
	ea, err := cached(ctx, p, key, &sourcev1.ExternalArtifact{})
	if err != nil {
		return types.NamespacedName{}, false
	}

	return generator.MakerKey(ea)
}

// generated handles the events of ExternalArtifacts for those who made them: what somebody else removes or changes is put back.
// Another artifact in the status does not count, for it is what the generator itself writes.
func generated() handler.TypedFuncs[*sourcev1.ExternalArtifact, reconcile.Request] {
	wake := func(ea *sourcev1.ExternalArtifact, q queue) {
		if key, ok := generator.MakerKey(ea); ok {
			enqueue(q, key, engine.Drift)
		}
	}

	return handler.TypedFuncs[*sourcev1.ExternalArtifact, reconcile.Request]{
		UpdateFunc: func(_ context.Context, e event.TypedUpdateEvent[*sourcev1.ExternalArtifact], q queue) {
			if e.ObjectOld.Generation != e.ObjectNew.Generation ||
				e.ObjectNew.Status.Artifact == nil && e.ObjectOld.Status.Artifact != nil ||
				!sameAnnotations(e.ObjectOld.Labels, e.ObjectNew.Labels) {
				wake(e.ObjectOld, q) // who made it may have been edited out
			}
		},
		DeleteFunc: func(_ context.Context, e event.TypedDeleteEvent[*sourcev1.ExternalArtifact], q queue) {
			wake(e.Object, q)
		},
	}
}

// generatorKinds are the kinds of source-watcher.
func generatorKinds() []client.Object {
	return []client.Object{&extensionsv1beta1.ArtifactGenerator{}}
}
