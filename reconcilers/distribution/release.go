package distribution

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/Masterminds/semver/v3"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	fluxv1 "github.com/weir-dev/weir/api/controlplane/v1"
)

// Folders of an artifact: manifests in flux/v<version>/, where their images are in flux-images/v<version>/<variant>.yaml, and, in
// flux-operator/v<version>/, what installs the operator that goes with them. Upstream has files of its own operator in the last one, and no
// folders.
const (
	releaseFolder = "flux"
	imagesFolder  = "flux-images"
)

// manifestNamespace is that of the manifests, and the suffix that the names of their cluster-wide objects may have.
const manifestNamespace = "flux-system"

// Releases are the versions that an artifact holds. They are immutable and safe for concurrent use.
type Releases struct {
	files    map[string][]byte // by path
	versions []*semver.Version // newest first
}

// ReadReleases finds the versions among the files of an artifact, given by their paths. The files are not copied.
func ReadReleases(files map[string][]byte) (*Releases, error) {
	found := map[string]*semver.Version{}
	for file := range files {
		parts := strings.Split(file, "/")
		if len(parts) != 3 || parts[0] != releaseFolder || !strings.HasPrefix(parts[1], "v") {
			continue
		}
		if v, err := semver.StrictNewVersion(parts[1][1:]); err == nil {
			found[parts[1]] = v
		}
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("the artifact holds no folder %s/v<version> with manifests", releaseFolder)
	}
	versions := slices.SortedFunc(maps.Values(found), func(a, b *semver.Version) int { return b.Compare(a) })
	return &Releases{files: files, versions: versions}, nil
}

// Newest is the highest version, such as v2.9.5.
func (r *Releases) Newest() string { return "v" + r.versions[0].String() }

// Select returns the highest version in the range whose minor version is that of the embedded distribution, with which the
// operator was tested. The name of the artifact is for the error.
func (r *Releases) Select(wanted, variant, name string, embedded *Distribution) (*Distribution, error) {
	constraint, err := semver.NewConstraint(wanted)
	if err != nil {
		return nil, fmt.Errorf("invalid semver %q: %w", wanted, err)
	}
	var beyond *semver.Version
	for _, v := range r.versions {
		switch {
		case !constraint.Check(v):
		case v.Major() == embedded.version.Major() && v.Minor() == embedded.version.Minor():
			d, err := r.load(v, variant, embedded)
			if err != nil {
				return nil, err
			}
			d.beyond, d.latest = beyond, r.latest(v)
			return d, nil
		case beyond == nil && v.GreaterThan(embedded.version):
			beyond = v
		}
	}
	err = fmt.Errorf("no match found for semver: %s in %s matching embedded minor versions in %d.%d",
		wanted, name, embedded.version.Major(), embedded.version.Minor())
	if beyond != nil {
		err = fmt.Errorf("%w: upgrade the operator to run %s", err, versionName(beyond))
	}
	return nil, err
}

// latest returns the highest stable version that is of the same major version.
func (r *Releases) latest(version *semver.Version) *semver.Version {
	for _, v := range r.versions {
		if v.Major() == version.Major() && v.Prerelease() == "" {
			return v
		}
	}
	return nil
}

// load reads the manifests of a version. What upstream makes on the fly, the namespace, is that of the embedded one.
func (r *Releases) load(version *semver.Version, variant string, embedded *Distribution) (*Distribution, error) {
	d := &Distribution{
		version:   version,
		manifests: map[string][]*unstructured.Unstructured{"namespace": embedded.manifests["namespace"]},
		crds:      map[string]*unstructured.Unstructured{},
		released:  true,
	}
	folder := path.Join(releaseFolder, d.Version())
	for _, file := range append([]string{namespaceFile, rbacFile, policiesFile, unified + ".yaml"}, componentFiles()...) {
		content, ok := r.files[path.Join(folder, file)]
		if !ok {
			continue
		}
		objects, err := parse(content)
		if err != nil {
			return nil, fmt.Errorf("read %q of the artifact: %w", path.Join(folder, file), err)
		}
		d.adopt(strings.TrimSuffix(file, path.Ext(file)), objects)
	}
	for _, file := range []string{rbacFile, policiesFile} {
		if d.manifests[strings.TrimSuffix(file, path.Ext(file))] == nil {
			return nil, fmt.Errorf("the artifact holds no %q", path.Join(folder, file))
		}
	}
	var err error
	if d.images, err = r.images(d.Version(), variant); err != nil {
		return nil, err
	}
	d.operator, err = r.operator(d.Version())
	return d, err
}

