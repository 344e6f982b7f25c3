package platform

import (
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	fluxv1 "github.com/weir-dev/weir/api/controlplane/v1"
	"github.com/weir-dev/weir/api/meta"
)

// InstanceOptions say what a FluxInstance is to be.
type InstanceOptions struct {
	// Topology is Distributed, Unified or empty.
	Topology string

	// Registry that holds the image of the manager.
	Registry string

	// URL of the Git repository and Path of the directory to follow, on the branch main.
	URL, Path string

	// Outside is set where no node could run the components, because their controllers run as a process outside the
	// cluster: the Deployments are scaled to zero.
	Outside bool
}

// syncInterval is how often the repository is looked at when nobody asks.
const syncInterval = time.Minute

// Instance returns the one FluxInstance of a cluster. Wherever it runs, the repository becomes GitRepository and
// Kustomization flux-system.
func Instance(o InstanceOptions) (*unstructured.Unstructured, error) {
	wait := true
	instance := &fluxv1.FluxInstance{
		TypeMeta:   metav1.TypeMeta{APIVersion: fluxv1.GroupVersion.String(), Kind: fluxv1.FluxInstanceKind},
		ObjectMeta: metav1.ObjectMeta{Namespace: Namespace, Name: fluxv1.InstanceName},
		Spec: fluxv1.FluxInstanceSpec{
			Distribution: fluxv1.Distribution{Version: "2.x", Registry: o.Registry},
			Topology:     o.Topology,
			Wait:         &wait,
			Sync: &fluxv1.Sync{SyncSpec: fluxv1.SyncSpec{
				Kind: "GitRepository", URL: o.URL, Ref: "refs/heads/main", Path: o.Path,
				Interval: &metav1.Duration{Duration: syncInterval},
			}},
		},
	}

	if o.Outside {
		instance.Spec.Kustomize = &fluxv1.Kustomize{Patches: []meta.Patch{{
			Target: &meta.Selector{Kind: "Deployment"},
			Patch:  `[{"op":"replace","path":"/spec/replicas","value":0}]`,
		}}}
	}

	fields, err := runtime.DefaultUnstructuredConverter.ToUnstructured(instance)
	if err != nil {
		return nil, fmt.Errorf("encode FluxInstance: %w", err)
	}

	delete(fields, "status")

	return &unstructured.Unstructured{Object: fields}, nil
}
