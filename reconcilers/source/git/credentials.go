package git

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"net/url"

	"golang.org/x/crypto/ssh"
	corev1 "k8s.io/api/core/v1"

	"github.com/weir-dev/weir/reconcilers/flight"
)

// Keys of the Secret.
const (
	keyUsername   = "username"
	keyPassword   = "password"
	keyBearer     = "bearerToken"
	keyCA         = "ca.crt"
	keyLegacyCA   = "caFile"
	keyCert       = "tls.crt"
	keyKey        = "tls.key"
	keyIdentity   = "identity"
	keyKnownHosts = "known_hosts"

	keyGitHubAppID       = "githubAppID"
	keyGitHubAppClientID = "githubAppClientID"
)

const schemeSSH = "ssh"

// defaultUser logs in over SSH if the URL says nobody else.
const defaultUser = "git"

// credentials prove who we are to a server, and who the server is to us.
type credentials struct {
	username, password, bearer string // HTTP
	ca, cert, key              []byte // HTTPS
	user                       string // SSH
	identity, passphrase       []byte // SSH
	knownHosts                 []byte // SSH
	secret                     string // namespace/name of the Secret, for messages
}

// readCredentials returns the credentials for the URL: those of the Secret, which may be nil, or the user information of the
// URL.
func readCredentials(u *url.URL, secret *corev1.Secret) (credentials, error) {
	data := map[string][]byte{}
	if secret != nil {
		data = secret.Data
	}

	if _, ok := data[keyGitHubAppID]; ok || data[keyGitHubAppClientID] != nil {
		return credentials{}, fmt.Errorf("secretRef '%s/%s' has github app data but provider is not set to github",
			secret.Namespace, secret.Name)
	}

	if u.Scheme == schemeSSH {
		return readSSH(u, secret, data)
	}

	return readHTTP(u, data)
}

func readHTTP(u *url.URL, data map[string][]byte) (credentials, error) {
	c := credentials{
		username: string(data[keyUsername]), password: string(data[keyPassword]), bearer: string(data[keyBearer]),
		ca: data[keyCA], cert: data[keyCert], key: data[keyKey],
	}

	if len(c.ca) == 0 {
		c.ca = data[keyLegacyCA]
	}

	switch {
	case c.bearer != "" && c.username+c.password != "":
		return c, fmt.Errorf("invalid '%s' auth option: '%s' and '%s' cannot both be set", u.Scheme, keyUsername, keyBearer)
	case c.username == "" && c.password != "":
		return c, fmt.Errorf("invalid '%s' auth option: '%s' requires '%s' to be set", u.Scheme, keyPassword, keyUsername)
	case len(c.key) > maxKey:
		return c, fmt.Errorf("invalid '%s' auth option: '%s' has more than %d bytes", u.Scheme, keyKey, maxKey)
	case (len(c.cert) == 0) != (len(c.key) == 0):
		return c, fmt.Errorf("invalid '%s' auth option: '%s' and '%s' have to be set together", u.Scheme, keyCert, keyKey)
	}

	if c.username+c.bearer == "" && u.User != nil {
		c.username = u.User.Username()
		c.password, _ = u.User.Password()
	}

	_, err := c.tls()

	return c, err
}

func readSSH(u *url.URL, secret *corev1.Secret, data map[string][]byte) (credentials, error) {
	c := credentials{
		user: u.User.Username(), identity: data[keyIdentity], passphrase: data[keyPassword], knownHosts: data[keyKnownHosts],
	}

	if secret != nil {
		c.secret = secret.Namespace + "/" + secret.Name
	}

	if c.user == "" {
		c.user = defaultUser
	}

	for _, key := range []string{keyIdentity, keyKnownHosts} {
		if len(data[key]) == 0 {
			return c, fmt.Errorf("invalid 'ssh' auth option: '%s' is required", key)
		}
	}

	return c, nil
}

// What a private key may cost. A worker waits for it, and nothing can stop it.
const (
	// maxKey is the bytes of its file: those of RSA with 16384 bits fit.
	maxKey = 16 << 10
	// maxKeyRounds is how often the passphrase is hashed: each round takes some milliseconds.
	maxKeyRounds = 1024
)

