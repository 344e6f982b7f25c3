package health_test

import (
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/fluxcd/cli-utils/pkg/kstatus/status"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/weir-dev/weir/reconcilers/access"
	"github.com/weir-dev/weir/reconcilers/access/accesstest"
	"github.com/weir-dev/weir/reconcilers/health"
)

// An object that was gone when it was read, and is there again when the answer comes, is there: what its watch has shown meanwhile is newer.
func TestStaleAbsence(t *testing.T) {
	b := newBench(t)
	asked, again, told := make(chan struct{}), make(chan struct{}), make(chan struct{})
	var once atomic.Bool
	factory, err := access.New(shared.Start(t).Config(), access.Options{Transport: func(next http.RoundTripper) http.RoundTripper {
		return roundTripper(func(req *http.Request) (*http.Response, error) {
			if accesstest.Verb(req) != "get" || !strings.HasSuffix(req.URL.Path, "/configmaps/config") || once.Swap(true) {
				return next.RoundTrip(req)
			}
			defer close(told)
			close(asked)
			<-again // it is gone
			resp, err := next.RoundTrip(req)
			again <- struct{}{}
			<-again // it is there, and seen
			return resp, err
		})
	}})
	if err != nil {
		t.Fatal(err)
	}
	b.start(factory.Own())
	var gone atomic.Int64
	b.hub.Observe(func(_, _ access.ID, live *health.Live) {
		if live == nil {
			gone.Add(1)
		}
	})
	owner, config := b.owner("app"), b.config("config", "app")
	b.hub.Track(owner, label, []access.ID{config})
	before := b.sees(config, health.Present)
	b.hub.Check(owner, health.Checks{Rules: map[schema.GroupKind]health.Rule{{Kind: "ConfigMap"}: {
		Key: "any", Evaluate: func(map[string]any) (status.Status, string) { return status.CurrentStatus, "" },
	}}})
	<-asked
	b.delete(config)
	again <- struct{}{}
	<-again
	b.config("config", "app")
	for live := before; live.UID == before.UID; {
		live, _ = b.hub.Lookup(config, label)
		if live.UID == "" {
			live = before
		}
		b.pause()
	}
	again <- struct{}{}
	<-told
	b.settle(owner, health.Goal{IDs: []access.ID{config}})
	same(t, "it has gone once", 1, gone.Load())
}
