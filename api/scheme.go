// Package api has one package per group and version below it, and here the list of them all.
package api

import (
	"k8s.io/apimachinery/pkg/runtime"

	controlplanev1 "github.com/weir-dev/weir/api/controlplane/v1"
	helmv2 "github.com/weir-dev/weir/api/helm/v2"
	imagev1 "github.com/weir-dev/weir/api/image/v1"
	kustomizev1 "github.com/weir-dev/weir/api/kustomize/v1"
	notificationv1 "github.com/weir-dev/weir/api/notification/v1"
	notificationv1beta3 "github.com/weir-dev/weir/api/notification/v1beta3"
	sourcev1 "github.com/weir-dev/weir/api/source/v1"
	sourceextensionsv1beta1 "github.com/weir-dev/weir/api/sourceextensions/v1beta1"
)

// AddToScheme adds the kinds of every group and version to a scheme.
func AddToScheme(scheme *runtime.Scheme) error {
	builder := runtime.NewSchemeBuilder(
		controlplanev1.AddToScheme,
		helmv2.AddToScheme,
		imagev1.AddToScheme,
		kustomizev1.AddToScheme,
		notificationv1.AddToScheme,
		notificationv1beta3.AddToScheme,
		sourcev1.AddToScheme,
		sourceextensionsv1beta1.AddToScheme,
	)

	return builder.AddToScheme(scheme)
}
