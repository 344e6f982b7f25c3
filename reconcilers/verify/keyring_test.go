package verify_test

import (
	"bytes"
	"crypto"
	"encoding/binary"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp/armor"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
	openpgp "github.com/ProtonMail/go-crypto/openpgp/v2"

	"github.com/weir-dev/weir/reconcilers/verify"
)

// commit is a commit without its signature.
const commit = "tree 4b825dc642cb6eb9a060e54bf8d69288fbee4904\nauthor A <a@example.com> 1700000000 +0000\n" +
	"committer A <a@example.com> 1700000000 +0000\n\nA change\n"

// now is the time in these tests, unless real programs sign.
func now() time.Time { return time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC) }

// config is the one of whoever makes keys and signatures, at a time from now, with a hash.
func config(at time.Duration, h crypto.Hash) *packet.Config {
	return &packet.Config{
		Algorithm: packet.PubKeyAlgoEdDSA, DefaultHash: h, Time: func() time.Time { return now().Add(at) },
	}
}

// entity makes a key, at a time from now, which lasts for a while or for ever.
func entity(t *testing.T, at, lasts time.Duration) *openpgp.Entity {
	t.Helper()

	c := config(at, crypto.SHA256)
	c.KeyLifetimeSecs = uint32(lasts / time.Second) //nolint:gosec // short

	e, err := openpgp.NewEntity("Alice", "", "alice@example.com", c)
	if err != nil {
		t.Fatal(err)
	}

	return e
}

// exported is the public key in armour.
func exported(t *testing.T, es ...*openpgp.Entity) []byte {
	t.Helper()

	var b bytes.Buffer

	w, err := armor.Encode(&b, openpgp.PublicKeyType, nil)
	if err != nil {
		t.Fatal(err)
	}

	for _, e := range es {
		if err := e.Serialize(w); err != nil {
			t.Fatal(err)
		}
	}

	if err := w.Close(); err != nil {
		t.Fatal(err)
	}

	b.WriteString("\n")

	return b.Bytes()
}

// sign signs the commit at a time from now.
func sign(t *testing.T, e *openpgp.Entity, at time.Duration, h crypto.Hash) []byte {
	t.Helper()

	var b bytes.Buffer
	if err := openpgp.ArmoredDetachSign(&b, []*openpgp.Entity{e}, strings.NewReader(commit), &openpgp.SignParams{
		Config: config(at, h),
	}); err != nil {
		t.Fatal(err)
	}

	return b.Bytes()
}

