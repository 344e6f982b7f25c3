package transport

import (
	"crypto/ed25519"
	"net"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"
)

// FuzzKnownHosts holds that a server whose key nobody wrote down is never trusted, whatever the file says.
func FuzzKnownHosts(f *testing.F) {
	known, stranger := publicKey(f, 1), publicKey(f, 2)
	key := " ssh-ed25519 " + encoded(known)
	line := "git.example.com" + key

	for _, seed := range []string{
		"", line, "# a comment\n\n" + line + "\n", "@cert-authority *.example.com" + key, "@revoked *" + key,
		knownhosts.HashHostname("git.example.com") + key, "*,!git.example.com" + key, "[git.example.com]:2222,10.0.0.?" + key,
		"|1|x|y ssh-ed25519 AAAA", "git.example.com ssh-rsa AAAAB3NzaC1yc2E=", "@x y z w",
	} {
		f.Add([]byte(seed))
	}

	dir := f.TempDir()
	addr := &net.TCPAddr{IP: net.IPv4(10, 0, 0, 1), Port: 22}

	f.Fuzz(func(t *testing.T, text []byte) {
		db, err := parseKnownHosts(dir, text)
		if err != nil {
			if strings.Contains(err.Error(), dir) {
				t.Errorf("the error names a file: %v", err)
			}

			return
		}

		_ = db.HostKeyAlgorithms("git.example.com:22")

		if db.HostKeyCallback()("git.example.com:22", addr, stranger) == nil && !strings.Contains(string(text), encoded(stranger)) {
			t.Error("a stranger is trusted")
		}
	})
}

func publicKey(f *testing.F, seed byte) ssh.PublicKey {
	f.Helper()

	b := make([]byte, ed25519.SeedSize)
	b[0] = seed

	key, err := ssh.NewPublicKey(ed25519.NewKeyFromSeed(b).Public())
	if err != nil {
		f.Fatal(err)
	}

	return key
}

// encoded is the key as it stands in the file.
func encoded(key ssh.PublicKey) string {
	return strings.Fields(string(ssh.MarshalAuthorizedKey(key)))[1]
}