// checkKey refuses a private key that would take too long to read or to use.
func checkKey(file []byte) error {
	if len(file) > maxKey {
		return fmt.Errorf("invalid 'ssh' auth option: '%s' has more than %d bytes", keyIdentity, maxKey)
	}

	block, _ := pem.Decode(file)
	if block == nil {
		return nil
	}

	var key struct {
		Cipher, KDF, Options string
		Rest                 []byte `ssh:"rest"`
	}

	// Keys in other formats are decrypted fast.
	raw, ok := bytes.CutPrefix(block.Bytes, []byte("openssh-key-v1\x00"))
	if !ok || ssh.Unmarshal(raw, &key) != nil {
		return nil //nolint:nilerr // the library fails on it with the better message
	}

	var bcrypt struct {
		Salt   string
		Rounds uint32
	}

	if key.KDF == "bcrypt" && ssh.Unmarshal([]byte(key.Options), &bcrypt) == nil && bcrypt.Rounds > maxKeyRounds {
		return fmt.Errorf("invalid 'ssh' auth option: '%s' hashes its passphrase more than %d times", keyIdentity, maxKeyRounds)
	}

	return nil
}

// signer returns the private key for SSH. Its errors say nothing about the key.
func (c credentials) signer() (ssh.Signer, error) {
	if err := checkKey(c.identity); err != nil {
		return nil, err
	}

	if len(c.passphrase) > 0 {
		if s, err := ssh.ParsePrivateKeyWithPassphrase(c.identity, c.passphrase); err == nil {
			return s, nil
		}
	}

	// A key without a passphrase is taken, although one is given.
	s, err := ssh.ParsePrivateKey(c.identity)
	if _, missing := errors.AsType[*ssh.PassphraseMissingError](err); missing {
		if len(c.passphrase) > 0 {
			return nil, fmt.Errorf("invalid 'ssh' auth option: '%s' does not decrypt '%s'", keyPassword, keyIdentity)
		}

		return nil, fmt.Errorf("SSH identity key is encrypted but no 'password' field was provided in the secret '%s'", c.secret)
	}

	if err != nil {
		return nil, fmt.Errorf("invalid 'ssh' auth option: '%s' is no private key", keyIdentity)
	}

	return s, nil
}

// tls returns the configuration for HTTPS, or nil if there is nothing special.
func (c credentials) tls() (*tls.Config, error) {
	if len(c.ca)+len(c.cert) == 0 {
		return nil, nil //nolint:nilnil // nil is a configuration
	}

	config := &tls.Config{MinVersion: tls.VersionTLS12}

	if len(c.ca) > 0 {
		pool, err := x509.SystemCertPool()
		if err != nil {
			pool = x509.NewCertPool()
		}

		if !pool.AppendCertsFromPEM(c.ca) {
			return nil, fmt.Errorf("invalid 'https' auth option: '%s' holds no certificate", keyCA)
		}

		config.RootCAs = pool
	}

	if len(c.cert) > 0 {
		pair, err := tls.X509KeyPair(c.cert, c.key)
		if err != nil {
			return nil, fmt.Errorf("invalid 'https' auth option: '%s' and '%s' are no pair of certificate and key", keyCert, keyKey)
		}

		config.Certificates = []tls.Certificate{pair}
	}

	return config, nil
}

// authorize puts the credentials for HTTP into a request.
func (c credentials) authorize(req *http.Request) {
	switch {
	case c.bearer != "":
		req.Header.Set("Authorization", "Bearer "+c.bearer)
	case c.username != "":
		req.SetBasicAuth(c.username, c.password)
	}
}

// fingerprint of all that decides what the server lets us see.
func (c credentials) fingerprint() flight.Fingerprint {
	return flight.FingerprintOf(c.username, c.password, c.bearer, string(c.ca), string(c.cert), string(c.key),
		c.user, string(c.identity), string(c.passphrase), string(c.knownHosts))
}
