package controllers

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync/atomic"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	apiwatch "k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/watchlist"

	"github.com/weir-dev/weir/reconcilers/health"
)

// history sees to it that the process does not live in a past that never was. An API server that was away may come back with its storage
// restored from a backup: what was written since is undone, and resource versions are given out a second time. A watch that is taken up where
// it ended shows nothing of it. So after an outage everything is listed anew; and if that shows that the past is another one, the process
// ends, for it remembers too much of the old one in too many places. Whoever runs it starts it again.
type history struct {
	outages  atomic.Int64 // requests that no API server answered, or not to their end
	ended    chan error
	suspects chan suspect
	doubt    func(context.Context) // waits for as long
}

func newHistory() *history {
	return &history{ended: make(chan error, 1), suspects: make(chan suspect, 16), doubt: func(ctx context.Context) {
		t := time.NewTimer(doubt)
		defer t.Stop()

		select {
		case <-t.C:
		case <-ctx.Done():
		}
	}}
}

// rewritten ends the process.
func (h *history) rewritten(err error) {
	select {
	case h.ended <- err:
	default: // it ends already
	}
}

// Start implements manager.Runnable.
func (h *history) Start(ctx context.Context) error {
	for {
		select {
		case err := <-h.ended:
			return fmt.Errorf("start anew: %w", err)
		case s := <-h.suspects:
			if h.doubt(ctx); ctx.Err() == nil {
				if err := s.confirm(ctx); err != nil {
					return fmt.Errorf("start anew: %w", err)
				}
			}
		case <-ctx.Done():
			return nil
		}
	}
}

// NeedLeaderElection implements manager.LeaderElectionRunnable: who waits for the lease remembers things too.
func (*history) NeedLeaderElection() bool { return false }

// transport counts outages.
func (h *history) transport(next http.RoundTripper) http.RoundTripper {
	return outages{history: h, next: next}
}

type outages struct {
	history *history
	next    http.RoundTripper
}

// RoundTrip implements http.RoundTripper.
func (o outages) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := o.next.RoundTrip(req)
	if err != nil && req.Context().Err() == nil {
		o.history.outages.Add(1)
	}

	if err == nil && req.URL.Query().Get("watch") == "true" {
		resp.Body = &stream{ReadCloser: resp.Body, ctx: req.Context(), history: o.history}
	}

	return resp, err //nolint:wrapcheck // a transport hands on what it gets
}

// stream is what a watch reads. One that breaks may be all that is seen of an outage: the API server that is asked next may be up again.
type stream struct {
	io.ReadCloser
	ctx     context.Context //nolint:containedctx // of the request, as long as its answer is read
	history *history
	over    atomic.Bool
}

func (s *stream) Read(p []byte) (int, error) {
	n, err := s.ReadCloser.Read(p)
	if err != nil && s.ctx.Err() == nil && !s.over.Swap(true) && !errors.Is(err, io.EOF) {
		s.history.outages.Add(1)
	}

	return n, err //nolint:wrapcheck // a stream hands on what it gets
}

// Close ends the stream from here, which is no outage.
func (s *stream) Close() error {
	s.over.Store(true)

	return s.ReadCloser.Close() //nolint:wrapcheck // a stream hands on what it gets
}

// WrappedRoundTripper lets client-go find the transport inside.
func (o outages) WrappedRoundTripper() http.RoundTripper { return o.next }

// informer makes the informers of the cache.
func (h *history) informer(
	lw cache.ListerWatcher, obj runtime.Object, resync time.Duration, indexers cache.Indexers,
) cache.SharedIndexInformer {
	r := &relister{history: h, next: cache.ToListerWatcherWithContext(lw), of: lw}
	i := cache.NewSharedIndexInformer(r, obj, resync, indexers)
	_, _ = i.AddEventHandler(cache.ResourceEventHandlerFuncs{UpdateFunc: r.compare}) //nolint:errcheck // fails only for a stopped informer

	return i
}

