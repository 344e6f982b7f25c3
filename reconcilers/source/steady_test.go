package source_test

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"github.com/weir-dev/weir/reconcilers/source"
)

// The same failure must not be news each time that it is met.
func TestBoundedSaysTheSame(t *testing.T) {
	reset := &net.OpError{
		Op: "read", Net: "tcp", Source: &net.TCPAddr{IP: net.IPv4(10, 0, 0, 1), Port: 4711}, Addr: &net.TCPAddr{IP: net.IPv4(10, 0, 0, 2), Port: 443},
		Err: os.NewSyscallError("read", syscall.ECONNRESET),
	}
	lookup := &net.OpError{Op: "dial", Net: "tcp", Err: &net.DNSError{
		Err: "read udp 10.0.0.1:33333->10.96.0.10:53: i/o timeout", Name: "git.test", Server: "10.96.0.10:53",
	}}
	expired := x509.CertificateInvalidError{Reason: x509.Expired, Detail: "current time 2026-11-20T14:40:50Z is after 2026-01-01T00:00:00Z"}
	wrong := errors.New("no such thing")

	cases := map[string]struct {
		reason string
		err    error
		want   string
	}{
		"Reset": {
			reason: "Our port is another one each time.", err: fmt.Errorf("list: %w", reset),
			want: "list: read tcp 10.0.0.2:443: read: connection reset by peer",
		},
		"Lookup": {
			reason: "So it is when names are looked up.", err: lookup,
			want: "dial tcp: lookup git.test on 10.96.0.10:53: read udp 10.96.0.10:53: i/o timeout",
		},
		"Stream": {
			reason: "Streams are counted.", err: http2.StreamError{StreamID: 41, Code: http2.ErrCodeInternal},
			want: "stream error: INTERNAL_ERROR",
		},
		"GoAway": {
			reason: "So they are at the end of a connection.",
			err:    errors.New(`http2: server sent GOAWAY and closed the connection; LastStreamID=7, ErrCode=NO_ERROR, debug=""`),
			want:   `http2: server sent GOAWAY and closed the connection; ErrCode=NO_ERROR, debug=""`,
		},
		"Expired": {
			reason: "Time passes.", err: expired,
			want: "x509: certificate has expired or is not yet valid: the time is after 2026-01-01T00:00:00Z",
		},
		"Other": {reason: "Nothing else changes.", err: wrong, want: "no such thing"},
	}

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			err := source.Bounded(t.Context(), time.Hour, func(context.Context) error { return tc.err })
			if err == nil || err.Error() != tc.want {
				t.Errorf("%s\ngot  %v\nwant %s", tc.reason, err, tc.want)
			}

			if !errors.Is(err, tc.err) {
				t.Errorf("%v is not %v", err, tc.err)
			}
		})
	}
}