func TestKeyringOpenPGP(t *testing.T) {
	const year = 365 * 24 * time.Hour

	alice, eve := entity(t, -year, 0), entity(t, -year, 0)
	expired := entity(t, -2*year, year)
	lasting := entity(t, -year, 2*year)
	future := entity(t, year, 0)

	signedBefore := entity(t, -year, 0)
	beforeRevoked := sign(t, signedBefore, -time.Hour, crypto.SHA512)

	if err := signedBefore.Revoke(packet.KeyRetired, "gone", config(-time.Minute, crypto.SHA256)); err != nil {
		t.Fatal(err)
	}

	id := func(e *openpgp.Entity) string { return e.PrimaryKey.KeyIdString() }

	cases := map[string]struct {
		reason    string
		keys      map[string][]byte
		payload   string // empty: the commit
		signature []byte
		want      string
		err       error
		text      string
	}{
		"Good": {reason: "The key signed.", keys: map[string][]byte{"a.asc": exported(t, alice)}, signature: sign(t, alice, -time.Hour, crypto.SHA512), want: id(alice)},
		"OtherEntries": {
			reason: "What has no known suffix is OpenPGP, and one of the keys is enough.", want: id(alice),
			keys:      map[string][]byte{"eve": exported(t, eve), "author": exported(t, alice)},
			signature: sign(t, alice, -time.Hour, crypto.SHA256),
		},
		"Keyring": {
			reason: "There are several keys in one block, and several blocks in one entry.", want: id(lasting),
			keys:      map[string][]byte{"a.asc": append(exported(t, eve, alice), exported(t, lasting)...)},
			signature: sign(t, lasting, -time.Hour, crypto.SHA256),
		},
		"Unexpired": {reason: "The key lasts.", keys: map[string][]byte{"a.asc": exported(t, lasting)}, signature: sign(t, lasting, -time.Hour, crypto.SHA512), want: id(lasting)},
		"WrongKey":  {reason: "Another key.", keys: map[string][]byte{"a.asc": exported(t, alice)}, signature: sign(t, eve, -time.Hour, crypto.SHA512), err: verify.ErrNotTrusted},
		"Tampered":  {reason: "Another commit.", keys: map[string][]byte{"a.asc": exported(t, alice)}, payload: commit + " ", signature: sign(t, alice, -time.Hour, crypto.SHA512), err: verify.ErrNotTrusted},
		"None":      {reason: "Nobody signed.", keys: map[string][]byte{"a.asc": exported(t, alice)}, signature: []byte(" \n"), err: verify.ErrNoSignature},
		"Expired": {
			reason: "The key has expired, though not when it says that it signed.", keys: map[string][]byte{"a.asc": exported(t, expired)},
			signature: sign(t, expired, -year-time.Hour, crypto.SHA512), err: verify.ErrNotTrusted, text: "expired",
		},
		"Revoked": {
			reason: "The key was revoked, though not when it says that it signed.", keys: map[string][]byte{"a.asc": exported(t, signedBefore)},
			signature: beforeRevoked, err: verify.ErrNotTrusted, text: "revoked",
		},
		"BeforeKey": {
			reason: "The signature is older than the key.", keys: map[string][]byte{"a.asc": exported(t, future)},
			signature: sign(t, future, year, crypto.SHA512), err: verify.ErrNotTrusted,
		},
		"SSHOnly": {
			reason: "There are no keys of this kind.", keys: map[string][]byte{"a.sshpub": []byte(sshKey)},
			signature: sign(t, alice, -time.Hour, crypto.SHA512), err: verify.ErrNotTrusted, text: "there are no keys of OpenPGP",
		},
		"X509": {
			reason: "Never verified.", keys: map[string][]byte{"a.asc": exported(t, alice)},
			signature: []byte("-----BEGIN SIGNED MESSAGE-----\nAAAA\n-----END SIGNED MESSAGE-----\n"), err: verify.ErrUnsupported, text: "X.509",
		},
		"Unknown": {
			reason: "Never verified.", keys: map[string][]byte{"a.asc": exported(t, alice)},
			signature: []byte("signed: yes"), err: verify.ErrUnsupported,
		},
		"Garbage": {
			reason: "What cannot be read does not count.", keys: map[string][]byte{"a.asc": exported(t, alice)},
			signature: []byte("-----BEGIN PGP SIGNATURE-----\n\nAAAA\n-----END PGP SIGNATURE-----\n"), err: verify.ErrNotTrusted,
		},
		"Huge": {
			reason: "What is too large is not read.", keys: map[string][]byte{"a.asc": exported(t, alice)},
			signature: append([]byte("-----BEGIN PGP SIGNATURE-----\n\n"), bytes.Repeat([]byte("A"), 1<<20)...), err: verify.ErrNotTrusted, text: "more than",
		},
	}

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			k, err := verify.NewKeyring(tc.keys)
			if err != nil {
				t.Fatal(err)
			}

			k.Now = now

			payload := commit
			if tc.payload != "" {
				payload = tc.payload
			}

			got, err := k.Verify([]byte(payload), tc.signature)
			if got != tc.want || !errors.Is(err, tc.err) || err != nil && !strings.Contains(err.Error(), tc.text) {
				t.Errorf("%s\nVerify(): want %q, error %v %q; got %q, error %v", tc.reason, tc.want, tc.err, tc.text, got, err)
			}
		})
	}
}

// TestKeyringShared holds that a keyring may be used by many: OpenPGP notes in its keys what it found out.
func TestKeyringShared(t *testing.T) {
	alice := entity(t, -time.Hour, 0)
	signature := sign(t, alice, -time.Minute, crypto.SHA256)

	k, err := verify.NewKeyring(map[string][]byte{"a.asc": exported(t, alice), "b.sshpub": []byte(sshKey)})
	if err != nil {
		t.Fatal(err)
	}

	k.Now = now

	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if _, err := k.Verify([]byte(commit), signature); err != nil {
				t.Errorf("Verify(): %v", err)
			}
		})
	}

	wg.Wait()
}

