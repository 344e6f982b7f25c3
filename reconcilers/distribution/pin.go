package distribution

import (
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// ImagesOf returns the references of the images that the pods of the objects run, each once, in their order.
func ImagesOf(objects []*unstructured.Unstructured) []string {
	var images []string
	eachContainer(objects, func(container map[string]any) {
		if image, _ := container["image"].(string); !slices.Contains(images, image) {
			images = append(images, image)
		}
	})
	return images
}

// pinImages gives images digests, by their references. It comes after the user's patches, which may bring other images.
func pinImages(objects []*unstructured.Unstructured, digests map[string]string) {
	if len(digests) == 0 {
		return
	}
	eachContainer(objects, func(container map[string]any) {
		image, _ := container["image"].(string)
		if digest := digests[image]; digest != "" {
			container["image"] = image + "@" + digest
		}
	})
}

// eachContainer hands out the containers of whatever makes pods, which may be changed.
func eachContainer(objects []*unstructured.Unstructured, visit func(container map[string]any)) {
	for _, o := range objects {
		for _, path := range [][]string{
			{"spec"}, {"spec", "template", "spec"}, {"spec", "jobTemplate", "spec", "template", "spec"},
		} {
			pod, found, err := unstructured.NestedFieldNoCopy(o.Object, path...)
			if !found || err != nil {
				continue
			}
			if pod, ok := pod.(map[string]any); ok {
				eachOfPod(pod, visit)
			}
		}
	}
}

func eachOfPod(pod map[string]any, visit func(container map[string]any)) {
	for _, kind := range []string{"initContainers", "containers", "ephemeralContainers"} {
		list, _ := pod[kind].([]any)
		for _, item := range list {
			if container, ok := item.(map[string]any); ok {
				visit(container)
			}
		}
	}
}
