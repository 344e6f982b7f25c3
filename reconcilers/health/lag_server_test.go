package health_test

import (
	"bytes"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/weir-dev/weir/reconcilers/access"
	"github.com/weir-dev/weir/reconcilers/access/accesstest"
	"github.com/weir-dev/weir/reconcilers/health"
)

// laggard stands for an API server whose cache has stopped: it answers lists, for as long as it lags, as it has done once. Requests for one
// object it hands on, as such a server asks the storage for them.
type laggard struct {
	plural string // of the kind
	mu     sync.Mutex
	frozen []byte // answer to a list
	header http.Header
	lags   bool
	served int // lists that were answered with it
	said   chan struct{}
}

func (l *laggard) wrap(next http.RoundTripper) http.RoundTripper {
	return roundTripper(func(req *http.Request) (*http.Response, error) {
		if accesstest.Verb(req) != "list" || !strings.HasSuffix(req.URL.Path, "/"+l.plural) {
			return next.RoundTrip(req)
		}
		l.mu.Lock()
		defer l.mu.Unlock()
		if l.lags {
			if l.served++; l.served == 4 {
				close(l.said)
			}
			return &http.Response{StatusCode: http.StatusOK, Header: l.header, Body: io.NopCloser(bytes.NewReader(l.frozen)), Request: req}, nil
		}
		resp, err := next.RoundTrip(req)
		if err != nil {
			return nil, err
		}
		l.header = resp.Header
		l.frozen, err = io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		resp.Body = io.NopCloser(bytes.NewReader(l.frozen))
		return resp, err
	})
}

// lists returns how many were answered while it lagged.
func (l *laggard) lists() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.served
}

// lag starts or ends the lag.
func (l *laggard) lag(on bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lags = on
}

// An API server that lags behind, however long, is no restored one: nothing is told, and nothing that was known is forgotten.
func TestLaggingServer(t *testing.T) {
	b := newBench(t)
	l := &laggard{plural: "configmaps", said: make(chan struct{})}
	factory, err := access.New(shared.Start(t).Config(), access.Options{Transport: func(next http.RoundTripper) http.RoundTripper {
		return b.cutter.transport(l.wrap(next))
	}})
	if err != nil {
		t.Fatal(err)
	}
	b.start(factory.Own())
	config, gone := b.config("config", "app"), b.config("gone", "app")
	b.hub.Track(b.owner("app"), label, []access.ID{config, gone})
	b.sees(config, health.Present)
	version := b.patch(config, "", `{"data":{"is":"new"}}`)
	for b.sees(config, health.Present).ResourceVersion != version {
		b.pause()
	}
	b.delete(gone)
	b.sees(gone, health.Absent)

	l.lag(true)
	for cut := true; cut; {
		b.watches(1)
		b.cutter.cut(false, true)
		select {
		case <-l.said:
			cut = false
		default:
			b.pause()
		}
	}
	b.watches(1)
	l.lag(false)
	if live := b.sees(config, health.Present); live.ResourceVersion != version {
		t.Errorf("version %s is known again, after %s", live.ResourceVersion, version)
	}
	b.sees(gone, health.Absent)
	version = b.patch(config, "", `{"data":{"is":"newer"}}`)
	for b.sees(config, health.Present).ResourceVersion != version {
		b.pause()
	}
	select {
	case err := <-b.restored:
		t.Errorf("told %v", err)
	default:
	}
}
