package build

import (
	"fmt"
	"path"
	"slices"

	"sigs.k8s.io/kustomize/api/types"
	"sigs.k8s.io/kustomize/kyaml/resid"

	"github.com/weir-dev/weir/api/meta"
)

// Spec is what is done to the objects of an artifact, the build part of the spec of a Kustomization. The zero value
// changes nothing.
type Spec struct {
	// TargetNamespace overrides the namespace of every namespaced object.
	TargetNamespace string `json:"targetNamespace,omitempty"`
	// NamePrefix and NameSuffix are put around the name of every object.
	NamePrefix string `json:"namePrefix,omitempty"`
	NameSuffix string `json:"nameSuffix,omitempty"`
	// CommonMetadata is added to the objects last; it wins over what they have.
	CommonMetadata *meta.CommonMetadata `json:"commonMetadata,omitempty"`
	// Patches come after those of the kustomization file.
	Patches []meta.Patch `json:"patches,omitempty"`
	// Images are merged by name into those of the kustomization file.
	Images []meta.Image `json:"images,omitempty"`
	// Components are directories, relative to the path that is built.
	Components []string `json:"components,omitempty"`
	// IgnoreMissingComponents leaves out components that do not exist.
	IgnoreMissingComponents bool `json:"ignoreMissingComponents,omitempty"`
	// BuildMetadata replaces that of the kustomization file: originAnnotations, transformerAnnotations.
	BuildMetadata []string `json:"buildMetadata,omitempty"`
}

// transforms tells whether the library is needed for what the spec asks for.
func (s *Spec) transforms() bool {
	return s.TargetNamespace != "" || s.NamePrefix != "" || s.NameSuffix != "" ||
		len(s.Patches)+len(s.Images)+len(s.Components)+len(s.BuildMetadata) > 0
}

// applyTo merges the spec into the kustomization of the directory.
func (s *Spec) applyTo(k *types.Kustomization, t *tree, dir string) error {
	if s.TargetNamespace != "" {
		k.Namespace = s.TargetNamespace
	}

	if s.NamePrefix != "" {
		k.NamePrefix = s.NamePrefix
	}

	if s.NameSuffix != "" {
		k.NameSuffix = s.NameSuffix
	}

	if len(s.BuildMetadata) > 0 {
		k.BuildMetadata = s.BuildMetadata
	}

	for _, p := range s.Patches {
		if err := checkAliases([]byte(p.Patch)); err != nil {
			return fmt.Errorf("patch of the spec: %w", err)
		}

		k.Patches = append(k.Patches, types.Patch{Patch: p.Patch, Target: selector(p.Target)})
	}

	for _, image := range s.Images {
		mergeImage(k, image)
	}

	return s.addComponents(k, t, dir)
}

func (s *Spec) addComponents(k *types.Kustomization, t *tree, dir string) error {
	for _, component := range s.Components {
		if path.IsAbs(component) || isRemote(component) {
			return fmt.Errorf("component path '%s' must be local and relative", withoutCredentials(component))
		}

		if s.IgnoreMissingComponents && !t.Exists(absolute(path.Join(dir, component))) {
			continue
		}

		k.Components = append(k.Components, component)
	}

	return nil
}

func selector(in *meta.Selector) *types.Selector {
	if in == nil {
		return nil
	}

	return &types.Selector{
		ResId: resid.ResId{
			Gvk:       resid.Gvk{Group: in.Group, Version: in.Version, Kind: in.Kind},
			Namespace: in.Namespace,
			Name:      in.Name,
		},
		AnnotationSelector: in.AnnotationSelector,
		LabelSelector:      in.LabelSelector,
	}
}

// mergeImage replaces the name, and the tag and digest as a pair, of the image in the kustomization.
func mergeImage(k *types.Kustomization, in meta.Image) {
	i := slices.IndexFunc(k.Images, func(image types.Image) bool { return image.Name == in.Name })
	if i < 0 {
		i = len(k.Images)
		k.Images = append(k.Images, types.Image{Name: in.Name})
	}

	image := &k.Images[i]

	if in.NewName != "" {
		image.NewName = in.NewName
	}

	if in.NewTag != "" || in.Digest != "" {
		image.NewTag, image.Digest = in.NewTag, in.Digest
	}
}
