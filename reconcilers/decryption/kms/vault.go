package kms

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/weir-dev/weir/reconcilers/decryption/sops"
	"github.com/weir-dev/weir/reconcilers/flight"
	"github.com/weir-dev/weir/reconcilers/ingest"
)

// vault asks the transit engine of HashiCorp Vault or OpenBao.
func (k *keys) vault(ctx context.Context, r sops.Recipient) ([]byte, error) {
	address, err := canonical(r.Address)
	if err != nil {
		return nil, err
	}

	path, err := segments(r.EnginePath, "decrypt", r.KeyName)
	if err != nil {
		return nil, fmt.Errorf("the engine or the key: %w", err)
	}

	if strings.Contains(r.KeyName, "/") {
		return nil, errors.New("the name of the key has a slash")
	}

	p, err := k.vaultPass(ctx, address)
	if err != nil {
		return nil, err
	}

	plain, err := k.transit(ctx, address+path, r.Encrypted, p.token)

	// A token that was kept may have been taken back.
	if refused, ok := errors.AsType[*statusError](err); ok && refused.code == http.StatusForbidden && p.again != nil {
		k.tokens.drop(p.key)

		if p.token, err = p.again(ctx); err == nil {
			plain, err = k.transit(ctx, address+path, r.Encrypted, p.token)
		}
	}

	if err != nil {
		return nil, fmt.Errorf("decrypt with Vault at %q: %w", address, err)
	}

	return plain, nil
}

// transit asks for one data key.
func (k *keys) transit(ctx context.Context, at, encrypted, token string) ([]byte, error) {
	q := k.vaultQuestion(at, map[string]string{"ciphertext": encrypted})
	q.header["X-Vault-Token"] = token

	var answer struct {
		Data struct {
			Plaintext string `json:"plaintext"`
		} `json:"data"`
	}
	if err := k.ask(ctx, q, &answer); err != nil {
		return nil, err
	}

	return decode(base64.StdEncoding, answer.Data.Plaintext)
}

func (k *keys) vaultQuestion(at string, body any) question {
	q := question{route: k.vaultRoute(), url: at, header: map[string]string{"X-Vault-Request": "true"}, body: body}
	if n := k.options.Vault.Namespace; n != "" {
		q.header["X-Vault-Namespace"] = n
	}

	return q
}

// vaultRoute trusts the authorities that the operator names, beside those of the machine.
func (k *keys) vaultRoute() ingest.Route {
	ca := k.options.Vault.CA
	if len(ca) == 0 {
		return ingest.Route{}
	}

	id := flight.FingerprintOf("vault", string(ca))

	return ingest.Route{ID: string(id[:]), TLS: func() (*tls.Config, error) {
		pool, err := x509.SystemCertPool()
		if err != nil {
			pool = x509.NewCertPool()
		}

		if !pool.AppendCertsFromPEM(ca) {
			return nil, errors.New("the authority of Vault is no certificate in PEM")
		}

		return &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}, nil
	}}
}

// pass opens Vault.
type pass struct {
	token string

	// again gets another token in place of one that was kept under the key. Nil means that there is no other.
	again func(context.Context) (string, error)
	key   flight.Fingerprint
}

// vaultPass returns what opens Vault at an address that a file names: the token of the Secret, that of a ServiceAccount that logs
// in, or that of the process, which is for the addresses of the operator alone.
func (k *keys) vaultPass(ctx context.Context, address string) (pass, error) {
	if k.entries.vault != "" {
		return pass{token: k.entries.vault}, nil
	}

	known, err := k.instances(ctx)
	if err != nil {
		return pass{}, err
	}

	l, err := k.login(ctx, address, known)
	if err != nil {
		return pass{}, err
	}

	if l != nil {
		return k.enter(ctx, *l)
	}

	v := k.options.Vault
	if v.Token == "" {
		return pass{}, &sops.NoKeyError{Reason: fmt.Sprintf("there is no token for it: the decryption Secret has no %q, "+
			"and no ServiceAccount may log in at %q", entryVault, address)}
	}

	if own, err := canonical(v.Address); (err != nil || own != address) && known[address] == nil {
		return pass{}, &sops.NoKeyError{Reason: fmt.Sprintf("the token of the controller is not for %q, which is neither in VAULT_ADDR "+
			"nor in the ConfigMap of --sops-vault-configmap", address)}
	}

	return pass{token: v.Token}, nil
}

// canonical returns an address in the form by which it is compared: scheme, host and port.
func canonical(address string) (string, error) {
	u, err := url.Parse(address)

	switch {
	case err != nil || u.Opaque != "" || u.Hostname() == "" || u.Scheme != "https" && u.Scheme != "http":
		return "", errors.New("the address of Vault is no URL: want https://<host>:<port>")
	case u.User != nil || u.RawQuery != "" || u.ForceQuery || u.Fragment != "" || strings.Trim(u.Path, "/") != "":
		return "", errors.New("the address of Vault has more than scheme, host and port")
	}

	port := cmp.Or(u.Port(), map[string]string{"https": "443", "http": "80"}[u.Scheme])
	host := strings.ToLower(u.Hostname())

	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}

	return u.Scheme + "://" + host + ":" + port, nil
}

// segments returns the path of a question, of parts that somebody wrote, which lead nowhere else.
func segments(parts ...string) (string, error) {
	path := []string{"/v1"}

	for _, part := range parts {
		for s := range strings.SplitSeq(strings.Trim(part, "/"), "/") {
			if s == "" || s == "." || s == ".." || len(s) > 256 {
				return "", errors.New("it is no path")
			}

			path = append(path, url.PathEscape(s))
		}
	}

	return strings.Join(path, "/"), nil
}