// operator reads the definitions of the operator's kinds of a version. An artifact need not have any: what else is beside them is for people.
func (r *Releases) operator(version string) ([]*unstructured.Unstructured, error) {
	var all []*unstructured.Unstructured
	for _, file := range slices.Sorted(maps.Keys(r.files)) {
		if path.Dir(file) != path.Join(operatorFolder, version) {
			continue
		}
		objects, err := parse(r.files[file])
		if err != nil {
			return nil, fmt.Errorf("read %q of the artifact: %w", file, err)
		}
		for _, o := range objects {
			group, _, _ := unstructured.NestedString(o.Object, "spec", "group")
			if o.GetKind() == "CustomResourceDefinition" && group == fluxv1.GroupVersion.Group {
				all = append(all, o)
			}
		}
	}
	return all, nil
}

// adopt keeps the objects of a file: definitions apart, and all others in the form of those that the operator carries.
func (d *Distribution) adopt(name string, objects []*unstructured.Unstructured) {
	rest := []*unstructured.Unstructured{}
	for _, o := range objects {
		if o.GetKind() == "CustomResourceDefinition" {
			if strings.HasSuffix(o.GetName(), ".notification.toolkit.fluxcd.io") {
				admitOwnKinds(o.Object)
			}
			d.crds[o.GetName()] = o
			continue
		}
		settleRelease(o)
		rest = append(rest, o)
	}
	d.manifests[name] = rest
}

// settleRelease gives an object the namespace of the manifests, or takes the namespace out of its name if it is for the whole
// cluster. A build gives both their final form.
func settleRelease(o *unstructured.Unstructured) {
	const suffix = "-" + manifestNamespace
	switch o.GetKind() {
	case "Namespace":
	case "ClusterRole", "ClusterRoleBinding":
		o.SetName(strings.TrimSuffix(o.GetName(), suffix))
		if role, ok, _ := unstructured.NestedString(o.Object, "roleRef", "name"); ok {
			set(o, strings.TrimSuffix(role, suffix), "roleRef", "name")
		}
	case "ResourceQuota":
		o.SetName(strings.TrimSuffix(o.GetName(), suffix))
		o.SetNamespace(manifestNamespace)
	default:
		o.SetNamespace(cmp.Or(o.GetNamespace(), manifestNamespace))
	}
}

// images reads where the images of a version are, by the last part of their names. Without a variant it is not known.
func (r *Releases) images(version, variant string) (map[string]Image, error) {
	if variant == "" {
		return nil, nil
	}
	file := path.Join(imagesFolder, version, variant+".yaml")
	content, ok := r.files[file]
	if !ok {
		return nil, fmt.Errorf("the artifact holds no images of the variant %q: no %q", variant, file)
	}
	var list struct {
		Images []struct {
			Name    string `json:"name"`
			NewName string `json:"newName"`
			NewTag  string `json:"newTag"`
			Digest  string `json:"digest"`
		} `json:"images"`
	}
	if err := yaml.Unmarshal(content, &list); err != nil {
		return nil, fmt.Errorf("read %q of the artifact: %w", file, err)
	}
	images := map[string]Image{}
	for _, i := range list.Images {
		images[path.Base(i.Name)] = Image{Repository: cmp.Or(i.NewName, i.Name), Tag: i.NewTag, Digest: i.Digest}
	}
	return images, nil
}

