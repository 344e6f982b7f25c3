package distribution

import (
	"fmt"
	"io/fs"
	"path"
	"strings"

	"github.com/Masterminds/semver/v3"

	fluxv1 "github.com/weir-dev/weir/api/controlplane/v1"
)

// operatorFolder of an artifact has the manifests that install the operator, one for each version.
const operatorFolder = "flux-operator"

// ownImage is how the manifests that we write name the image that runs them.
const ownImage = "image: weir\n"

// Sources are what an artifact is made of.
type Sources struct {
	// Manifests and Definitions are those that Load takes, and Operator those that Install takes.
	Manifests, Definitions, Operator fs.FS

	// Version, such as v2.9.5. Empty means the one of the manifests.
	Version string

	// Image reference with a digest: it runs all components and the operator.
	Image string
}

// Files makes one version of an artifact, from which ReadReleases reads it: the manifests of the components with their definitions, where
// their image is, the same for each variant, and the manifest that installs the operator. The same sources give the same files.
func Files(s Sources) (map[string][]byte, error) {
	if s.Version == "" {
		raw, err := fs.ReadFile(s.Manifests, versionFile)
		if err != nil {
			return nil, fmt.Errorf("read distribution: %w", err)
		}
		s.Version = strings.TrimSpace(string(raw))
	}
	if _, err := semver.StrictNewVersion(strings.TrimPrefix(s.Version, "v")); err != nil || s.Version[0] != 'v' {
		return nil, fmt.Errorf("version %q of the distribution is not like v2.9.5", s.Version)
	}
	image, err := ParseImage(s.Image)
	if err != nil {
		return nil, err
	}
	if image.Digest == "" {
		return nil, fmt.Errorf("image %q has no digest: what is published must not change later", s.Image)
	}
	files := map[string][]byte{}
	for _, file := range append([]string{namespaceFile, rbacFile, policiesFile, unified + ".yaml"}, componentFiles()...) {
		content, err := s.manifest(file)
		if err != nil {
			return nil, err
		}
		files[path.Join(releaseFolder, s.Version, file)] = content
	}
	for _, variant := range variants() {
		files[path.Join(imagesFolder, s.Version, variant+".yaml")] = images(image)
	}
	files[path.Join(operatorFolder, s.Version, "install.yaml")], err = Install(s.Operator, s.Definitions, s.Image)
	return files, err
}

// manifest is a file of the distribution, after the definitions of its component and with the image in its place.
func (s Sources) manifest(file string) ([]byte, error) {
	raw, err := fs.ReadFile(s.Manifests, file)
	if err != nil {
		return nil, fmt.Errorf("read manifests: %w", err)
	}
	content := &strings.Builder{}
	for _, name := range definitions(strings.TrimSuffix(file, path.Ext(file))) {
		plural, group, _ := strings.Cut(name, ".")
		definition, err := fs.ReadFile(s.Definitions, group+"_"+plural+".yaml")
		if err != nil {
			return nil, fmt.Errorf("read definition %q: %w", name, err)
		}
		content.WriteString(strings.TrimPrefix(string(definition), "---\n") + "---\n")
	}
	manifest := strings.ReplaceAll(string(raw), ownImage, "image: "+s.Image+"\n")
	if strings.Contains(manifest, "kind: Deployment\n") && manifest == string(raw) {
		return nil, fmt.Errorf("read manifests %q: its Deployment does not run the image weir", file)
	}
	content.WriteString(manifest)
	return []byte(content.String()), nil
}

// variants are those that an instance may name. There is one image, which stands for each of them.
func variants() []string {
	return []string{
		fluxv1.VariantUpstreamAlpine, fluxv1.VariantEnterpriseAlpine,
		fluxv1.VariantEnterpriseDistroless, fluxv1.VariantEnterpriseDistrolessFIPS,
	}
}

// images tells, as a Kustomization of kustomize does, where the image is.
func images(image Image) []byte {
	return fmt.Appendf(nil, `apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
images:
  - name: %s
    newName: %[1]s
    newTag: %q
    digest: %s
`, image.Repository, image.Tag, image.Digest)
}
