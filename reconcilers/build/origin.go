package build

import (
	"context"
	"path"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/kustomize/api/types"
	"sigs.k8s.io/yaml"
)

// originAnnotation is where the library notes what an object was made from.
const originAnnotation = "config.kubernetes.io/origin"

// Origins returns the file of the artifact that each object of the request comes from: where it is written, or for one that
// a generator makes, the kustomization file that configures the generator. It builds once more, past the cache, and is meant
// for those who have to explain why an object was refused. What cannot be told is left out.
func (b *Builder) Origins(ctx context.Context, r Request) (map[Identity]string, error) {
	r.Digest = "" // these objects are no one's to apply
	r.Spec.BuildMetadata = []string{types.OriginAnnotations}

	set, err := b.Build(ctx, r)
	if err != nil {
		return nil, err
	}

	files := make(map[Identity]string, len(set.Objects))

	for _, u := range set.Objects {
		if file := originOf(u); file != "" {
			files[identityOf(u)] = path.Join(cleanPath(r.Path), file)
		}
	}

	return files, nil
}

// Identity tells the objects of a set apart. Namespace is as built, so that it may be empty.
type Identity struct{ Group, Kind, Namespace, Name string }

func identityOf(u *unstructured.Unstructured) Identity {
	return Identity{
		Group: u.GroupVersionKind().Group, Kind: u.GetKind(), Namespace: u.GetNamespace(), Name: u.GetName(),
	}
}

// originOf reads the annotation of the library, whose paths are relative to the kustomization that is built.
func originOf(u *unstructured.Unstructured) string {
	var origin struct {
		Path         string `json:"path"`
		ConfiguredIn string `json:"configuredIn"`
	}

	if yaml.Unmarshal([]byte(u.GetAnnotations()[originAnnotation]), &origin) != nil {
		return ""
	}

	if origin.Path != "" {
		return origin.Path
	}

	return origin.ConfiguredIn
}
