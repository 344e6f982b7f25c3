package transport

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/go-git/go-git/v5/plumbing/protocol/packp"
	"golang.org/x/crypto/ssh"
)

// sshTransport speaks the Git protocol over SSH. Each request has a connection of its own.
type sshTransport struct {
	dialer  dialer
	config  ssh.ClientConfig
	address string // host:port
	path    string
	silence time.Duration
}

// sshAlgorithms are those that are offered; nil means the defaults.
type sshAlgorithms struct{ keyExchanges, hostKeys []string }

func newSSH(d dialer, a sshAlgorithms, u *url.URL, user string, k sshKeys) *sshTransport {
	t := &sshTransport{dialer: d, address: net.JoinHostPort(u.Hostname(), sshPort(u)), path: u.Path}
	t.config = ssh.ClientConfig{
		User: user, Auth: []ssh.AuthMethod{ssh.PublicKeys(k.signer)},
		HostKeyCallback: k.known.HostKeyCallback(), HostKeyAlgorithms: a.hostKeys,
	}
	t.config.KeyExchanges = a.keyExchanges

	if len(a.hostKeys) == 0 { // the server may have keys of other types too, which are not known
		t.config.HostKeyAlgorithms = k.known.HostKeyAlgorithms(t.address)
	}

	return t
}

// sshSession is git-upload-pack on the server.
type sshSession struct {
	conn   net.Conn
	client *ssh.Client
	remote *ssh.Session
	stdin  io.WriteCloser
	stdout io.Reader
	stderr tail
	stop   func() bool
}

// open connects and starts the program. The context ends the connection too.
func (t *sshTransport) open(ctx context.Context) (*sshSession, error) {
	conn, err := t.dialer.DialContext(ctx, "tcp", t.address)
	if err != nil {
		return nil, err //nolint:wrapcheck // names the address
	}

	conn = &patient{Conn: conn, silence: t.silence}
	s := &sshSession{conn: conn, stop: context.AfterFunc(ctx, func() { _ = conn.Close() })}

	if err := s.start(t); err != nil {
		_ = s.Close()

		return nil, err
	}

	return s, nil
}

func (s *sshSession) start(t *sshTransport) error {
	config := t.config

	conn, channels, requests, err := ssh.NewClientConn(s.conn, t.address, &config)
	if err != nil {
		return fmt.Errorf("connect to %q: %w", t.address, err)
	}

	s.client = ssh.NewClient(conn, channels, requests)

	session, err := s.client.NewSession()
	if err != nil {
		return fmt.Errorf("open session: %w", err)
	}

	s.remote = session
	session.Stderr = &s.stderr

	if s.stdin, err = session.StdinPipe(); err != nil {
		return fmt.Errorf("open standard input: %w", err)
	}

	if s.stdout, err = session.StdoutPipe(); err != nil {
		return fmt.Errorf("open standard output: %w", err)
	}

	if err := session.Start("git-upload-pack " + quote(t.path)); err != nil {
		return fmt.Errorf("start git-upload-pack: %w", err)
	}

	return nil
}

// Close ends the connection.
func (s *sshSession) Close() error {
	s.stop()

	if s.client != nil {
		_ = s.client.Close()
	}

	_ = s.conn.Close()

	return nil
}

// Read implements io.Reader: what the server answers.
func (s *sshSession) Read(p []byte) (int, error) { return s.stdout.Read(p) }

// advertised reads the references, with which the server begins.
func (s *sshSession) advertised() (*packp.AdvRefs, error) {
	adv, err := readAdvertised(io.LimitReader(s.stdout, maxAdvertised))
	if err == nil {
		return adv, nil
	}

	if !errors.Is(err, errMissing) {
		return nil, err
	}

	_ = s.remote.Wait() // until all that it complains about is here

	if text := s.stderr.String(); text != "" {
		return nil, serverSays(text)
	}

	return nil, err
}

// List implements Transport.
func (t *sshTransport) List(ctx context.Context) (*packp.AdvRefs, error) {
	s, err := t.open(ctx)
	if err != nil {
		return nil, err
	}
	defer s.Close() //nolint:errcheck // it never fails

	adv, err := s.advertised()
	if err != nil {
		return nil, err
	}

	_, _ = io.WriteString(s.stdin, "0000") // a polite good-bye: we want nothing

	return adv, nil
}

// Fetch implements Transport.
func (t *sshTransport) Fetch(ctx context.Context, request *packp.UploadRequest) (io.ReadCloser, error) {
	raw, err := encode(request)
	if err != nil {
		return nil, err
	}

	s, err := t.open(ctx)
	if err != nil {
		return nil, err
	}

	if err := s.request(raw); err != nil {
		_ = s.Close()

		return nil, err
	}

	return openPack(request, s)
}

func (s *sshSession) request(request []byte) error {
	if _, err := s.advertised(); err != nil {
		return err
	}

	if _, err := s.stdin.Write(request); err != nil {
		return fmt.Errorf("send request: %w", unexpected(err))
	}

	if err := s.stdin.Close(); err != nil {
		return fmt.Errorf("send request: %w", unexpected(err))
	}

	return nil
}

// patient is a connection on which a server may not keep silent for ever: a request may be made for many who wait in turns, and
// would else hang for as long as any of them does.
type patient struct {
	net.Conn

	silence time.Duration
}

// Read implements io.Reader.
func (p *patient) Read(b []byte) (int, error) {
	if err := p.SetReadDeadline(time.Now().Add(p.silence)); err != nil { // that of the machine is what deadlines go by
		return 0, err //nolint:wrapcheck // it is one of the connection
	}

	n, err := p.Conn.Read(b)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		err = fmt.Errorf("nothing came for %s", p.silence)
	}

	return n, err //nolint:wrapcheck // it is one of the connection
}

// quote writes an argument for a shell, the way Git does.
func quote(s string) string {
	return "'" + strings.NewReplacer("'", `'\''`, "!", `'\!'`).Replace(s) + "'"
}

// tail keeps the beginning of what a server complains about.
type tail struct {
	mu sync.Mutex
	b  bytes.Buffer
}

// Write implements io.Writer.
func (t *tail) Write(p []byte) (int, error) {
	const most = 4 << 10

	t.mu.Lock()
	defer t.mu.Unlock()

	t.b.Write(p[:min(len(p), most-t.b.Len())])

	return len(p), nil
}

// String returns what was kept.
func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()

	return t.b.String()
}
