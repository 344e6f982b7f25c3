package decryption

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/weir-dev/weir/reconcilers/decryption/sops"
	"github.com/weir-dev/weir/reconcilers/flight"
	"github.com/weir-dev/weir/reconcilers/secrets"
)

const (
	// maxSecrets is how many Secrets are kept in the form of keys.
	maxSecrets = 256

	// maxDataKeys is how many data keys are kept, and dataKeyAge for how long: as long as somebody may go on to read what did not
	// change after his access to a key service has ended.
	maxDataKeys = 4096
	dataKeyAge  = time.Hour

	// maxAsking is how long a session may wait for key services. One that does not answer leaves time for another one.
	maxAsking = time.Minute
)

// Services are key services. Package kms has them.
type Services interface {
	// For returns what asks for the object, whose Secret holds the data, if it has one. It asks nobody itself. Its error names
	// what in the Secret is wrong.
	For(r Request, secret map[string][]byte) (sops.Keys, error)
}

// ServicesFunc is a function as Services.
type ServicesFunc func(r Request, secret map[string][]byte) (sops.Keys, error)

// For implements Services.
func (f ServicesFunc) For(r Request, secret map[string][]byte) (sops.Keys, error) {
	return f(r, secret)
}

// Lane is where those wait whose key service is slow, so that they do not hold all workers. *source.Lane is one.
type Lane interface {
	// Bounded runs what waits for a server. It ends it after the timeout, or if too many others of the namespace wait.
	Bounded(ctx context.Context, namespace string, timeout time.Duration, wait func(context.Context) error) error
}

// Options of a Decryption.
type Options struct {
	// Secrets reads the Secrets of objects. It is required. They are read each time: who was told that one has changed must
	// not see the one before.
	Secrets secrets.Reader

	// Fallback returns the Secret with age keys for objects that name none. Nil means that there is none.
	Fallback func(ctx context.Context) (*corev1.Secret, error)

	// Services are asked for what no private key decrypts. Nil means that there are none.
	Services Services

	// Lane is for those who wait for Services. It is required with them.
	Lane Lane

	// Now is the clock. Nil means the machine's.
	Now func() time.Time
}

// Decryption decrypts for many objects. It is safe for concurrent use.
type Decryption struct {
	options    Options
	identities flight.Memo[flight.Fingerprint, *Identities]
	dataKeys   flight.Group[flight.Fingerprint, []byte]
}

// New returns a Decryption.
func New(o Options) *Decryption {
	if o.Now == nil {
		o.Now = time.Now
	}

	return &Decryption{
		options:    o,
		identities: flight.Memo[flight.Fingerprint, *Identities]{Size: maxSecrets},
		dataKeys: flight.Group[flight.Fingerprint, []byte]{
			Age: dataKeyAge, Room: maxDataKeys, Weigh: func([]byte) int64 { return 1 }, Now: o.Now,
		},
	}
}

// Request says for whom to decrypt.
type Request struct {
	// Kind, Namespace and Name of the object.
	Kind, Namespace, Name string

	// Secret names the Secret with its keys, in its namespace. Empty means that it has none.
	Secret string

	// ServiceAccount as which to ask key services, in its namespace. Empty leaves it to them.
	ServiceAccount string
}

// Open returns what decrypts for the object as its Secret is now. A Secret that is not there, or holds a key that cannot be used,
// is an error that names it.
func (d *Decryption) Open(ctx context.Context, r Request) (*Session, error) {
	s := &Session{decryption: d, namespace: r.Namespace, where: "the object names no Secret with keys"}

	var data map[string][]byte

	switch {
	case r.Secret != "":
		secret, err := secrets.Get(ctx, d.options.Secrets, r.Namespace, r.Secret)
		if err != nil {
			return nil, err //nolint:wrapcheck // it names the Secret
		}

		data = secret.Data
		s.where = fmt.Sprintf("decryption secret '%s/%s'", r.Namespace, r.Secret)
		s.local = data
	case d.options.Fallback != nil:
		secret, err := d.options.Fallback(ctx)
		if err != nil {
			return nil, fmt.Errorf("failed to get the secret with the age keys of the controller: %w", err)
		}

		s.where = fmt.Sprintf("decryption secret '%s/%s' of the controller", secret.Namespace, secret.Name)
		s.local = onlyAge(secret.Data)
	}

	contents := fingerprint(s.local)
	s.print = flight.FingerprintOf(r.Namespace, r.ServiceAccount, r.Secret, string(contents[:]))

	var err error
	if s.identities, err = d.parsed(contents, s.local); err != nil {
		return nil, fmt.Errorf("%s: %w", s.where, err)
	}

	if d.options.Services == nil {
		return s, nil
	}

	if s.services, err = d.options.Services.For(r, data); err != nil {
		return nil, fmt.Errorf("%s: %w", s.where, err)
	}

	return s, nil
}

// parsed returns the private keys of a Secret, which many may share.
func (d *Decryption) parsed(contents flight.Fingerprint, data map[string][]byte) (*Identities, error) {
	if known, ok := d.identities.Get(contents); ok {
		return known, nil
	}

	identities, err := ParseIdentities(data)
	if err != nil {
		return nil, err
	}

	d.identities.Put(contents, identities)

	return identities, nil
}

// fingerprint stands for what a Secret holds.
func fingerprint(data map[string][]byte) flight.Fingerprint {
	parts := make([]string, 0, 2*len(data)) //nolint:mnd // key and value
	for _, key := range slices.Sorted(maps.Keys(data)) {
		parts = append(parts, key, string(data[key]))
	}

	return flight.FingerprintOf(parts...)
}

// onlyAge returns the age keys: those of the controller stand in for no other ones.
func onlyAge(data map[string][]byte) map[string][]byte {
	age := map[string][]byte{}

	for key, value := range data {
		if strings.HasSuffix(key, ageExtension) {
			age[key] = value
		}
	}

	return age
}
