package controllers

import (
	"context"
	"maps"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	logf "sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	fluxv1 "github.com/weir-dev/weir/api/controlplane/v1"
	"github.com/weir-dev/weir/reconcilers/engine"
	"github.com/weir-dev/weir/reconcilers/expression"
	"github.com/weir-dev/weir/reconcilers/resourceset"
)

const (
	// resourceSetWorkers is how many ResourceSets run at a time. None waits beyond a blink.
	resourceSetWorkers = 16

	// maxDependencyDelay is how long a change of a dependency that cannot be watched takes to be seen.
	maxDependencyDelay = 5 * time.Second
)

// setupResourceSet adds the controller of the ResourceSet. It runs when its spec or an annotation changes, when a provider of its inputs
// has exported others, when a ConfigMap or Secret with the watch label changes that it uses, when a dependency that it waits for changes,
// when something that it applied is no longer as it was or has become healthy, and at its interval.
func setupResourceSet(p *Process) error {
	d, err := p.sharedDelivery()
	if err != nil {
		return err
	}

	expressions, err := expression.New()
	if err != nil {
		return err
	}

	w := newWaker()
	d.route(fluxv1.ResourceSetKind, w)

	links := &resourceset.Links{}
	kind := resourceset.Kind(resourceset.Deps{
		Providers: inputProviders{p}, Access: p.access, Applier: d.applier, Hub: d.hub, Expressions: expressions, Links: links,
		Wake:                  func(key types.NamespacedName) { w.Wake(key, engine.Changed) },
		DefaultServiceAccount: p.DefaultServiceAccount, NoCrossNamespaceRefs: p.NoCrossNamespaceRefs,
		RequeueDependency: min(p.RequeueDependency, maxDependencyDelay), Concurrency: p.ConcurrentApply, Takeovers: p.takeovers(),
	})

	watches := append(p.watchConfigs(p.sharedConfigs(), users(links)),
		source.Kind(p.GetCache(), &fluxv1.ResourceSetInputProvider{}, providerEvents(p.fedBy)))

	return add(p, kind, w, true, resourceSetWorkers, watches...)
}

// users finds the ResourceSets that use a ConfigMap or Secret.
func users(links *resourceset.Links) lookup {
	return func(_ context.Context, _, value string) []types.NamespacedName {
		kind, key, _ := strings.Cut(value, "/")
		namespace, name, _ := strings.Cut(key, "/")

		return links.To(kind, types.NamespacedName{Namespace: namespace, Name: name})
	}
}

// inputProviders finds providers of inputs in the cache, without copying them.
type inputProviders struct{ *Process }

// Provider implements resourceset.Providers.
func (p inputProviders) Provider(ctx context.Context, key types.NamespacedName) (*fluxv1.ResourceSetInputProvider, error) {
	obj := &fluxv1.ResourceSetInputProvider{}

	return obj, p.GetClient().Get(ctx, key, obj, client.UnsafeDisableDeepCopy) //nolint:wrapcheck // the steps say what it means
}

// Providers implements resourceset.Providers.
func (p inputProviders) Providers(
	ctx context.Context, namespace string, selector labels.Selector,
) ([]fluxv1.ResourceSetInputProvider, error) {
	list := &fluxv1.ResourceSetInputProviderList{}
	err := p.GetClient().List(ctx, list, client.InNamespace(namespace), client.MatchingLabelsSelector{Selector: selector},
		client.UnsafeDisableDeepCopy)

	return list.Items, err //nolint:wrapcheck // the steps say what it means
}

// fedBy returns the ResourceSets of the namespace that take inputs from a provider of the name or with some of the labels.
func (p *Process) fedBy(ctx context.Context, key types.NamespacedName, marks ...map[string]string) []types.NamespacedName {
	list := &fluxv1.ResourceSetList{}

	err := p.GetClient().List(ctx, list, client.InNamespace(key.Namespace), client.UnsafeDisableDeepCopy, client.DisableReadYourWritesConsistency)
	if err != nil {
		logf.FromContext(ctx).Error(err, "ResourceSets could not be looked up", "namespace", key.Namespace)
	}

	var keys []types.NamespacedName

	for i := range list.Items {
		if takesFrom(&list.Items[i], key.Name, marks) {
			keys = append(keys, client.ObjectKeyFromObject(&list.Items[i]))
		}
	}

	return keys
}

// takesFrom tells whether a ResourceSet takes inputs from a provider with the name, or that had one of the sets of labels.
func takesFrom(obj *fluxv1.ResourceSet, name string, marks []map[string]string) bool {
	for _, from := range obj.Spec.InputsFrom {
		if from.Name != "" {
			if from.Name == name {
				return true
			}

			continue
		}

		selector, err := metav1.LabelSelectorAsSelector(from.Selector)
		if err != nil {
			continue // the ResourceSet says so
		}

		for _, m := range marks {
			if selector.Matches(labels.Set(m)) {
				return true
			}
		}
	}

	return false
}

// providerEvents makes ResourceSets run when a provider of their inputs comes, goes, exports other inputs, or has other labels.
func providerEvents(
	fed func(ctx context.Context, key types.NamespacedName, marks ...map[string]string) []types.NamespacedName,
) handler.TypedFuncs[*fluxv1.ResourceSetInputProvider, reconcile.Request] {
	wake := func(ctx context.Context, q queue, obj *fluxv1.ResourceSetInputProvider, marks ...map[string]string) {
		for _, key := range fed(ctx, client.ObjectKeyFromObject(obj), marks...) {
			enqueue(q, key, engine.Changed)
		}
	}

	return handler.TypedFuncs[*fluxv1.ResourceSetInputProvider, reconcile.Request]{
		CreateFunc: func(ctx context.Context, e event.TypedCreateEvent[*fluxv1.ResourceSetInputProvider], q queue) {
			if !e.IsInInitialList {
				wake(ctx, q, e.Object, e.Object.Labels)
			}
		},
		UpdateFunc: func(ctx context.Context, e event.TypedUpdateEvent[*fluxv1.ResourceSetInputProvider], q queue) {
			if feeds(e.ObjectOld, e.ObjectNew) {
				wake(ctx, q, e.ObjectNew, e.ObjectOld.Labels, e.ObjectNew.Labels)
			}
		},
		DeleteFunc: func(ctx context.Context, e event.TypedDeleteEvent[*fluxv1.ResourceSetInputProvider], q queue) {
			wake(ctx, q, e.Object, e.Object.Labels)
		},
	}
}

// feeds tells whether an update of a provider may bring other inputs.
func feeds(before, after *fluxv1.ResourceSetInputProvider) bool {
	return before.UID != after.UID || before.Status.LastExportedRevision != after.Status.LastExportedRevision ||
		len(before.Status.ExportedInputs) != len(after.Status.ExportedInputs) ||
		len(before.Status.Conditions) == 0 && len(after.Status.Conditions) > 0 || !maps.Equal(before.Labels, after.Labels)
}
