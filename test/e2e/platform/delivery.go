package platform

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/kubernetes"

	"github.com/weir-dev/weir/config/crd"
)

// Delivered returns a condition: the Kustomizations, by namespace and name, are ready at the revision, as in
// main@sha1:<commit>.
func Delivered(revision string, kustomizations ...[2]string) func(Snapshot) error {
	return func(s Snapshot) error {
		var errs []error

		for _, key := range kustomizations {
			k := s.Get(Kustomization(), key[0], key[1])
			if err := Current(k, "Kustomization/"+key[0]+"/"+key[1]); err != nil {
				errs = append(errs, err)
			} else if at := Text(k, "status", "lastAppliedRevision"); at != revision {
				errs = append(errs, fmt.Errorf("%s is at %q, not at %q", Name(k), at, revision))
			}
		}

		return errors.Join(errs...)
	}
}

// Running returns a condition: the Deployments, by namespace and name, have become what they say.
func Running(deployments ...[2]string) func(Snapshot) error {
	return func(s Snapshot) error {
		var errs []error
		for _, key := range deployments {
			errs = append(errs, Current(s.Get(Deployment(), key[0], key[1]), "Deployment/"+key[0]+"/"+key[1]))
		}

		return errors.Join(errs...)
	}
}

// All returns a condition that is true when all of them are.
func All(conditions ...func(Snapshot) error) func(Snapshot) error {
	return func(s Snapshot) error {
		var errs []error
		for _, c := range conditions {
			errs = append(errs, c(s))
		}

		return errors.Join(errs...)
	}
}

// Definitions are the custom resource definitions of all kinds, for a cluster that no operator installs them in.
func Definitions() ([]*unstructured.Unstructured, error) {
	var objects []*unstructured.Unstructured

	err := fs.WalkDir(crd.FS(), ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}

		content, err := fs.ReadFile(crd.FS(), path)
		if err != nil {
			return err
		}

		more, err := Decode(content)
		objects = append(objects, more...)

		return err
	})

	return objects, err
}

// Ask sends a GET request for / to the Service, through the API server, and returns the answer.
func (c *Client) Ask(ctx context.Context, namespace, service, port string) (string, error) {
	clientset, err := kubernetes.NewForConfig(c.Config)
	if err != nil {
		return "", err
	}

	answer, err := clientset.CoreV1().Services(namespace).ProxyGet("http", service, port, "/", nil).DoRaw(ctx)
	if err != nil {
		return "", fmt.Errorf("ask Service %s/%s: %w: %s", namespace, service, err, answer)
	}

	return string(answer), nil
}

// get reads a URL and fails on any answer but OK.
func get(ctx context.Context, url string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}

	resp, err := (&http.Client{Timeout: time.Minute}).Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close() //nolint:errcheck // only read

	if resp.StatusCode != http.StatusOK {
		body, _ := io.ReadAll(io.LimitReader(resp.Body, 1<<10)) //nolint:errcheck // as far as it goes

		return fmt.Errorf("GET %s: %s: %s", url, resp.Status, body)
	}

	return nil
}
