package operator

import (
	"context"
	"fmt"
	"sync"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/weir-dev/weir/reconcilers/access"
)

// Manager is the field manager of what is changed in the Deployment, and of the definitions.
const Manager = "flux-operator-upgrade"

// AbsentError says that no Deployment runs this process: it runs outside the cluster, or something else than a Deployment runs it.
type AbsentError struct{ Err error }

// Error implements error.
func (e *AbsentError) Error() string { return e.Err.Error() }

// Unwrap returns the cause.
func (e *AbsentError) Unwrap() error { return e.Err }

func absent(format string, args ...any) error { return &AbsentError{Err: fmt.Errorf(format, args...)} }

// Options of a Self.
type Options struct {
	// Client acts as the operator in the cluster that it runs in. It is required.
	Client *access.Client

	// Namespace and Pod name the pod of this process, as far as it has one.
	Namespace, Pod string

	// Image is what the process was told with --image.
	Image string
}

// Self is the operator as the cluster sees it. Its methods may be called concurrently.
type Self struct {
	options Options

	mu   sync.Mutex
	home *home
}

// New returns the operator. It sends no request.
func New(o Options) *Self { return &Self{options: o} }

// home is what does not change while the process lives.
type home struct {
	deployment *owned // by name and UID
	container  string // its name
	running    Build
}

// owned is an object that an owner reference leads to.
type owned struct {
	access.Ref
	uid string
}

// Build is an image, and how the program in it is told of it.
type Build struct {
	Image    string // of the container
	Argument string // the value of its argument --image
}

// State is the Deployment of the operator.
type State struct {
	// Deployment is its name.
	Deployment access.ID

	// ManagedBy says who else looks after it, and is empty if nobody does.
	ManagedBy string

	// Unfit says why it cannot be given another image, and is empty if it can.
	Unfit string

	// Running is what this process runs, as its ReplicaSet has it, and Wanted what the Deployment asks for. They differ while a
	// rollout takes place.
	Running, Wanted Build

	place place
	live  *appsv1.Deployment
}

// Rolling tells whether the Deployment asks for something else than what this process runs.
func (s State) Rolling() bool { return s.Running != s.Wanted }

// Observe finds the Deployment. An *AbsentError says that there is none.
func (s *Self) Observe(ctx context.Context) (State, error) {
	h, err := s.find(ctx)
	if err != nil {
		return State{}, err
	}
	live := &appsv1.Deployment{}
	if err := s.get(ctx, h.deployment.Ref, live); err != nil {
		return State{}, err
	}
	if string(live.UID) != h.deployment.uid {
		return State{}, absent("%s is another one than that which runs this process", h.deployment.ID)
	}
	state := State{Deployment: h.deployment.ID, ManagedBy: managerOf(live), Running: h.running, live: live}
	if state.place, err = locate(live.Spec.Template.Spec, h.container, s.options.Image); err != nil {
		state.Unfit = err.Error()
		return state, nil //nolint:nilerr // it is what was seen
	}
	state.Wanted, state.Unfit = state.place.Build, unfit(live.Spec)
	return state, nil
}

// find follows the owners of the pod. What it finds is kept: a pod never changes its owner.
func (s *Self) find(ctx context.Context) (*home, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.home != nil {
		return s.home, nil
	}
	if s.options.Pod == "" {
		return nil, absent("the process does not know its pod")
	}
	pod := &corev1.Pod{}
	ref := access.Ref{ID: access.ID{Kind: "Pod", Namespace: s.options.Namespace, Name: s.options.Pod}, Version: "v1"}
	if err := s.get(ctx, ref, pod); err != nil {
		return nil, orAbsent(err, "there is no %s", ref.ID)
	}
	above, err := ownerOf(ref.ID, pod, "ReplicaSet")
	if err != nil {
		return nil, err
	}
	set := &appsv1.ReplicaSet{}
	if err := s.get(ctx, above.Ref, set); err != nil {
		return nil, orAbsent(err, "there is no %s", above.ID)
	}
	deployment, err := ownerOf(above.ID, set, "Deployment")
	if err != nil {
		return nil, err
	}
	place, err := locate(set.Spec.Template.Spec, "", s.options.Image)
	if err != nil {
		return nil, absent("%s: %w", above.ID, err)
	}
	s.home = &home{deployment: deployment, container: place.name, running: place.Build}
	return s.home, nil
}

func (s *Self) get(ctx context.Context, ref access.Ref, into any) error {
	live, err := s.options.Client.Get(ctx, ref)
	if err != nil {
		return fmt.Errorf("get %q: %w", ref.ID, err)
	}
	return decode(live, into)
}

func decode(live *unstructured.Unstructured, into any) error {
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(live.Object, into); err != nil {
		return fmt.Errorf("decode %q: %w", access.Of(live).ID, err)
	}
	return nil
}

func orAbsent(err error, format string, id access.ID) error {
	if apierrors.IsNotFound(err) {
		return absent(format, id)
	}
	return err
}

// ownerOf returns the controller of an object, which has to be of a kind of apps/v1.
func ownerOf(id access.ID, obj metav1.Object, kind string) (*owned, error) {
	owner := metav1.GetControllerOf(obj)
	if owner == nil {
		return nil, absent("%s has no controller", id)
	}
	if gv, err := schema.ParseGroupVersion(owner.APIVersion); err != nil || gv.Group != appsv1.GroupName || owner.Kind != kind {
		return nil, absent("%s is controlled by the %s %q, and not by a %s", id, owner.Kind, owner.Name, kind)
	}
	return &owned{
		Ref: access.Ref{
			ID:      access.ID{Group: appsv1.GroupName, Kind: kind, Namespace: id.Namespace, Name: owner.Name},
			Version: appsv1.SchemeGroupVersion.Version,
		},
		uid: string(owner.UID),
	}, nil
}
