package transport_test

import (
	"context"
	"io"
	"net"
	"net/netip"
	"slices"
	"sync"
	"testing"
)

// socks is a SOCKS5 proxy, see RFC 1928 and RFC 1929.
type socks struct {
	addr           string
	user, password string

	mu    sync.Mutex
	asked []string
	conns []net.Conn
}

func serveSOCKS(t *testing.T, user, password string) *socks {
	t.Helper()

	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	check(t, err)

	s := &socks{addr: l.Addr().String(), user: user, password: password}

	t.Cleanup(func() {
		_ = l.Close()

		s.mu.Lock()
		defer s.mu.Unlock()

		for _, c := range s.conns {
			_ = c.Close()
		}
	})

	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}

			s.mu.Lock()
			s.conns = append(s.conns, conn)
			s.mu.Unlock()

			go s.handle(conn)
		}
	}()

	return s
}

func (s *socks) targets() []string {
	s.mu.Lock()
	defer s.mu.Unlock()

	return slices.Clone(s.asked)
}

func (s *socks) handle(conn net.Conn) {
	defer conn.Close() //nolint:errcheck // the client may be gone

	read := func(n int) []byte {
		b := make([]byte, n)
		if _, err := io.ReadFull(conn, b); err != nil {
			return make([]byte, n)
		}

		return b
	}

	methods := read(int(read(2)[1]))

	switch {
	case s.user == "":
		_, _ = conn.Write([]byte{5, 0})
	case !slices.Contains(methods, 2):
		_, _ = conn.Write([]byte{5, 0xff})

		return
	default:
		_, _ = conn.Write([]byte{5, 2})
		user := read(int(read(2)[1]))
		password := read(int(read(1)[0]))

		if string(user) != s.user || string(password) != s.password {
			_, _ = conn.Write([]byte{1, 1})

			return
		}

		_, _ = conn.Write([]byte{1, 0})
	}

	if read(4)[3] != 1 { // IPv4 is all that the tests have
		return
	}

	ip, port := read(4), read(2)
	target := netip.AddrPortFrom(netip.AddrFrom4([4]byte(ip)), uint16(port[0])<<8|uint16(port[1])).String()

	s.mu.Lock()
	s.asked = append(s.asked, target)
	s.mu.Unlock()

	server, err := new(net.Dialer).DialContext(context.Background(), "tcp", target)
	if err != nil {
		_, _ = conn.Write([]byte{5, 5, 0, 1, 0, 0, 0, 0, 0, 0})

		return
	}
	defer server.Close() //nolint:errcheck // it was only passed on

	_, _ = conn.Write([]byte{5, 0, 0, 1, 0, 0, 0, 0, 0, 0})

	go func() {
		_, _ = io.Copy(server, conn)
		_ = server.Close()
	}()

	_, _ = io.Copy(conn, server)
}
