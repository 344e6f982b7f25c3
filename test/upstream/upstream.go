// Package upstream makes distribution artifacts in tests with the layout that upstream publishes: manifests in
// flux/v<version>/, one file per component with its definitions, in no namespace, for an image per component; and the tags
// and digests of these images in flux-images/v<version>/<variant>.yaml.
//
// What is in the manifests is that of the embedded distribution: they serve to be built and applied, not to be run.
package upstream

import (
	"fmt"
	"io/fs"
	"regexp"
	"strings"

	"github.com/weir-dev/weir/config/crd"
	manifests "github.com/weir-dev/weir/config/distribution"
)

// Image of a component: a tag, and optionally a digest.
type Image struct{ Tag, Digest string }

// Components returns the names of the components, with the API group of their definitions.
func Components() map[string]string {
	return map[string]string{
		"source-controller":           "source.toolkit.fluxcd.io",
		"kustomize-controller":        "kustomize.toolkit.fluxcd.io",
		"helm-controller":             "helm.toolkit.fluxcd.io",
		"notification-controller":     "notification.toolkit.fluxcd.io",
		"image-reflector-controller":  "image.toolkit.fluxcd.io",
		"image-automation-controller": "image.toolkit.fluxcd.io",
		"source-watcher":              "source.extensions.fluxcd.io",
	}
}

// Files returns the files of an artifact with one version, such as v2.9.5, by their paths. The images are those of the
// components, for the variant; a component that has none there has the version as its tag.
func Files(version, variant string, images map[string]Image) (map[string]string, error) {
	return FilesWith(crd.FS(), version, variant, images)
}

// FilesWith does so with other definitions, which are named like those of the operator.
func FilesWith(crds fs.FS, version, variant string, images map[string]Image) (map[string]string, error) {
	files := map[string]string{}
	folder := "flux/" + version + "/"
	list := &strings.Builder{}
	list.WriteString("apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nimages:\n")
	for component, group := range Components() {
		content, err := fs.ReadFile(manifests.FS(), component+".yaml")
		if err != nil {
			return nil, err
		}
		definitions, err := definitionsOf(crds, component, group)
		if err != nil {
			return nil, err
		}
		image, ok := images[component]
		if !ok {
			image.Tag = version
		}
		deployed := strings.ReplaceAll(string(content), "image: weir\n", fmt.Sprintf("image: fluxcd/%s:%s\n", component, image.Tag))
		files[folder+component+".yaml"] = definitions + withoutNamespace(deployed)
		fmt.Fprintf(list, "- name: fluxcd/%s\n  newName: ghcr.io/fluxcd/%[1]s\n  newTag: %s\n", component, image.Tag)
		if image.Digest != "" {
			list.WriteString("  digest: " + image.Digest + "\n")
		}
	}
	files["flux-images/"+version+"/"+variant+".yaml"] = list.String()
	policies, err := fs.ReadFile(manifests.FS(), "policies.yaml")
	if err != nil {
		return nil, err
	}
	files[folder+"policies.yaml"] = withoutNamespace(string(policies))
	rbac, err := fs.ReadFile(manifests.FS(), "rbac.yaml")
	if err != nil {
		return nil, err
	}
	files[folder+"rbac.yaml"] = regexp.MustCompile(`(?m)^  name: (crd-controller|flux-view|flux-edit|cluster-reconciler)$`).
		ReplaceAllString(string(rbac), "  name: $1-flux-system")
	return files, nil
}

func withoutNamespace(manifest string) string {
	return strings.ReplaceAll(manifest, "\n  namespace: flux-system\n", "\n")
}

// definitionsOf returns the definitions of the kinds of a component, each followed by a mark of a new document.
func definitionsOf(crds fs.FS, component, group string) (string, error) {
	entries, err := fs.Glob(crds, group+"_*.yaml")
	if err != nil {
		return "", err
	}
	all := &strings.Builder{}
	for _, entry := range entries {
		automation := strings.HasSuffix(entry, "_imageupdateautomations.yaml")
		if group == "image.toolkit.fluxcd.io" && automation != (component == "image-automation-controller") {
			continue
		}
		content, err := fs.ReadFile(crds, entry)
		if err != nil {
			return "", err
		}
		all.WriteString(strings.TrimPrefix(string(content), "---\n") + "---\n")
	}
	return all.String(), nil
}
