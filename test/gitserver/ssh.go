package gitserver

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"
)

// SSHOptions say how repositories are served over SSH.
type SSHOptions struct {
	// Addr to listen on, as host:port. Empty means a free port of the loopback interface.
	Addr string

	// User that may log in. Empty means git.
	User string

	// Authorized are the public keys that may log in. Without one, nobody may.
	Authorized []ssh.PublicKey

	// HostKey of the server. Nil makes one.
	HostKey ssh.Signer
}

// SSH is a server that speaks the Git protocol over SSH.
type SSH struct {
	// Addr is where it listens.
	Addr string

	repositories *Repositories
	user         string
	hostKey      ssh.Signer
	config       *ssh.ServerConfig
	listener     net.Listener
	counter      counter
	hanging      atomic.Bool

	mu    sync.Mutex
	conns map[net.Conn]bool // nil once closed
}

// ServeSSH serves the repositories over SSH until Close.
func (r *Repositories) ServeSSH(ctx context.Context, o SSHOptions) (*SSH, error) {
	if o.Addr == "" {
		o.Addr = "127.0.0.1:0"
	}

	if o.User == "" {
		o.User = "git"
	}

	if o.HostKey == nil {
		_, key, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			return nil, fmt.Errorf("make host key: %w", err)
		}

		if o.HostKey, err = ssh.NewSignerFromKey(key); err != nil {
			return nil, fmt.Errorf("load host key: %w", err)
		}
	}

	l, err := new(net.ListenConfig).Listen(ctx, "tcp", o.Addr)
	if err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}

	s := &SSH{
		Addr: l.Addr().String(), repositories: r, user: o.User, hostKey: o.HostKey,
		config: serverConfig(o), listener: l, conns: map[net.Conn]bool{},
	}
	go s.serve()

	return s, nil
}

func serverConfig(o SSHOptions) *ssh.ServerConfig {
	c := &ssh.ServerConfig{
		PublicKeyCallback: func(conn ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
			for _, k := range o.Authorized {
				if conn.User() == o.User && string(k.Marshal()) == string(key.Marshal()) {
					return &ssh.Permissions{}, nil
				}
			}

			return nil, errors.New("unknown key")
		},
	}
	c.AddHostKey(o.HostKey)

	return c
}

// URL returns the URL of the repository.
func (s *SSH) URL(r *Repository) string { return "ssh://" + s.user + "@" + s.Addr + "/" + r.Path }

// KnownHosts returns the line of a known_hosts file that names the server.
func (s *SSH) KnownHosts() string { return KnownHosts(s.Addr, s.hostKey.PublicKey()) }

// Counts returns the requests so far that passed authentication. Each connection lists the references first.
func (s *SSH) Counts() Counts { return s.counter.counts() }

// Hang makes the server take connections and never answer them, or answer again.
func (s *SSH) Hang(on bool) { s.hanging.Store(on) }

// Close stops the server at once.
func (s *SSH) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()

	_ = s.listener.Close()

	for c := range s.conns {
		_ = c.Close()
	}

	s.conns = nil
}

// KnownHosts returns the line of a known_hosts file for a server at the address, host:port, with the key.
func KnownHosts(addr string, key ssh.PublicKey) string {
	return knownhosts.Line([]string{knownhosts.Normalize(addr)}, key)
}

// NewKey makes a key pair: the private key as PEM, encrypted if a passphrase is given.
func NewKey(passphrase string) (identity []byte, public ssh.PublicKey, err error) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, nil, fmt.Errorf("make key: %w", err)
	}

	signer, err := ssh.NewSignerFromKey(key)
	if err != nil {
		return nil, nil, fmt.Errorf("load key: %w", err)
	}

	block, err := marshalKey(key, passphrase)
	if err != nil {
		return nil, nil, fmt.Errorf("encode key: %w", err)
	}

	return pem.EncodeToMemory(block), signer.PublicKey(), nil
}

func marshalKey(key ed25519.PrivateKey, passphrase string) (*pem.Block, error) {
	if passphrase == "" {
		return ssh.MarshalPrivateKey(key, "")
	}

	return ssh.MarshalPrivateKeyWithPassphrase(key, "", []byte(passphrase))
}

