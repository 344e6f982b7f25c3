package controllers

import (
	"context"
	"fmt"
	"path"
	"strings"

	"k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	logf "sigs.k8s.io/controller-runtime/pkg/log"

	sourcev1 "github.com/weir-dev/weir/api/source/v1"
	"github.com/weir-dev/weir/reconcilers/artifact"
)

// standby fetches the artifacts of the process that holds the lease into the storage of this one, until this one gets it: then
// all are there, and nothing has to be fetched from upstream before they are served.
type standby struct {
	process *Process
	storage *storage
}

// NeedLeaderElection implements manager.LeaderElectionRunnable.
func (*standby) NeedLeaderElection() bool { return false }

// Start implements manager.Runnable.
func (s *standby) Start(ctx context.Context) error {
	log := s.process.GetLogger().WithName("standby")

	mirror := artifact.NewMirror(ctx, artifact.MirrorOptions{
		Store: s.storage.store,
		Report: func(owner artifact.Owner, err error) {
			if err != nil {
				log.V(1).Info("An artifact could not be mirrored yet", "kind", owner.Kind, "namespace", owner.Namespace,
					"name", owner.Name, "error", err.Error())
			}
		},
	})
	defer mirror.Stop()

	if !s.storage.standBy(mirror) {
		return nil // this process holds the lease already
	}

	for _, obj := range s.process.stored() {
		informer, err := s.process.GetCache().GetInformer(ctx, obj)
		if err != nil {
			return fmt.Errorf("watch %T: %w", obj, err)
		}

		registration, err := informer.AddEventHandler(s.handler(mirror, obj))
		if err != nil {
			return fmt.Errorf("watch %T: %w", obj, err)
		}

		defer func() {
			if err := informer.RemoveEventHandler(registration); err != nil {
				logf.FromContext(ctx).Error(err, "A handler could not be removed")
			}
		}()
	}

	watching, end := context.WithCancel(ctx)
	defer end()

	go s.storage.audit(watching)

	select {
	case <-ctx.Done():
	case <-s.process.Elected():
	}

	return nil
}

// handler tells the mirror what the objects of a kind have.
func (s *standby) handler(mirror *artifact.Mirror, of artifacts) cache.ResourceEventHandler {
	want := func(raw any) {
		obj, ok := raw.(artifacts)
		if !ok {
			return
		}

		owner := ownerOf(of, obj)

		a := obj.GetArtifact()
		if a == nil || s.storage.store.URL(a.Path) != a.URL { // somebody else serves it
			mirror.Drop(owner)

			return
		}

		mirror.Want(owner, a, secondNames(obj)...)
	}

	return cache.ResourceEventHandlerFuncs{
		AddFunc:    want,
		UpdateFunc: func(_, obj any) { want(obj) },
		DeleteFunc: func(raw any) {
			if gone, ok := raw.(cache.DeletedFinalStateUnknown); ok {
				raw = gone.Obj
			}

			if obj, ok := raw.(artifacts); ok {
				mirror.Drop(ownerOf(of, obj))
			}
		},
	}
}

// ownerOf returns an object as the owner of artifacts, as the kinds themselves call it.
func ownerOf(kind, obj client.Object) artifact.Owner {
	return artifact.Owner{Kind: kindOf(kind), Namespace: obj.GetNamespace(), Name: obj.GetName()}
}

// kindOf returns the name of a kind of source.
func kindOf(obj client.Object) string {
	_, name, _ := strings.Cut(fmt.Sprintf("%T", obj), ".")

	return name
}

// secondNames are the second names of the artifact of an object.
func secondNames(obj client.Object) []string {
	url := ""

	switch o := obj.(type) {
	case *sourcev1.OCIRepository:
		url = o.Status.URL
	case *sourcev1.HelmRepository:
		url = o.Status.URL
	case *sourcev1.HelmChart:
		url = o.Status.URL
	case *sourcev1.Bucket:
		url = o.Status.URL
	}

	if url == "" {
		return nil
	}

	return []string{path.Base(url)}
}

// stored are the kinds of objects whose artifacts the components of this process keep.
func (p *Process) stored() []artifacts {
	var all []artifacts

	for _, c := range p.Components {
		for _, kind := range c.Artifacts {
			all = append(all, newSource(kind))
		}
	}

	return all
}

// standBy lets a mirror take care of the artifacts, unless this process has taken over.
func (s *storage) standBy(m *artifact.Mirror) bool {
	s.mu.Lock()
	defer s.mu.Unlock()

	if !s.over {
		s.mirror = m
	}

	return !s.over
}

// takeOver ends standing by: from now on, the artifacts are made here.
func (s *storage) takeOver() {
	s.mu.Lock()
	mirror := s.mirror
	s.mirror, s.over = nil, true
	s.mu.Unlock()

	if mirror != nil {
		mirror.Stop()
	}
}
