package health_test

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/weir-dev/weir/reconcilers/access"
	"github.com/weir-dev/weir/reconcilers/health"
)

// A kind that counts anew proves a restore if the API server serves it, and only then: what is known of others begins anew.
func TestCountsAnew(t *testing.T) {
	for name, tc := range map[string]struct {
		reason, service string
		want            bool
	}{
		"Own":        {reason: "Nobody else has it.", service: `{}`, want: true},
		"Aggregated": {reason: "It counts as it likes.", service: `{"service":{"name":"other","namespace":"other"}}`},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			l := &laggard{plural: "leases", said: make(chan struct{})}
			factory, err := access.New(shared.Start(t).Config(), access.Options{Transport: func(next http.RoundTripper) http.RoundTripper {
				next = b.cutter.transport(l.wrap(next))
				return roundTripper(func(req *http.Request) (*http.Response, error) {
					status, body := http.StatusOK, `{"apiVersion":"apiregistration.k8s.io/v1","kind":"APIService","metadata":{"name":"a"},"spec":`+tc.service+`}`
					switch {
					case strings.HasSuffix(req.URL.Path, "/apiservices/v1.coordination.k8s.io"):
					case strings.Contains(req.URL.Path, "/leases/"):
						status, body = http.StatusNotFound, `{"apiVersion":"v1","kind":"Status","status":"Failure","reason":"NotFound","code":404}`
					default:
						return next.RoundTrip(req)
					}
					header := http.Header{"Content-Type": {"application/json"}}
					return &http.Response{StatusCode: status, Header: header, Body: io.NopCloser(strings.NewReader(body)), Request: req}, nil
				})
			}})
			if err != nil {
				t.Fatal(err)
			}
			b.start(factory.Own())
			b.create(`{apiVersion: coordination.k8s.io/v1, kind: Lease, metadata: {name: one, namespace: NS, labels: {` + label + `: app}}}`)
			lease := b.id("coordination.k8s.io", "Lease", "one")
			b.hub.Track(b.owner("app"), label, []access.ID{lease})
			b.sees(lease, health.Present)
			version := b.patch(lease, "", `{"spec":{"holderIdentity":"new"}}`)
			for b.sees(lease, health.Present).ResourceVersion != version {
				b.pause()
			}
			l.lag(true)
			b.watches(1)
			b.cutter.cut(false, true)
			restored := false
			for !restored && l.lists() < 3 { // the third one is taken as it is
				select {
				case err := <-b.restored:
					restored = err != nil
				default:
					b.pause()
				}
			}
			same(t, tc.reason, tc.want, restored)
			l.lag(false)
			for b.sees(lease, health.Present).ResourceVersion != version {
				b.pause()
			}
		})
	}
}