func (s *SSH) serve() {
	for {
		conn, err := s.listener.Accept()
		if err != nil {
			return
		}

		if !s.keep(conn) {
			_ = conn.Close()

			return
		}

		go func() {
			defer s.drop(conn)

			if s.hanging.Load() {
				_, _ = io.Copy(io.Discard, conn) // until the client goes away
			} else {
				s.connection(conn)
			}
		}()
	}
}

func (s *SSH) keep(conn net.Conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()

	if s.conns == nil {
		return false
	}

	s.conns[conn] = true

	return true
}

func (s *SSH) drop(conn net.Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()

	_ = conn.Close()
	delete(s.conns, conn)
}

// connection serves one client.
func (s *SSH) connection(conn net.Conn) {
	client, channels, requests, err := ssh.NewServerConn(conn, s.config)
	if err != nil {
		return
	}
	defer client.Close() //nolint:errcheck // the client may be gone

	go ssh.DiscardRequests(requests)

	var sessions sync.WaitGroup
	defer sessions.Wait()

	for c := range channels {
		if c.ChannelType() != "session" {
			_ = c.Reject(ssh.UnknownChannelType, "only sessions")

			continue
		}

		channel, requests, err := c.Accept()
		if err != nil {
			return
		}

		sessions.Go(func() { s.session(channel, requests) })
	}
}

// session runs the command that the client asks for.
func (s *SSH) session(channel ssh.Channel, requests <-chan *ssh.Request) {
	defer channel.Close() //nolint:errcheck // the client may be gone

	for req := range requests {
		var command struct{ Line string }
		if req.Type != "exec" || ssh.Unmarshal(req.Payload, &command) != nil {
			_ = req.Reply(false, nil)

			continue
		}

		_ = req.Reply(true, nil)
		go ssh.DiscardRequests(requests)

		status := s.exec(channel, command.Line)
		_, _ = channel.SendRequest("exit-status", false, ssh.Marshal(struct{ Status uint32 }{status}))

		return
	}
}

// exec runs upload-pack on the repository that the command names.
func (s *SSH) exec(channel ssh.Channel, line string) uint32 {
	program, arg, _ := strings.Cut(line, " ")
	path := filepath.Join(s.repositories.root, filepath.Clean("/"+unquote(arg)))

	if program != "git-upload-pack" {
		fmt.Fprintf(channel.Stderr(), "unknown command %q\n", program)

		return 127
	}

	s.counter.infoRefs.Add(1)

	cmd := exec.CommandContext(context.Background(), "git", "upload-pack", "--strict", path)
	cmd.Env = s.repositories.git.env()
	cmd.Stdout, cmd.Stderr = channel, channel.Stderr()

	stdin, err := cmd.StdinPipe()
	if err != nil {
		return 1
	}

	if err := cmd.Start(); err != nil {
		return 1
	}

	go func() {
		defer stdin.Close() //nolint:errcheck // git may be gone

		_, _ = io.Copy(stdin, &requestReader{r: channel, asked: func() { s.counter.uploadPack.Add(1) }})
	}()

	if err := cmd.Wait(); err != nil {
		return 1
	}

	return 0
}

// unquote reads an argument that is quoted for a shell, the way Git does it.
func unquote(s string) string {
	var b strings.Builder

	quoted := false
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '\'':
			quoted = !quoted
		case s[i] == '\\' && !quoted && i+1 < len(s):
			i++
			b.WriteByte(s[i])
		default:
			b.WriteByte(s[i])
		}
	}

	return b.String()
}

// requestReader tells when the client asks for objects: a client that does not sends a single flush packet, 0000.
type requestReader struct {
	r     io.Reader
	asked func()
	done  bool
}

// Read implements io.Reader.
func (r *requestReader) Read(p []byte) (int, error) {
	n, err := r.r.Read(p)
	if !r.done && n > 0 {
		r.done = true

		if !strings.HasPrefix(string(p[:n]), "0000") {
			r.asked()
		}
	}

	return n, err
}