// run runs a program of those who sign.
func run(t *testing.T, dir string, stdin string, program string, args ...string) []byte {
	t.Helper()

	cmd := exec.CommandContext(t.Context(), program, args...)
	cmd.Dir = dir
	cmd.Env = append(cmd.Environ(), "HOME="+dir, "GNUPGHOME="+dir)
	cmd.Stdin = strings.NewReader(stdin)

	var stderr bytes.Buffer
	cmd.Stderr = &stderr

	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", program, strings.Join(args, " "), err, stderr.String())
	}

	return out
}

func need(t *testing.T, program string) {
	t.Helper()

	if _, err := exec.LookPath(program); err != nil {
		t.Skipf("no %s", program)
	}
}

// TestKeyringGPG verifies what gpg signs.
func TestKeyringGPG(t *testing.T) {
	need(t, "gpg")

	dir := t.TempDir()
	t.Cleanup(func() {
		_ = exec.Command("gpgconf", "--homedir", dir, "--kill", "all").Run() //nolint:noctx // the test's context is done
	})

	for _, kind := range []string{"rsa3072", "ed25519", "nistp256"} {
		t.Run(kind, func(t *testing.T) {
			user := kind + "@example.com"
			run(t, dir, "", "gpg", "--batch", "--pinentry-mode", "loopback", "--passphrase", "", "--quick-generate-key", user, kind, "sign", "1d")

			public := run(t, dir, "", "gpg", "--batch", "--armor", "--export", user)
			signature := run(t, dir, commit, "gpg", "--batch", "--armor", "--detach-sign", "--local-user", user)

			k, err := verify.NewKeyring(map[string][]byte{"a.asc": public})
			if err != nil {
				t.Fatal(err)
			}

			id, err := k.Verify([]byte(commit), signature)
			if err != nil {
				t.Errorf("Verify(): %v", err)
			}

			if listed := run(t, dir, "", "gpg", "--batch", "--with-colons", "--list-keys", user); id == "" || !bytes.Contains(listed, []byte(id)) {
				t.Errorf("Verify(): key %q is not among\n%s", id, listed)
			}

			if _, err := k.Verify([]byte(commit+"x"), signature); !errors.Is(err, verify.ErrNotTrusted) {
				t.Errorf("Verify() of another commit: %v", err)
			}

			if kind == "rsa3072" { // the others sign no short hashes
				weak := run(t, dir, commit, "gpg", "--batch", "--armor", "--detach-sign", "--digest-algo", "SHA1", "--local-user", user)
				if _, err := k.Verify([]byte(commit), weak); !errors.Is(err, verify.ErrNotTrusted) || !strings.Contains(err.Error(), "insecure") {
					t.Errorf("Verify() of SHA-1: %v", err)
				}
			}

			text := run(t, dir, commit, "gpg", "--batch", "--armor", "--detach-sign", "--textmode", "--local-user", user)
			if _, err := k.Verify([]byte(commit), text); !errors.Is(err, verify.ErrUnsupported) {
				t.Errorf("Verify() of a text: %v", err)
			}

			k.Now = func() time.Time { return time.Now().Add(48 * time.Hour) }

			if _, err := k.Verify([]byte(commit), signature); !errors.Is(err, verify.ErrNotTrusted) {
				t.Errorf("Verify() in two days: %v", err)
			}
		})
	}
}

