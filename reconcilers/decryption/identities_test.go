package decryption_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/armor"

	"github.com/weir-dev/weir/reconcilers/decryption"
	"github.com/weir-dev/weir/reconcilers/decryption/sops"
)

func TestUnwrapRefuses(t *testing.T) {
	p := tool(t)
	a, err := p.AgeKey()
	age := must(t, a, err)
	g, err := p.PGPKey(t.Context(), "ed25519", "")
	pgp := must(t, g, err)

	identities, err := decryption.ParseIdentities(map[string][]byte{"a.agekey": age.Private, "p.asc": pgp.Private})
	if err != nil {
		t.Fatal(err)
	}

	// Whoever writes a file may put a data key into it in the clear.
	m, err := openpgp.NewEntity("Mallory", "", "mallory@example.com", nil)
	mallory := must(t, m, err)

	var signed bytes.Buffer

	armored, err := armor.Encode(&signed, "PGP MESSAGE", nil)
	w := must(t, armored, err)
	s, err := openpgp.Sign(w, mallory, nil, nil)
	text := must(t, s, err)

	_, err = text.Write(bytes.Repeat([]byte("k"), 32))
	if err := errors.Join(err, text.Close(), w.Close()); err != nil {
		t.Fatal(err)
	}

	for name, c := range map[string]struct {
		reason string
		r      sops.Recipient
		none   bool // it is somebody else's
		want   string
	}{
		"OtherAge":     {"an age key decrypts for its recipient", sops.Recipient{Kind: sops.Age, Recipient: "age1other", Encrypted: "x"}, true, "no key for it"},
		"MalformedAge": {"what is malformed is not quoted", sops.Recipient{Kind: sops.Age, Recipient: age.Recipient, Encrypted: "secret"}, false, "the data key is not encrypted to it, or malformed"},
		"OtherPGP":     {"an OpenPGP key that is not there", sops.Recipient{Kind: sops.PGP, Fingerprint: "ABCD", Encrypted: signed.String()}, true, "no key for it"},
		"ClearPGP":     {"nothing that is not encrypted", sops.Recipient{Kind: sops.PGP, Fingerprint: pgp.Recipient, Encrypted: signed.String()}, false, "the data key does not decrypt with it"},
		"MalformedPGP": {"nor what is malformed", sops.Recipient{Kind: sops.PGP, Fingerprint: pgp.Recipient, Encrypted: "secret"}, false, "the data key does not decrypt with it"},
		"LongPGP":      {"nor what takes long", sops.Recipient{Kind: sops.PGP, Encrypted: strings.Repeat("x", 9<<10)}, false, "the encrypted data key has more than 8192 bytes"},
		"KeyService":   {"key services are somebody else's business", sops.Recipient{Kind: sops.AWSKMS}, true, "no key for it"},
	} {
		t.Run(name, func(t *testing.T) {
			key, err := identities.Unwrap(t.Context(), c.r)
			if _, none := errors.AsType[*sops.NoKeyError](err); key != nil || err == nil || none != c.none || err.Error() != c.want {
				t.Errorf("%s: got %q, error %v, want %q", c.reason, key, err, c.want)
			}
		})
	}
}
