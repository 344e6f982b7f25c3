package registry

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"strings"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	corev1 "k8s.io/api/core/v1"

	"github.com/weir-dev/weir/api/meta"
	"github.com/weir-dev/weir/reconcilers/secrets"
)

// credentials finds what to log in with: that of a secret, else that of a cloud, else nothing.
func (r *Registries) credentials(ctx context.Context, n name.Repository, a Access) (authn.AuthConfig, error) {
	var best entry

	all := a.PullSecrets
	if a.Secret != nil {
		all = append([]corev1.Secret{*a.Secret}, all...)
	}

	for i := range all {
		found, err := readSecret(&all[i], n)
		if err != nil {
			return authn.AuthConfig{}, fmt.Errorf("secret '%s/%s': %w", all[i].Namespace, all[i].Name, err)
		}

		if found.weight > best.weight {
			best = found
		}
	}

	if best.weight > 0 || a.Provider == "" || a.Provider == meta.ProviderGeneric {
		return best.auth, nil
	}

	return r.login(ctx, n, a)
}

func (r *Registries) login(ctx context.Context, n name.Repository, a Access) (authn.AuthConfig, error) {
	if r.options.Cloud == nil {
		return authn.AuthConfig{}, fmt.Errorf("login with provider %q is not available", a.Provider)
	}

	if a.Insecure { // what a cloud gives opens more than this registry
		return authn.AuthConfig{}, fmt.Errorf("login with provider %q: the registry must not be insecure", a.Provider)
	}

	// Whoever names an authority and a proxy reads what passes: that may be an identity of their own, not that of the process.
	if a.ServiceAccount == "" && a.TLS.Authorities() != nil {
		return authn.AuthConfig{}, fmt.Errorf(
			"login with provider %q: the authority of a secret is for identities of ServiceAccounts only", a.Provider)
	}

	who := Identity{
		Provider: a.Provider, Kind: a.Kind, Namespace: a.Namespace, Name: a.Name,
		ServiceAccount: a.ServiceAccount, Proxy: a.Proxy,
	}

	username, password, err := r.options.Cloud.Login(ctx, who, n.Name())
	if err != nil {
		return authn.AuthConfig{}, fmt.Errorf("login with provider %q: %w", a.Provider, err)
	}

	if username == "" && password == "" {
		return authn.AuthConfig{}, fmt.Errorf("login with provider %q: there are no credentials", a.Provider)
	}

	return authn.AuthConfig{Username: username, Password: password}, nil
}

// entry holds the credentials of a secret, and how well they fit: nothing fits with weight 0.
type entry struct {
	auth   authn.AuthConfig
	weight int
}

// weightOfAll is the weight of credentials that are not for a certain registry.
const weightOfAll = 1

// readSecret returns the credentials in a secret that fit the repository best.
func readSecret(s *corev1.Secret, n name.Repository) (entry, error) {
	if raw, ok := s.Data[corev1.DockerConfigJsonKey]; ok {
		var file struct {
			Auths map[string]authn.AuthConfig `json:"auths"`
		}

		if json.Unmarshal(raw, &file) != nil { // its words may hold parts of a password
			return entry{}, fmt.Errorf("'%s' is no configuration of Docker", corev1.DockerConfigJsonKey)
		}

		return bestEntry(file.Auths, n), nil
	}

	if raw, ok := s.Data[corev1.DockerConfigKey]; ok {
		var all map[string]authn.AuthConfig
		if json.Unmarshal(raw, &all) != nil {
			return entry{}, fmt.Errorf("'%s' is no configuration of Docker", corev1.DockerConfigKey)
		}

		return bestEntry(all, n), nil
	}

	username, password := string(s.Data[secrets.Username]), string(s.Data[secrets.Password])

	switch {
	case username != "" && password != "":
		return entry{auth: authn.AuthConfig{Username: username, Password: password}, weight: weightOfAll}, nil
	case username != "" || password != "":
		return entry{}, fmt.Errorf("'%s' and '%s' have to be set together", secrets.Username, secrets.Password)
	}

	return entry{}, errors.New("there is no '" + corev1.DockerConfigJsonKey + "'")
}

// bestEntry returns the credentials for the longest part of the repository's name.
func bestEntry(all map[string]authn.AuthConfig, n name.Repository) entry {
	var (
		best    entry
		bestKey string
	)

	for key, auth := range all {
		w := weigh(key, n)
		if w == 0 || auth == (authn.AuthConfig{}) {
			continue
		}

		if w > best.weight || w == best.weight && key < bestKey {
			best, bestKey = entry{auth: auth, weight: w}, key
		}
	}

	return best
}

// weigh tells how well the name that credentials are listed under fits a repository: as the kubelet does it, it is a host,
// of which parts may be patterns, and the beginning of a path. A longer path outweighs a host without patterns.
func weigh(key string, n name.Repository) int {
	if _, rest, ok := strings.Cut(key, "://"); ok {
		key = rest
	}

	host, under, _ := strings.Cut(key, "/")
	under = strings.Trim(under, "/")

	if isDockerHub(host) {
		host = name.DefaultRegistry
	}

	if under == "v1" || under == "v2" { // the end point of the registry, and not a path
		under = ""
	}

	if !matchHost(host, n.RegistryStr()) || under != "" && !strings.HasPrefix(n.RepositoryStr()+"/", under+"/") {
		return 0
	}

	weight := weightOfAll + 1 + 2*len(under)
	if !strings.ContainsAny(host, "*?[") {
		weight++
	}

	return weight
}

func isDockerHub(host string) bool {
	return host == "docker.io" || host == "registry-1.docker.io" || host == name.DefaultRegistry
}

// matchHost compares label by label: a pattern stands for one label. A pattern without a port fits any.
func matchHost(pattern, host string) bool {
	pattern, host = strings.ToLower(pattern), strings.ToLower(host)

	patternName, patternPort, _ := strings.Cut(pattern, ":")
	hostName, hostPort, _ := strings.Cut(host, ":")

	if strings.HasPrefix(host, "[") || !strings.ContainsAny(pattern, "*?[") {
		return pattern == host
	}

	if cmp.Or(patternPort, hostPort) != hostPort {
		return false
	}

	patterns, labels := strings.Split(patternName, "."), strings.Split(hostName, ".")
	if len(patterns) != len(labels) {
		return false
	}

	for i := range patterns {
		if ok, err := path.Match(patterns[i], labels[i]); err != nil || !ok {
			return false
		}
	}

	return true
}