// TestKeyringSSHKeygen verifies what ssh-keygen signs.
func TestKeyringSSHKeygen(t *testing.T) {
	need(t, "ssh-keygen")

	dir := t.TempDir()
	keys := map[string][]byte{}

	for kind, args := range map[string][]string{
		"ed25519": {"-t", "ed25519"}, "rsa": {"-t", "rsa", "-b", "3072"}, "ecdsa": {"-t", "ecdsa", "-b", "384"}, "eve": {"-t", "ed25519"},
	} {
		run(t, dir, "", "ssh-keygen", append([]string{"-q", "-N", "", "-C", kind, "-f", kind}, args...)...)

		var err error
		if keys[kind], err = os.ReadFile(filepath.Join(dir, kind+".pub")); err != nil {
			t.Fatal(err)
		}
	}

	// A certificate of the key of ed25519 by eve.
	run(t, dir, "", "ssh-keygen", "-q", "-s", "eve", "-I", "alice", "-n", "alice", "ed25519.pub")

	signed := func(key, namespace string, more ...string) []byte {
		return run(t, dir, commit, "ssh-keygen", append([]string{"-q", "-Y", "sign", "-n", namespace, "-f", key}, more...)...)
	}

	authorized := append([]byte("# who may sign\n\n"), bytes.Join([][]byte{keys["rsa"], keys["ecdsa"], keys["ed25519"]}, nil)...)

	cases := map[string]struct {
		reason    string
		payload   string // empty: the commit
		signature []byte
		key       string // whose fingerprint is returned
		err       error
		text      string
	}{
		"ED25519":     {reason: "ED25519.", signature: signed("ed25519", "git"), key: "ed25519"},
		"RSA":         {reason: "RSA.", signature: signed("rsa", "git"), key: "rsa"},
		"ECDSA":       {reason: "ECDSA.", signature: signed("ecdsa", "git"), key: "ecdsa"},
		"SHA256":      {reason: "The other hash.", signature: signed("ed25519", "git", "-O", "hashalg=sha256"), key: "ed25519"},
		"WrongKey":    {reason: "Another key.", signature: signed("eve", "git"), err: verify.ErrNotTrusted, text: "is not among the authorised ones"},
		"Namespace":   {reason: "Made for something else.", signature: signed("ed25519", "file"), err: verify.ErrNotTrusted, text: `it was made for "file", not for "git"`},
		"Certificate": {reason: "Certificates are not supported.", signature: signed("ed25519-cert.pub", "git"), err: verify.ErrUnsupported, text: "SSH certificate"},
		"Tampered":    {reason: "Another commit.", payload: commit + " ", signature: signed("ed25519", "git"), err: verify.ErrNotTrusted},
		"Trailing":    {reason: "Nothing may stand beside it.", signature: append(signed("ed25519", "git"), "x\n"...), err: verify.ErrNotTrusted, text: "malformed armour"},
		"Twice":       {reason: "Nothing may stand beside it.", signature: bytes.Repeat(signed("ed25519", "git"), 2), err: verify.ErrNotTrusted, text: "malformed armour"},
		"Cut":         {reason: "What is cut off does not count.", signature: []byte("-----BEGIN SSH SIGNATURE-----\nU1NIU0lHAAAAAQ==\n-----END SSH SIGNATURE-----"), err: verify.ErrNotTrusted, text: "malformed signature"},
		"Magic":       {reason: "What begins otherwise does not count.", signature: []byte("-----BEGIN SSH SIGNATURE-----\nU1NIU0lI\n-----END SSH SIGNATURE-----"), err: verify.ErrNotTrusted, text: "malformed signature"},
	}

	k, err := verify.NewKeyring(map[string][]byte{"authors.sshpub": authorized})
	if err != nil {
		t.Fatal(err)
	}

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			payload := commit
			if tc.payload != "" {
				payload = tc.payload
			}

			got, err := k.Verify([]byte(payload), tc.signature)
			if !errors.Is(err, tc.err) || err != nil && !strings.Contains(err.Error(), tc.text) {
				t.Errorf("%s\nVerify(): want error %v %q; got error %v", tc.reason, tc.err, tc.text, err)
			}

			if tc.key == "" {
				if got != "" {
					t.Errorf("%s\nVerify(): got %q", tc.reason, got)
				}

				return
			}

			if listed := run(t, dir, "", "ssh-keygen", "-l", "-f", tc.key+".pub"); !bytes.Contains(listed, []byte(" "+got+" ")) {
				t.Errorf("%s\nVerify(): got %q, want that of %s", tc.reason, got, listed)
			}
		})
	}

	// The kinds that a keyring refuses.
	for name, tc := range map[string]struct{ file, text string }{
		"Certificate": {file: "ed25519-cert.pub", text: "unsupported kind of signature"},
	} {
		b, err := os.ReadFile(filepath.Join(dir, tc.file))
		if err != nil {
			t.Fatal(err)
		}

		if _, err := verify.NewKeyring(map[string][]byte{"a.sshpub": b}); err == nil || !strings.Contains(err.Error(), tc.text) {
			t.Errorf("NewKeyring(%s): got error %v", name, err)
		}
	}
}

