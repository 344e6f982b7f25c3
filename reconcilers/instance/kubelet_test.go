package instance_test

import (
	"errors"
	"net/http"
	"strings"
	"sync"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// What becomes of a pod, by its annotation fate. Without one it runs and is ready.
const (
	crashing = "crash"   // its container ends again and again
	pulling  = "pull"    // its image cannot be pulled
	unready  = "unready" // it runs and is not ready
)

// kubelet stands in for the kubelets: it writes into the status of pods what becomes of them.
type kubelet struct {
	e *env

	mu    sync.Mutex
	fates map[string]string // by app or by a part of the image, over those of the annotations
}

// kubelet starts one that lives as long as the test.
func (e *env) kubelet() *kubelet {
	e.t.Helper()
	k := &kubelet{e: e, fates: map[string]string{}}
	watch, err := e.c.Watch(e.ctx, &corev1.PodList{}, client.InNamespace(namespace))
	must(e.t, err)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for event := range watch.ResultChan() {
			if pod, ok := event.Object.(*corev1.Pod); ok && pod.DeletionTimestamp == nil && pod.Status.StartTime == nil {
				_ = k.decide(pod) // gone, or the next event tries again
			}
		}
	}()
	e.t.Cleanup(func() { watch.Stop(); <-done })
	return k
}

func (k *kubelet) fate(pod *corev1.Pod) string {
	k.mu.Lock()
	defer k.mu.Unlock()
	for what, fate := range k.fates {
		if concerns(what, pod) {
			return fate
		}
	}
	return pod.Annotations["fate"]
}

func concerns(what string, pod *corev1.Pod) bool {
	return what == pod.Labels["app"] || strings.Contains(pod.Spec.Containers[0].Image, what)
}

// set changes the fate of the pods of an app or an image, those that are there included.
func (k *kubelet) set(what, fate string) {
	k.e.t.Helper()
	k.mu.Lock()
	k.fates[what] = fate
	k.mu.Unlock()
	pods := &corev1.PodList{}
	must(k.e.t, k.e.c.List(k.e.ctx, pods, client.InNamespace(namespace)))
	for i := range pods.Items {
		if !concerns(what, &pods.Items[i]) {
			continue
		}
		if err := k.decide(&pods.Items[i]); !apierrors.IsNotFound(err) {
			must(k.e.t, err)
		}
	}
}

// forget leaves the fates to the annotations again, for pods that are still to come.
func (k *kubelet) forget() {
	k.mu.Lock()
	defer k.mu.Unlock()
	clear(k.fates)
}

func (k *kubelet) decide(pod *corev1.Pod) error {
	before := pod.DeepCopy()
	now := metav1.NewTime(k.e.clock.now().UTC())
	container := corev1.ContainerStatus{Name: pod.Spec.Containers[0].Name, Image: pod.Spec.Containers[0].Image}
	ready := corev1.ConditionFalse
	switch k.fate(pod) {
	case crashing:
		container.RestartCount = 4
		container.State.Waiting = &corev1.ContainerStateWaiting{Reason: "CrashLoopBackOff", Message: "back-off 40s"}
		container.LastTerminationState.Terminated = &corev1.ContainerStateTerminated{
			ExitCode: 3, Reason: "Error", Message: "a line of its log", StartedAt: now, FinishedAt: now,
		}
	case pulling:
		container.State.Waiting = &corev1.ContainerStateWaiting{Reason: "ImagePullBackOff"}
	case unready:
		container.State.Running = &corev1.ContainerStateRunning{StartedAt: now}
	default:
		container.State.Running = &corev1.ContainerStateRunning{StartedAt: now}
		container.Ready, ready = true, corev1.ConditionTrue
	}
	pod.Status.Phase, pod.Status.StartTime = corev1.PodRunning, &now
	pod.Status.ContainerStatuses = []corev1.ContainerStatus{container}
	pod.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: ready, LastTransitionTime: now}}
	return k.e.c.Status().Patch(k.e.ctx, pod, client.MergeFrom(before))
}

// wire is what the requests of the operator go through, but for those of its runner.
type wire struct {
	mu   sync.Mutex
	sent []string
	then func(written int) // called after each write
	n    int
	dead bool // nobody answers
}

// cut makes the API server unreachable, but for watches that are open, or reachable again.
func (w *wire) cut(dead bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.dead = dead
}

func (w *wire) isDead() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.dead
}

func (w *wire) wrap(next http.RoundTripper) http.RoundTripper {
	return roundTripper(func(req *http.Request) (*http.Response, error) {
		if w.isDead() {
			return nil, errors.New("connection refused")
		}
		response, err := next.RoundTrip(req)
		w.mu.Lock()
		defer w.mu.Unlock()
		if req.URL.Query().Has("watch") {
			return response, err
		}
		w.sent = append(w.sent, req.Method+" "+req.URL.String())
		if req.Method != http.MethodGet && !req.URL.Query().Has("dryRun") {
			if w.n++; w.then != nil {
				w.then(w.n)
			}
		}
		return response, err
	})
}

// watched returns what was sent since the last call, and begins to count writes anew.
func (w *wire) watched(then func(written int)) []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	sent := w.sent
	w.sent, w.n, w.then = nil, 0, then
	return sent
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }
