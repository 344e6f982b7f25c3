package transport

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"

	"golang.org/x/net/proxy"

	"github.com/weir-dev/weir/reconcilers/ingest"
)

// dialer makes connections.
type dialer interface {
	DialContext(ctx context.Context, network, address string) (net.Conn, error)
}

// dialerThrough returns a dialer that goes through a proxy, if there is one: http, https or socks5. Over HTTP it has to allow
// CONNECT to the port.
func dialerThrough(u *url.URL, direct dialer) dialer {
	switch {
	case u == nil:
		return direct
	case u.Scheme == "socks5":
		return socks{u: u, direct: direct}
	}

	return connecting{u: u, direct: direct}
}

// socks goes through a SOCKS5 proxy, which resolves names.
type socks struct {
	u      *url.URL
	direct dialer
}

// DialContext implements dialer.
func (s socks) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	var login *proxy.Auth
	if s.u.User != nil {
		password, _ := s.u.User.Password()
		login = &proxy.Auth{User: s.u.User.Username(), Password: password}
	}

	d, err := proxy.SOCKS5("tcp", withPort(s.u, "1080"), login, forward{s.direct})
	if err != nil {
		return nil, fmt.Errorf("use proxy %q: %w", ingest.Redact(s.u.String()), err)
	}

	through, ok := d.(proxy.ContextDialer)
	if !ok {
		return nil, errors.New("the proxy cannot be given up") // the library promises that it can
	}

	return through.DialContext(ctx, network, address)
}

// forward is a dialer in the words of the library, which calls DialContext alone.
type forward struct{ dialer }

// Dial implements proxy.Dialer.
func (f forward) Dial(network, address string) (net.Conn, error) {
	return f.DialContext(context.Background(), network, address)
}

// connecting goes through an HTTP proxy by the method CONNECT.
type connecting struct {
	u      *url.URL
	direct dialer
}

// DialContext implements dialer.
func (c connecting) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	port := "80"
	if c.u.Scheme == schemeHTTPS {
		port = "443"
	}

	conn, err := c.direct.DialContext(ctx, network, withPort(c.u, port))
	if err != nil {
		return nil, fmt.Errorf("use proxy %q: %w", ingest.Redact(c.u.String()), err)
	}

	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()

	through, err := c.connect(ctx, conn, address)
	if err != nil {
		_ = conn.Close()

		return nil, fmt.Errorf("use proxy %q: %w", ingest.Redact(c.u.String()), err)
	}

	return through, nil
}

func (c connecting) connect(ctx context.Context, conn net.Conn, address string) (net.Conn, error) {
	if c.u.Scheme == schemeHTTPS {
		secure := tls.Client(conn, &tls.Config{MinVersion: tls.VersionTLS12, ServerName: c.u.Hostname()})
		if err := secure.HandshakeContext(ctx); err != nil {
			return nil, err //nolint:wrapcheck // says that it is about TLS
		}

		conn = secure
	}

	var req bytes.Buffer
	fmt.Fprintf(&req, "CONNECT %s HTTP/1.1\r\nHost: %s\r\n", address, address)

	if user := c.u.User; user != nil {
		password, _ := user.Password()
		login := base64.StdEncoding.EncodeToString([]byte(user.Username() + ":" + password))
		fmt.Fprintf(&req, "Proxy-Authorization: Basic %s\r\n", login)
	}

	req.WriteString("\r\n")

	if _, err := conn.Write(req.Bytes()); err != nil {
		return nil, fmt.Errorf("send request: %w", err)
	}

	head, err := readHead(conn)
	if err != nil {
		return nil, err
	}

	resp, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(head)), &http.Request{Method: http.MethodConnect})
	if err != nil {
		return nil, errors.New("the answer is not HTTP")
	}
	defer resp.Body.Close()

	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("the proxy answers %q", ingest.Status(resp))
	}

	return conn, nil
}

// readHead reads the head of an answer and nothing of what follows, which is for others.
func readHead(r io.Reader) ([]byte, error) {
	const most = 16 << 10

	head := make([]byte, 0, 256)
	for one := make([]byte, 1); !bytes.HasSuffix(head, []byte("\r\n\r\n")); head = append(head, one[0]) {
		if len(head) == most {
			return nil, errors.New("the head of the answer has no end")
		}

		if _, err := io.ReadFull(r, one); err != nil {
			return nil, fmt.Errorf("read answer: %w", unexpected(err))
		}
	}

	return head, nil
}

func withPort(u *url.URL, port string) string {
	if p := u.Port(); p != "" {
		port = p
	}

	return net.JoinHostPort(u.Hostname(), port)
}
