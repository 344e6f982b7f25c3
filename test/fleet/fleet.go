// Package fleet is a sample GitOps repository, as a platform team would keep one, and the image of the workload that it
// deploys. The demo and the end-to-end tests deliver it to a cluster; it contains nothing that needs the internet.
//
// What is in it: a root for one cluster, a chain of Kustomizations that depend on each other, Kustomize overlays with a
// generated ConfigMap, patches and images, a custom resource next to its definition, health checks, substituted
// variables, and a tenant that deploys as its own service account.
package fleet

import (
	"embed"
	"fmt"
	"io/fs"
	"strconv"
	"strings"
)

const (
	// Path of the directory that a FluxInstance is to sync.
	Path = "clusters/demo"

	// Version is the tag of the workload's image in the repository, before any release.
	Version = "1.0.0"
)

//go:embed repository
var files embed.FS

// Settings are what differs from cluster to cluster.
type Settings struct {
	// Cluster is its name, which the workloads tell.
	Cluster string

	// Registry that holds the workload's image, as host:port with an optional path.
	Registry string

	// Replicas of each Deployment: zero where no node could run them.
	Replicas int
}

// Kustomizations are the namespaces and names of those that the root brings, in the order in which they get ready.
func Kustomizations() [][2]string {
	return [][2]string{
		{"flux-system", "infrastructure"},
		{"flux-system", "web-staging"},
		{"flux-system", "web-production"},
		{"team-a", "team-a"},
	}
}

// Deployments are the namespaces and names of the workloads.
func Deployments() [][2]string {
	return [][2]string{{"staging", "web"}, {"production", "web"}, {"team-a", "team-a-web"}}
}

// Files returns the repository for a cluster, by path.
func Files(s Settings) (map[string]string, error) {
	tree, err := read()
	if err != nil {
		return nil, err
	}

	tree[Path+"/settings.yaml"] = s.manifest("flux-system") + "---\n" + s.manifest("team-a")

	return tree, nil
}

// Release returns the files that change when a version of the workload is released to staging and production.
func Release(version string) (map[string]string, error) {
	tree, err := read()
	if err != nil {
		return nil, err
	}

	changed := map[string]string{}

	for path, content := range tree {
		if strings.HasPrefix(path, "apps/web/overlays/") && strings.HasSuffix(path, "/kustomization.yaml") {
			changed[path] = strings.ReplaceAll(content, "newTag: "+Version, "newTag: "+version)
		}
	}

	return changed, nil
}

func (s Settings) manifest(namespace string) string {
	return fmt.Sprintf(`apiVersion: v1
kind: ConfigMap
metadata:
  name: cluster-settings
  namespace: %s
data:
  cluster: %s
  registry: %s
  replicas: %q
`, namespace, s.Cluster, s.Registry, strconv.Itoa(s.Replicas))
}

func read() (map[string]string, error) {
	tree := map[string]string{}
	err := fs.WalkDir(files, "repository", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}

		content, err := files.ReadFile(path)
		tree[strings.TrimPrefix(path, "repository/")] = string(content)

		return err
	})

	return tree, err
}