// sshKey is a public key, and the others are what is none.
const (
	sshKey   = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIPq3NIyKMR6eKMMVPpgbKnc5YyXRdXVhTX0HvzD9Yx8y a\n"
	shortRSA = "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAAAgQDHDZ3Kl1fjlnDULhUBl9JTlsm0lrOAa3QdXAGE2XdMN/yrMIL9Sq6PqKjVo+zFMO4v7vFyeo+WIFBEIJEWaCSXIkNoX9ig3UtJDMdW9SDGzk3fUzRB0HHbKqHnQPLTPDi0IFp6mQ2qUCqI4qUJ1Q9J0UhXxWpcqEDbyrJL9G5sQw== a\n"
)

// longKey is the head of an ElGamal key with a prime of 60000 bits.
func longKey(t *testing.T) []byte {
	t.Helper()

	body := append([]byte{4, 0, 0, 0, 0, 16, 60_000 >> 8, 60_000 & 0xff}, bytes.Repeat([]byte{0xff}, 60_000/8)...)
	head := binary.BigEndian.AppendUint32([]byte{0xc6, 0xff}, uint32(len(body)))

	var text bytes.Buffer

	w, err := armor.Encode(&text, openpgp.PublicKeyType, nil)
	if err != nil {
		t.Fatal(err)
	}

	_, _ = w.Write(append(head, body...))
	_ = w.Close()

	return text.Bytes()
}

func TestNewKeyring(t *testing.T) {
	good := exported(t, entity(t, -time.Hour, 0))

	cases := map[string]struct {
		reason string
		data   map[string][]byte
		err    error
		text   string
	}{
		"Nil":        {reason: "Nobody is not everybody.", err: verify.ErrNoKeys},
		"Empty":      {reason: "Nobody is not everybody.", data: map[string][]byte{}, err: verify.ErrNoKeys},
		"EmptyEntry": {reason: "The entry is named.", data: map[string][]byte{"a.asc": good, "b.asc": []byte("\n")}, err: verify.ErrNoKeys, text: `"b.asc"`},
		"Garbage":    {reason: "The entry is named.", data: map[string][]byte{"a.asc": good, "b": []byte("key")}, text: `read public keys "b"`},
		"Armour":     {reason: "A signature is no key.", data: map[string][]byte{"b.asc": []byte("-----BEGIN PGP SIGNATURE-----\n\nAAAA\n-----END PGP SIGNATURE-----\n")}, text: `it holds a "PGP SIGNATURE"`},
		"SSHNone":    {reason: "Comments are no keys.", data: map[string][]byte{"b.sshpub": []byte("# nobody\n")}, err: verify.ErrNoKeys, text: `"b.sshpub"`},
		"SSHGarbage": {reason: "Every line has to be a key.", data: map[string][]byte{"b.sshpub": []byte(sshKey + "ssh-ed25519 AAAA\n")}, text: "line 2 is no public key"},
		"SSHOptions": {reason: "Options are not honoured, so they must not be there.", data: map[string][]byte{"b.sshpub": []byte("\n" + `expiry-time="20200101" ` + sshKey)}, text: "the key in line 2 has options"},
		"SSHShort":   {reason: "Weak keys are refused.", data: map[string][]byte{"b.sshpub": []byte(shortRSA)}, text: "line 1: the RSA key is too short"},
		"LongNumber": {reason: "A key whose numbers take minutes is not even read.", data: map[string][]byte{"b.asc": longKey(t)}, text: `read public keys "b.asc": an OpenPGP key has more than 4096 bits`},
	}

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			_, err := verify.NewKeyring(tc.data)
			if err == nil || tc.err != nil && !errors.Is(err, tc.err) || !strings.Contains(err.Error(), tc.text) {
				t.Errorf("%s\nNewKeyring(): got error %v", tc.reason, err)
			}
		})
	}
}

func TestKeyringFingerprint(t *testing.T) {
	fingerprint := func(data map[string][]byte) string {
		k, err := verify.NewKeyring(data)
		if err != nil {
			t.Fatal(err)
		}

		return k.Fingerprint()
	}

	a, b := exported(t, entity(t, -time.Hour, 0)), exported(t, entity(t, -time.Hour, 0))

	if fingerprint(map[string][]byte{"a": a, "b": b}) != fingerprint(map[string][]byte{"b": a, "a": b}) {
		t.Error("the names count")
	}

	if fingerprint(map[string][]byte{"a": a, "b": b}) == fingerprint(map[string][]byte{"a": a}) {
		t.Error("a key that was removed does not count")
	}
}
