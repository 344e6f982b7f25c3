package controllers

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/http/pprof"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	fluxv1 "github.com/weir-dev/weir/api/controlplane/v1"
	helmv2 "github.com/weir-dev/weir/api/helm/v2"
	kustomizev1 "github.com/weir-dev/weir/api/kustomize/v1"
	sourcev1 "github.com/weir-dev/weir/api/source/v1"
	extensionsv1beta1 "github.com/weir-dev/weir/api/sourceextensions/v1beta1"
)

// Scheme returns the types that the controllers of this version read and write.
func Scheme() (*runtime.Scheme, error) {
	s := runtime.NewScheme()

	for _, add := range []func(*runtime.Scheme) error{
		metav1.AddMetaToScheme, corev1.AddToScheme, authenticationv1.AddToScheme, eventsv1.AddToScheme, apiextensionsv1.AddToScheme,
		sourcev1.AddToScheme, extensionsv1beta1.AddToScheme, kustomizev1.AddToScheme, helmv2.AddToScheme, fluxv1.AddToScheme,
	} {
		if err := add(s); err != nil {
			return nil, fmt.Errorf("build scheme: %w", err)
		}
	}

	return s, nil
}

// pprofHandlers are served beside the metrics, as by the Flux controllers.
func pprofHandlers() map[string]http.Handler {
	return map[string]http.Handler{
		"/debug/pprof/":        http.HandlerFunc(pprof.Index),
		"/debug/pprof/cmdline": http.HandlerFunc(pprof.Cmdline),
		"/debug/pprof/profile": http.HandlerFunc(pprof.Profile),
		"/debug/pprof/symbol":  http.HandlerFunc(pprof.Symbol),
		"/debug/pprof/trace":   http.HandlerFunc(pprof.Trace),
	}
}

// shortHash returns the first eight hexadecimal digits of the SHA-256 of s.
func shortHash(s string) string {
	sum := sha256.Sum256([]byte(s))

	return hex.EncodeToString(sum[:4])
}
