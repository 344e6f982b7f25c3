package transport

import (
	"cmp"
	"fmt"
	"net/http"
	"net/url"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/weir-dev/weir/reconcilers/flight"
	"github.com/weir-dev/weir/reconcilers/secrets"
)

// Keys of the Secret, beside those of package secrets.
const (
	keyIdentity   = "identity"
	keyKnownHosts = "known_hosts"
)

// defaultUser logs in over SSH if the URL says nobody else.
const defaultUser = "git"

// Credentials prove who we are to a server, and who the server is to us. The zero value is nobody, and trusts those whom the
// machine trusts; it is of no use for SSH.
type Credentials struct {
	username, password, bearer string       // HTTP
	tls                        *secrets.TLS // HTTPS
	user                       string       // SSH
	identity, passphrase       []byte       // SSH
	knownHosts                 []byte       // SSH
	secret                     string       // namespace/name of the Secret, for messages
}

// ReadCredentials returns the credentials for the URL: those of the Secret, which may be nil, or the user information of the
// URL.
func ReadCredentials(u *url.URL, secret *corev1.Secret) (Credentials, error) {
	if secret == nil {
		secret = &corev1.Secret{}
	}

	if u.Scheme == schemeSSH {
		return readSSH(u, secret)
	}

	return readHTTP(u, secret)
}

func readHTTP(u *url.URL, s *corev1.Secret) (Credentials, error) {
	c := Credentials{
		username: string(s.Data[secrets.Username]), password: string(s.Data[secrets.Password]),
		bearer: string(s.Data[secrets.Bearer]),
	}

	switch {
	case c.bearer != "" && c.username+c.password != "":
		return c, fmt.Errorf("invalid '%s' auth option: '%s' and '%s' cannot both be set", u.Scheme, secrets.Username, secrets.Bearer)
	case c.username == "" && c.password != "":
		return c, fmt.Errorf("invalid '%s' auth option: '%s' requires '%s' to be set", u.Scheme, secrets.Password, secrets.Username)
	}

	if c.username+c.bearer == "" && u.User != nil {
		c.username = u.User.Username()
		c.password, _ = u.User.Password()
	}

	var err error
	if c.tls, err = ReadTLS(s); err != nil {
		return c, fmt.Errorf("invalid '%s' auth option: %w", u.Scheme, err)
	}

	return c, nil
}

// ReadTLS returns what the Secret of a repository says about certificates; nil if it says nothing. Of the old names of keys, only
// the one of the authority counts. Source: reference §2.3.
func ReadTLS(s *corev1.Secret) (*secrets.TLS, error) {
	data := map[string][]byte{secrets.CA: s.Data[secrets.CA], secrets.Cert: s.Data[secrets.Cert], secrets.Key: s.Data[secrets.Key]}
	if len(data[secrets.CA]) == 0 {
		data[secrets.CA] = s.Data[secrets.LegacyCA]
	}

	return secrets.FindTLS(&corev1.Secret{ObjectMeta: named(s), Data: data}, false) //nolint:wrapcheck // names the Secret
}

// named is the name of a Secret.
func named(s *corev1.Secret) metav1.ObjectMeta {
	return metav1.ObjectMeta{Namespace: s.Namespace, Name: s.Name}
}

func readSSH(u *url.URL, s *corev1.Secret) (Credentials, error) {
	c := Credentials{
		user:     cmp.Or(u.User.Username(), defaultUser),
		identity: s.Data[keyIdentity], passphrase: s.Data[secrets.Password], knownHosts: s.Data[keyKnownHosts],
	}

	if s.Name != "" {
		c.secret = s.Namespace + "/" + s.Name
	}

	for _, key := range []string{keyIdentity, keyKnownHosts} {
		if len(s.Data[key]) == 0 {
			return c, fmt.Errorf("invalid 'ssh' auth option: '%s' is required", key)
		}
	}

	return c, nil
}

// Token returns credentials for HTTP that a provider gave: username and password, or a bearer token. What the Secret says about
// certificates, which may be nil, stays in force.
func Token(username, password, bearer string, certificates *secrets.TLS) Credentials {
	return Credentials{username: username, password: password, bearer: bearer, tls: certificates}
}

// Elsewhere returns what of the credentials may be used with another server than the one they are for: whom to trust. The user
// information of the URL of that server counts.
func (c Credentials) Elsewhere(u *url.URL) Credentials {
	other := Credentials{tls: c.tls.Authorities()}
	if u.User != nil {
		other.username = u.User.Username()
		other.password, _ = u.User.Password()
	}

	return other
}

// At returns the credentials for another repository on the server that they are for.
func (c Credentials) At(u *url.URL) Credentials {
	if u.Scheme == schemeSSH {
		c.user = cmp.Or(u.User.Username(), c.user)
	}

	return c
}

// authorize puts the credentials for HTTP into a request.
func (c Credentials) authorize(req *http.Request) {
	switch {
	case c.bearer != "":
		req.Header.Set("Authorization", "Bearer "+c.bearer)
	case c.username != "":
		req.SetBasicAuth(c.username, c.password)
	}
}

// Fingerprint of all that decides what the server lets us see.
func (c Credentials) Fingerprint() flight.Fingerprint {
	certificates := c.tls.Fingerprint()

	return flight.FingerprintOf(c.username, c.password, c.bearer, string(certificates[:]),
		c.user, string(c.identity), string(c.passphrase), string(c.knownHosts))
}