// Variant returns the variant of the images of an instance: the one it names, or the one that its registry is known to hold.
// Empty means that nobody knows.
func Variant(instance *fluxv1.FluxInstance) string {
	d := instance.Spec.Distribution
	if d.Variant != "" {
		return d.Variant
	}
	registry := strings.TrimRight(d.Registry, "/")
	switch {
	case slices.Contains([]string{"fluxcd", "docker.io/fluxcd", "index.docker.io/fluxcd", "ghcr.io/fluxcd"}, registry):
		return fluxv1.VariantUpstreamAlpine
	case registry == "ghcr.io/controlplaneio-fluxcd/alpine":
		return fluxv1.VariantEnterpriseAlpine
	case registry == "ghcr.io/controlplaneio-fluxcd/distroless",
		registry == "709825985650.dkr.ecr.us-east-1.amazonaws.com/controlplane/fluxcd":
		return fluxv1.VariantEnterpriseDistroless
	case registry == "ghcr.io/controlplaneio-fluxcd/distroless-fips":
		return fluxv1.VariantEnterpriseDistrolessFIPS
	}
	return ""
}

// checkRelease refuses an instance that wants what a release does not have.
func (d *Distribution) checkRelease(instance *fluxv1.FluxInstance) error {
	if !d.released {
		return nil
	}
	if instance.GetTopology() == fluxv1.TopologyUnified && d.manifests[unified] == nil {
		return fmt.Errorf("spec.topology is %s, and distribution %s has no Deployment for it", fluxv1.TopologyUnified, d.Version())
	}
	var errs []error
	for _, c := range instance.GetComponents() {
		if slices.Contains(fluxv1.AllComponents(), c) && d.manifests[c] == nil {
			errs = append(errs, fmt.Errorf("component %q is not part of distribution %s", c, d.Version()))
			continue
		}
		for _, name := range definitions(c) {
			if d.crds[name] == nil {
				errs = append(errs, fmt.Errorf("distribution %s has no definition %q of component %q", d.Version(), name, c))
			}
		}
	}
	return errors.Join(errs...)
}

// imageOf returns the image that a Deployment of the manifests with the image reference is to run.
func (d *Distribution) imageOf(reference string, own Image, registry string) (Image, error) {
	if !d.released {
		return componentImage(own, registry, d.Version()), nil
	}
	written, err := ParseImage(reference)
	if err != nil {
		return Image{}, err
	}
	base := path.Base(written.Repository)
	image, known := d.images[base]
	if !known {
		image = Image{Tag: written.Tag, Digest: written.Digest}
	}
	if image.Tag == "" && image.Digest == "" {
		return Image{}, fmt.Errorf("the artifact has neither tag nor digest of the image %q", base)
	}
	image.Tag = cmp.Or(image.Tag, d.Version())
	image.Repository = strings.TrimRight(registry, "/") + "/" + base
	if base == repositoryName {
		image.Repository = componentImage(own, registry, d.Version()).Repository
	}
	return image, nil
}

// admitOwnKinds lets alerts and receivers name the kinds of the operator, which upstream does not know.
func admitOwnKinds(value any) {
	switch v := value.(type) {
	case []any:
		for _, item := range v {
			admitOwnKinds(item)
		}
	case map[string]any:
		if kinds, ok := v["enum"].([]any); ok && slices.Contains(kinds, any("HelmRelease")) {
			own := []any{fluxv1.FluxInstanceKind, fluxv1.ResourceSetKind, fluxv1.ResourceSetInputProviderKind}
			kinds = slices.DeleteFunc(kinds, func(kind any) bool { return slices.Contains(own, kind) })
			v["enum"] = append(kinds, own...)
		}
		for _, item := range v {
			admitOwnKinds(item)
		}
	}
}