// doubt is how long an object has to be what it was before until that is believed: what answered may only lag behind.
const doubt = 3 * time.Second

// suspect is an object that has become what it was before.
type suspect struct {
	of              *relister
	namespace, name string
	was, is         uint64
}

// compare looks whether an object has become what it was before.
func (r *relister) compare(before, after any) {
	old, err := meta.Accessor(before)
	if err != nil {
		return
	}

	now, err := meta.Accessor(after)
	if err != nil {
		return
	}

	was, is := health.Revision(old.GetResourceVersion()), health.Revision(now.GetResourceVersion())
	if is == 0 || is >= was {
		return
	}

	select {
	case r.history.suspects <- suspect{of: r, namespace: now.GetNamespace(), name: now.GetName(), was: was, is: is}:
	default: // one is enough
	}
}

// confirm returns an error if the storage has forgotten the object as it was. It is asked for the newest state, which no cache answers that
// lags behind.
func (s *suspect) confirm(ctx context.Context) error {
	list, err := s.of.next.ListWithContext(ctx, metav1.ListOptions{FieldSelector: "metadata.name=" + s.name})
	if err != nil {
		select {
		case s.of.history.suspects <- *s: // nothing is known yet
		default:
		}

		return nil //nolint:nilerr // it is asked again
	}

	state, err := meta.ListAccessor(list)
	if err != nil {
		return nil //nolint:nilerr // it is none
	}

	restored := fmt.Errorf("the API server was restored from a backup: \"%s/%s\" is at revision %d, and was at %d",
		s.namespace, s.name, s.is, s.was)
	if at := health.Revision(state.GetResourceVersion()); at != 0 && at < s.was {
		return restored
	}

	older := false
	_ = meta.EachListItem(list, func(item runtime.Object) error { //nolint:errcheck // it returns none
		if o, err := meta.Accessor(item); err == nil && o.GetNamespace() == s.namespace && o.GetName() == s.name {
			older = health.Revision(o.GetResourceVersion()) < s.was
		}

		return nil
	})

	if older {
		return restored
	}

	return nil
}

// relister lists the objects of an informer anew after an outage.
type relister struct {
	history *history
	next    cache.ListerWatcherWithContext
	of      cache.ListerWatcher
	listed  atomic.Int64 // outages before the last list
}

// IsWatchListSemanticsUnSupported lets the informer know what the client can do.
func (r *relister) IsWatchListSemanticsUnSupported() bool {
	return watchlist.DoesClientNotSupportWatchListSemantics(r.of)
}

// List implements cache.ListerWatcher.
func (r *relister) List(o metav1.ListOptions) (runtime.Object, error) {
	return r.ListWithContext(context.Background(), o)
}

// Watch implements cache.ListerWatcher.
func (r *relister) Watch(o metav1.ListOptions) (apiwatch.Interface, error) {
	return r.WatchWithContext(context.Background(), o)
}

// ListWithContext implements cache.ListerWithContext.
func (r *relister) ListWithContext(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
	r.begin(&o)

	return r.next.ListWithContext(ctx, o) //nolint:wrapcheck // the informer knows the errors
}

// WatchWithContext implements cache.WatcherWithContext.
func (r *relister) WatchWithContext(ctx context.Context, o metav1.ListOptions) (apiwatch.Interface, error) {
	if o.SendInitialEvents != nil && *o.SendInitialEvents {
		r.begin(&o)
	} else if r.listed.Load() != r.history.outages.Load() {
		return nil, apierrors.NewResourceExpired("the API server was away, and may have been restored")
	}

	return r.next.WatchWithContext(ctx, o) //nolint:wrapcheck // the informer knows the errors
}

// begin notes what is known of outages before a list. After one, a revision of before may not exist any more, or again.
func (r *relister) begin(o *metav1.ListOptions) {
	if outages := r.history.outages.Load(); r.listed.Swap(outages) != outages && o.Continue == "" {
		o.ResourceVersion = ""
		if o.SendInitialEvents == nil {
			o.ResourceVersionMatch = ""
		}
	}
}
