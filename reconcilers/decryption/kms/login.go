package kms

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"sigs.k8s.io/yaml"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/weir-dev/weir/reconcilers/flight"
)

const (
	annotationPath = "transit-engine.auth.fluxcd.io/login-path"
	annotationRole = "transit-engine.auth.fluxcd.io/role"

	// tokenLifetime is the least that there is: the token is exchanged at once.
	tokenLifetime = 10 * time.Minute
)

// instance is a Vault that the operator names.
type instance struct {
	Address   string `json:"address"`
	LoginPath string `json:"loginPath"`
}

// instances returns those that the operator names, by their canonical addresses. Nil means that there is no list.
func (k *keys) instances(ctx context.Context) (map[string]*instance, error) {
	at := k.options.Vault.Instances
	if at.Name == "" {
		return nil, nil //nolint:nilnil // it means that there is no list
	}

	if k.options.Cluster == nil {
		return nil, errors.New("the ConfigMap of --sops-vault-configmap cannot be read")
	}

	config, err := k.options.Cluster.ConfigMap(ctx, at.Namespace, at.Name)
	if err != nil {
		return nil, fmt.Errorf("read ConfigMap '%s': %w", at, err)
	}

	known, err := readInstances(config)
	if err != nil {
		return nil, fmt.Errorf("ConfigMap '%s', key 'config.yaml': %w", at, err)
	}

	return known, nil
}

func readInstances(config *corev1.ConfigMap) (map[string]*instance, error) {
	raw, ok := config.Data["config.yaml"]
	if !ok {
		return nil, errors.New("it is missing")
	}

	var list struct {
		Instances []instance `json:"instances"`
	}
	if err := yaml.UnmarshalStrict([]byte(raw), &list); err != nil {
		return nil, fmt.Errorf("parse: %w", err)
	}

	known := map[string]*instance{}

	for i, one := range list.Instances {
		address, err := canonical(one.Address)
		if err != nil {
			return nil, fmt.Errorf("instances[%d].address: %w", i, err)
		}

		if _, err := segments(one.LoginPath); err != nil {
			return nil, fmt.Errorf("instances[%d].loginPath: %w", i, err)
		}

		if known[address] != nil {
			return nil, fmt.Errorf("instances[%d].address: %q is there twice", i, address)
		}

		known[address] = &one
	}

	return known, nil
}

// login is how a ServiceAccount gets into Vault.
type login struct {
	address, audience, path, role string

	account types.NamespacedName
	key     flight.Fingerprint
}

// login returns how to get in, or nil if nobody may. A list of the operator is the last word on addresses; without one, a
// ServiceAccount may say itself how it logs in, wherever its token is not read on the way.
func (k *keys) login(ctx context.Context, address string, known map[string]*instance) (*login, error) {
	at := known[address]
	if k.options.Cluster == nil || known != nil && at == nil {
		return nil, nil //nolint:nilnil // it means that nobody logs in
	}

	if k.account == "" {
		return k.ownLogin(ctx, address, at)
	}

	name := types.NamespacedName{Namespace: k.request.Namespace, Name: k.account}
	if name.Namespace == "" {
		return nil, fmt.Errorf("service account %q cannot be used: there is no namespace", k.account)
	}

	account, err := k.options.Cluster.ServiceAccount(ctx, name.Namespace, name.Name)
	if err != nil {
		return nil, fmt.Errorf("failed to get service account '%s': %w", name, err)
	}

	l := newLogin(address, at, name)
	if path := account.Annotations[annotationPath]; path != "" {
		l.path = path
	}

	if role := account.Annotations[annotationRole]; role != "" {
		l.role = role
	}

	switch {
	case l.path == "":
		return nil, nil //nolint:nilnil // it means that nobody logs in
	case at == nil && !strings.HasPrefix(address, "https://"):
		return nil, fmt.Errorf("service account '%s' does not log in at %q, which is not HTTPS", name, address)
	}

	if _, err := segments(l.path); err != nil {
		return nil, fmt.Errorf("service account '%s', annotation %s: %w", name, annotationPath, err)
	}

	// Whatever changes about the account makes another identity of it.
	l.key = l.fingerprint(string(account.UID), account.ResourceVersion, k.via())

	return l, nil
}

// ownLogin is that of the process, which only goes where the operator says.
func (k *keys) ownLogin(ctx context.Context, address string, at *instance) (*login, error) {
	if at == nil || k.options.Vault.Self == nil {
		return nil, nil //nolint:nilnil // it means that nobody logs in
	}

	self, err := k.options.Vault.Self(ctx)
	if err != nil {
		return nil, fmt.Errorf("find the service account of the controller: %w", err)
	}

	l := newLogin(address, at, self)
	l.key = l.fingerprint(k.via())

	return l, nil
}

func newLogin(address string, at *instance, account types.NamespacedName) *login {
	l := &login{address: address, audience: audience(address), account: account, role: account.Namespace + "_" + account.Name}
	if at != nil {
		l.audience, l.path = strings.TrimRight(at.Address, "/"), at.LoginPath
	}

	return l
}

// audience is the address as people write it: the usual port goes without saying.
func audience(address string) string {
	if strings.HasPrefix(address, "https://") {
		return strings.TrimSuffix(address, ":443")
	}

	return strings.TrimSuffix(address, ":80")
}

func (l *login) fingerprint(more ...string) flight.Fingerprint {
	return flight.FingerprintOf(append([]string{
		"vault", l.address, l.audience, l.path, l.role, l.account.Namespace, l.account.Name,
	}, more...)...)
}

// enter returns the token of an earlier login, or logs in.
func (k *keys) enter(ctx context.Context, l login) (pass, error) {
	again := func(ctx context.Context) (string, error) {
		token, err := k.tokens.get(ctx, l.key, func(ctx context.Context) (string, time.Time, error) { return k.exchange(ctx, l) })
		if err != nil {
			return "", fmt.Errorf("log in to Vault at %q as service account '%s', role %q: %w", l.address, l.account, l.role, err)
		}

		return token, nil
	}

	token, err := again(ctx)

	return pass{token: token, again: again, key: l.key}, err
}

// exchange gives the token of a ServiceAccount for one of Vault.
func (k *keys) exchange(ctx context.Context, l login) (string, time.Time, error) {
	jwt, _, err := k.options.Cluster.Token(ctx, l.account.Namespace, l.account.Name, []string{l.audience}, tokenLifetime)
	if err != nil {
		return "", time.Time{}, fmt.Errorf("create token: %w", err)
	}

	path, err := segments(l.path)
	if err != nil {
		return "", time.Time{}, err
	}

	var answer struct {
		Auth struct {
			Token string `json:"client_token"`
			Lease int64  `json:"lease_duration"` // in seconds
		} `json:"auth"`
	}

	at := k.options.Now()
	if err := k.ask(ctx, k.vaultQuestion(l.address+path, map[string]string{"role": l.role, "jwt": jwt}), &answer); err != nil {
		return "", time.Time{}, err
	}

	token, err := readToken([]byte(answer.Auth.Token))
	if err != nil || token == "" {
		return "", time.Time{}, errors.New("the answer has no token")
	}

	const most = int64(maxAge / time.Second)

	return token, at.Add(time.Duration(min(max(answer.Auth.Lease, 0), most)) * time.Second), nil
}
