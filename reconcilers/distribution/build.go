package distribution

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	fluxv1 "github.com/weir-dev/weir/api/controlplane/v1"
)

// Options are the parts of a build that come from the operator, not from the instance.
type Options struct {
	// Image is the operator's own image.
	Image Image

	// Digests pins images to digests, by their references. Those that it does not have stay as they are.
	Digests map[string]string
}

// Set is what an instance is made of.
type Set struct {
	// Version of the distribution, such as v2.9.5.
	Version string

	// Digest, as sha256:<hex>, of the YAML of all objects.
	Digest string

	// Objects in the order of the build: what others need comes first.
	Objects []*unstructured.Unstructured

	// Images that the components run, in the order of installation.
	Images []fluxv1.ComponentImage

	// Operator is the image that the operator is to run too, whatever patches make of that of a component. It is zero if no component
	// is Weir's.
	Operator Image
}

// Revision is <version>@<digest>.
func (s *Set) Revision() string { return s.Version + "@" + s.Digest }

// Build makes the objects of the instance. The instance is not changed. All errors are due to the spec: another attempt
// with the same spec has the same result.
func (d *Distribution) Build(instance *fluxv1.FluxInstance, o Options) (*Set, error) {
	p, err := d.plan(instance, o)
	if err != nil {
		return nil, err
	}
	p.pin(o.Digests)
	objects, err := p.build()
	if err != nil {
		return nil, err
	}
	pinImages(objects, o.Digests)
	digest, err := digestOf(objects)
	if err != nil {
		return nil, err
	}
	return &Set{Version: p.version, Digest: digest, Objects: objects, Images: p.images(), Operator: p.operator()}, nil
}

// plan chooses the manifests of the instance.
func (d *Distribution) plan(instance *fluxv1.FluxInstance, o Options) (*plan, error) {
	if err := d.validate(instance); err != nil {
		return nil, err
	}
	if o.Image.Repository == "" {
		return nil, errors.New("the operator does not know its own image, which the components run")
	}
	components, err := selectComponents(instance.GetComponents())
	if err != nil {
		return nil, err
	}
	p := &plan{
		instance:   instance.DeepCopy(),
		cluster:    instance.GetCluster(),
		components: components,
		version:    d.Version(),
		own:        o.Image,
	}
	return p, d.collect(p)
}

// pin gives the images their digests.
func (p *plan) pin(digests map[string]string) {
	for _, w := range p.workloads {
		if digest := digests[w.image.String()]; digest != "" {
			w.image.Digest = digest
		}
	}
}

// validate refuses what the API admits and a build cannot honour.
func (d *Distribution) validate(instance *fluxv1.FluxInstance) error {
	spec := instance.Spec
	if err := d.match(spec.Distribution.Version); err != nil {
		return err
	}
	if spec.Distribution.Artifact != "" && !d.released {
		return errors.New("spec.distribution.artifact is set, and this operator has no access to registries")
	}
	if err := d.checkRelease(instance); err != nil {
		return err
	}
	if err := validateSharding(instance); err != nil {
		return err
	}
	if err := validateStorage(spec.Storage); err != nil {
		return err
	}
	if err := validateWorkloads(spec); err != nil {
		return err
	}
	return validateSyncs(instance, d.version)
}

// plan is a build on its way: the objects of the instance, with the Deployments in a form that is easy to change.
type plan struct {
	instance   *fluxv1.FluxInstance
	cluster    fluxv1.Cluster
	components []string
	version    string
	own        Image // the operator's

	objects   []*unstructured.Unstructured // all but what follows
	workloads []*workload
	synced    []*unstructured.Unstructured // sources, and the Kustomizations that apply them
}

// has tells whether the component is to run.
func (p *plan) has(component string) bool { return slices.Contains(p.components, component) }

// build fits the objects to the instance. The order matters: what the user patches has the last word over everything but
// the marks that tell whose the objects are.
func (p *plan) build() ([]*unstructured.Unstructured, error) {
	p.fitNetwork()
	p.shard()
	p.fitTenancy()
	p.fitIdentity()
	p.fitSize()
	p.fitStorage()
	p.fitPlatform()
	if err := p.fitAccess(); err != nil {
		return nil, err
	}
	if err := p.fitWorkloads(); err != nil {
		return nil, err
	}
	p.addSyncs()
	objects, err := p.assemble()
	if err != nil {
		return nil, err
	}
	p.mark(objects)
	objects, err = patch(objects, p.instance.Spec.Kustomize)
	if err != nil {
		return nil, err
	}
	p.addCommonMetadata(objects)
	return objects, nil
}

// images lists what the components run.
func (p *plan) images() []fluxv1.ComponentImage {
	var images []fluxv1.ComponentImage
	for _, c := range p.components {
		for _, w := range p.workloads {
			if w.shard != "" || !w.plays(c) {
				continue
			}
			images = append(images, fluxv1.ComponentImage{
				Name: c, Repository: w.image.Canonical(), Tag: w.image.Tag, Digest: w.image.Digest,
			})
			break
		}
	}
	return images
}

// operator is the image of the components that are Weir's.
func (p *plan) operator() Image {
	for _, w := range p.workloads {
		if w.ours {
			return w.image
		}
	}
	return Image{}
}

// digestOf is the digest of the YAML stream of the objects.
func digestOf(objects []*unstructured.Unstructured) (string, error) {
	content, err := encode(objects)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(content)
	return "sha256:" + hex.EncodeToString(sum[:]), nil
}

// encode writes the objects as a stream of YAML documents.
func encode(objects []*unstructured.Unstructured) ([]byte, error) {
	var stream []byte
	for _, o := range objects {
		doc, err := yaml.Marshal(o.Object)
		if err != nil {
			return nil, fmt.Errorf("encode %s %q: %w", o.GetKind(), o.GetName(), err)
		}
		stream = append(stream, "---\n"...)
		stream = append(stream, doc...)
	}
	return stream, nil
}
