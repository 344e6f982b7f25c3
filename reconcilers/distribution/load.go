package distribution

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/Masterminds/semver/v3"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/yaml"

	fluxv1 "github.com/weir-dev/weir/api/controlplane/v1"
)

// Names of the manifest files that belong to no component.
const (
	versionFile   = "VERSION"
	namespaceFile = "namespace.yaml"
	rbacFile      = "rbac.yaml"
	policiesFile  = "policies.yaml"
)

// unified names the Deployment, and the manifest file, of the topology Unified.
const unified = "weir"

// Distribution is one version of the manifests of all components. It is immutable and safe for concurrent use.
type Distribution struct {
	version   *semver.Version
	manifests map[string][]*unstructured.Unstructured // by file name without extension
	crds      map[string]*unstructured.Unstructured   // by name, <plural>.<group>

	released bool                         // whether it came from an artifact
	images   map[string]Image             // of a release, by the last part of their names; nil if it does not say
	operator []*unstructured.Unstructured // of a release: the definitions of the operator's kinds
	latest   *semver.Version              // of those in the artifact, the highest that is stable and of the same major version; or nil
	beyond   *semver.Version              // the highest that is wanted and that the operator cannot run; or nil
}

// Load reads the manifests of one distribution: a file VERSION, namespace.yaml, rbac.yaml, policies.yaml,
// weir.yaml and <component>.yaml for each component; and the custom resource definitions, all YAML files of crds.
func Load(manifests, crds fs.FS) (*Distribution, error) {
	raw, err := fs.ReadFile(manifests, versionFile)
	if err != nil {
		return nil, fmt.Errorf("read distribution: %w", err)
	}
	version, err := semver.NewVersion(strings.TrimSpace(string(raw)))
	if err != nil {
		return nil, fmt.Errorf("read distribution version %q: %w", strings.TrimSpace(string(raw)), err)
	}
	d := &Distribution{
		version:   version,
		manifests: map[string][]*unstructured.Unstructured{},
		crds:      map[string]*unstructured.Unstructured{},
	}
	files := append([]string{namespaceFile, rbacFile, policiesFile, unified + ".yaml"}, componentFiles()...)
	for _, file := range files {
		objects, err := readFile(manifests, file)
		if err != nil {
			return nil, err
		}
		d.manifests[strings.TrimSuffix(file, path.Ext(file))] = objects
	}
	if err := d.loadCRDs(crds); err != nil {
		return nil, err
	}
	return d, nil
}

// loadCRDs reads the definitions, and sees to it that no component lacks one.
func (d *Distribution) loadCRDs(crds fs.FS) error {
	objects, err := readCRDs(crds)
	if err != nil {
		return err
	}
	for _, o := range objects {
		d.crds[o.GetName()] = o
	}
	for _, c := range fluxv1.AllComponents() {
		for _, name := range definitions(c) {
			if d.crds[name] == nil {
				return fmt.Errorf("read distribution %s: no definition %q of component %q", d.Version(), name, c)
			}
		}
	}
	return nil
}

// Version is the version of the distribution, such as v2.9.5.
func (d *Distribution) Version() string { return "v" + d.version.String() }

// Latest returns the highest stable version of the same major version that the artifact holds, and nothing for what the operator carries.
func (d *Distribution) Latest() string { return versionName(d.latest) }

// Beyond returns the version that would have been selected if the operator could run it, and nothing if it is this one.
func (d *Distribution) Beyond() string { return versionName(d.beyond) }

// Operator returns the definitions of the operator's own kinds that belong to a release, for who upgrades the operator. They must not be
// changed.
func (d *Distribution) Operator() []*unstructured.Unstructured { return d.operator }

func versionName(v *semver.Version) string {
	if v == nil {
		return ""
	}
	return "v" + v.String()
}

func componentFiles() []string {
	var files []string
	for _, c := range fluxv1.AllComponents() {
		files = append(files, c+".yaml")
	}
	return files
}

// readCRDs reads the custom resource definitions in the root of fsys.
func readCRDs(fsys fs.FS) ([]*unstructured.Unstructured, error) {
	files, err := fs.Glob(fsys, "*.yaml")
	if err != nil {
		return nil, err
	}
	slices.Sort(files)
	var all []*unstructured.Unstructured
	for _, file := range files {
		objects, err := readFile(fsys, file)
		if err != nil {
			return nil, err
		}
		all = append(all, objects...)
	}
	return all, nil
}

func readFile(fsys fs.FS, file string) ([]*unstructured.Unstructured, error) {
	content, err := fs.ReadFile(fsys, file)
	if err != nil {
		return nil, fmt.Errorf("read manifests: %w", err)
	}
	objects, err := parse(content)
	if err != nil {
		return nil, fmt.Errorf("read manifests %q: %w", file, err)
	}
	return objects, nil
}

// parse reads a stream of YAML documents. Empty documents are left out.
func parse(content []byte) ([]*unstructured.Unstructured, error) {
	var objects []*unstructured.Unstructured
	reader := utilyaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(content)))
	for {
		doc, err := reader.Read()
		if errors.Is(err, io.EOF) {
			return objects, nil
		}
		if err != nil {
			return nil, err
		}
		o := &unstructured.Unstructured{}
		if err := yaml.Unmarshal(doc, &o.Object); err != nil {
			return nil, err
		}
		if len(o.Object) > 0 {
			objects = append(objects, o)
		}
	}
}
