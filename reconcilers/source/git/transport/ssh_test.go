package transport_test

import (
	"strings"
	"testing"
	"time"

	"github.com/weir-dev/weir/reconcilers/ingest"
	"github.com/weir-dev/weir/reconcilers/source/git/transport"
)

// A server that says nothing more must not hold a request for ever: others may wait for it, too.
func TestSilenceEnds(t *testing.T) {
	s := serve(t)
	s.ssh.Hang(true)

	u, err := transport.ParseURL(s.ssh.URL(s.repository))
	check(t, err)
	c, err := transport.ReadCredentials(u, s.secret)
	check(t, err)

	n := transport.NewNetwork(transport.Options{Transports: &ingest.Transports{}, Dir: t.TempDir(), Silence: time.Second})

	tr, err := n.Open(u, c, nil)
	check(t, err)

	if _, err = tr.List(t.Context()); err == nil || !strings.Contains(err.Error(), "nothing came for 1s") {
		t.Errorf("error %v", err)
	}
}
