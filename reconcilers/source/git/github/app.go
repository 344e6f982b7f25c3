package github

import (
	"cmp"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/weir-dev/weir/reconcilers/flight"
	"github.com/weir-dev/weir/reconcilers/ingest"
	"github.com/weir-dev/weir/reconcilers/secrets"
)

// Keys of the Secret. Source: reference §2.3.
const (
	keyAppID             = "githubAppID"
	keyClientID          = "githubAppClientID"
	keyInstallationID    = "githubAppInstallationID"
	keyInstallationOwner = "githubAppInstallationOwner"
	keyPrivateKey        = "githubAppPrivateKey"
	keyBaseURL           = "githubAppBaseURL"
)

// Username is who logs in with a token.
const Username = "x-access-token"

// defaultBaseURL is where the API of github.com is.
const defaultBaseURL = "https://api.github.com"

// maxKey bounds the private key, in bytes: those of RSA with 16384 bits fit.
const maxKey = 16 << 10

// App is a GitHub App, and one of its installations.
type App struct {
	issuer              string // its ID, or its client ID
	installation, owner string // one of them is set
	key                 []byte
	base                *url.URL
	tls                 *secrets.TLS
	proxy               *url.URL
}

// Names tells whether the Secret is that of a GitHub App.
func Names(s *corev1.Secret) bool {
	return s != nil && (len(s.Data[keyAppID]) > 0 || len(s.Data[keyClientID]) > 0)
}

// ReadApp reads the keys of a Secret. The certificates and the proxy, which may be nil, are those for the API. Its errors say
// nothing of the values.
func ReadApp(s *corev1.Secret, certificates *secrets.TLS, proxy *url.URL) (App, error) {
	a := App{key: s.Data[keyPrivateKey], tls: certificates, proxy: proxy}

	read := func(key string, form *regexp.Regexp) (string, error) {
		value := strings.TrimSpace(string(s.Data[key]))
		if value != "" && !form.MatchString(value) {
			return "", fmt.Errorf("'%s' is not in the form that GitHub gives it", key)
		}

		return value, nil
	}

	number, word := regexp.MustCompile(`^[0-9]{1,20}$`), regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.-]{0,99}$`)

	id, err := read(keyAppID, number)
	if err != nil {
		return a, err
	}

	client, err := read(keyClientID, word)
	if err != nil {
		return a, err
	}

	if a.installation, err = read(keyInstallationID, number); err != nil {
		return a, err
	}

	if a.owner, err = read(keyInstallationOwner, word); err != nil {
		return a, err
	}

	a.issuer = cmp.Or(id, client)

	switch {
	case (id == "") == (client == ""):
		return a, fmt.Errorf("exactly one of '%s' and '%s' has to be set", keyAppID, keyClientID)
	case (a.installation == "") == (a.owner == ""):
		return a, fmt.Errorf("exactly one of '%s' and '%s' has to be set", keyInstallationID, keyInstallationOwner)
	case len(a.key) == 0:
		return a, fmt.Errorf("'%s' is required", keyPrivateKey)
	case len(a.key) > maxKey:
		return a, fmt.Errorf("'%s' has more than %d bytes", keyPrivateKey, maxKey)
	}

	a.base, err = readBase(strings.TrimSpace(string(s.Data[keyBaseURL])))

	return a, err
}

func readBase(raw string) (*url.URL, error) {
	u, err := url.Parse(strings.TrimRight(cmp.Or(raw, defaultBaseURL), "/"))

	switch {
	case err != nil:
		return nil, fmt.Errorf("'%s' is no URL: %w", keyBaseURL, ingest.RedactError(err))
	case u.Scheme != "https" && u.Scheme != "http" || u.Host == "":
		return nil, fmt.Errorf("'%s' is no URL of a web server", keyBaseURL)
	case u.User != nil || u.RawQuery != "" || u.Fragment != "":
		return nil, fmt.Errorf("'%s' has more than a host and a path", keyBaseURL)
	}

	return u, nil
}

// privateKey decodes the private key. Its errors say nothing about it.
func (a App) privateKey() (*rsa.PrivateKey, error) {
	wrong := fmt.Errorf("'%s' is no private RSA key in PEM", keyPrivateKey)

	block, _ := pem.Decode(a.key)
	if block == nil {
		return nil, wrong
	}

	if key, err := x509.ParsePKCS1PrivateKey(block.Bytes); err == nil {
		return key, nil
	}

	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, wrong
	}

	key, ok := parsed.(*rsa.PrivateKey)
	if !ok {
		return nil, wrong
	}

	return key, nil
}

// fingerprint of all that decides which token is got.
func (a App) fingerprint() flight.Fingerprint {
	certificates := a.tls.Fingerprint()

	proxy := ""
	if a.proxy != nil {
		proxy = a.proxy.String()
	}

	return flight.FingerprintOf(a.issuer, a.installation, a.owner, string(a.key), a.base.String(), string(certificates[:]), proxy)
}

// errNotInstalled says that the owner has not installed the App.
var errNotInstalled = errors.New("the GitHub App is not installed for the owner")
