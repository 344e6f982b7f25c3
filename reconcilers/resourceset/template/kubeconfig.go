package template

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net/url"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"github.com/weir-dev/weir/reconcilers/ingest"
)

// The keys of a ConfigMap that names a cluster.
const (
	addressKey   = "address"
	authorityKey = "ca.crt"
)

// kubeconfig is the part of one that names a cluster. Who may get in is not read.
type kubeconfig struct {
	CurrentContext string `json:"current-context"`

	Contexts []struct {
		Name    string `json:"name"`
		Context struct {
			Cluster string `json:"cluster"`
		} `json:"context"`
	} `json:"contexts"`

	Clusters []struct {
		Name    string  `json:"name"`
		Cluster cluster `json:"cluster"`
	} `json:"clusters"`
}

type cluster struct {
	Server    string `json:"server"`
	Authority string `json:"certificate-authority-data"`
	File      string `json:"certificate-authority"`
}

// convert writes the address and the certificate authority of the cluster that a kubeconfig in a Secret names into a ConfigMap. An
// authority that is there already stays.
func convert(u, source *unstructured.Unstructured, ref Reference, key string) error {
	raw, err := kubeconfigOf(source, ref, key)
	if err != nil {
		return err
	}

	address, authority, err := readCluster(raw)
	if err != nil {
		return fmt.Errorf("kubeconfig of %s: %w", ref, err)
	}

	data, err := textsOf(u, dataField)
	if err != nil {
		return err
	}

	data = merged(data, map[string]any{addressKey: address})
	if _, ok := data[authorityKey]; !ok && authority != "" {
		data[authorityKey] = authority
	}

	u.Object[dataField] = data

	return nil
}

// kubeconfigOf returns the value of a key of a Secret, or of the first of the usual ones.
func kubeconfigOf(source *unstructured.Unstructured, ref Reference, key string) (string, error) {
	data, err := contents(source, ref)
	if err != nil {
		return "", err
	}

	keys := []string{"kubeconfig", "value"}
	if key != "" {
		keys = []string{key}
	}

	for _, k := range keys {
		if text, ok := data[k].(string); ok && text != "" {
			return text, nil
		}
	}

	return "", fmt.Errorf("%s has no kubeconfig under the keys %q", ref, keys)
}

// readCluster returns the server and the certificate authority, empty if there is none, of the current context.
func readCluster(raw string) (address, authority string, err error) {
	var k kubeconfig

	if err := ingest.CheckAliases([]byte(raw)); err != nil {
		return "", "", errors.New("it is not YAML")
	}

	if err := yaml.Unmarshal([]byte(raw), &k); err != nil {
		return "", "", errors.New("it is not the YAML of a kubeconfig")
	}

	c, err := k.cluster()
	if err != nil {
		return "", "", err
	}

	if u, err := url.Parse(c.Server); err != nil || u.Host == "" || u.Scheme != "https" || u.User != nil {
		return "", "", errors.New("its server is no https address without credentials")
	}

	if c.Authority == "" && c.File != "" {
		return "", "", errors.New("its certificate-authority is a file: use certificate-authority-data")
	}

	ca, err := base64.StdEncoding.DecodeString(c.Authority)
	if err != nil {
		return "", "", errors.New("its certificate-authority-data is not base64")
	}

	return c.Server, string(ca), nil
}

func (k *kubeconfig) cluster() (*cluster, error) {
	for _, c := range k.Contexts {
		if c.Name != k.CurrentContext || c.Name == "" {
			continue
		}

		for i := range k.Clusters {
			if k.Clusters[i].Name == c.Context.Cluster {
				return &k.Clusters[i].Cluster, nil
			}
		}

		return nil, errors.New("it has no cluster for its current context")
	}

	return nil, errors.New("it has no current context")
}
