package kustomize

import (
	"context"
	"fmt"
	"strings"

	kustomizev1 "github.com/weir-dev/weir/api/kustomize/v1"
	"github.com/weir-dev/weir/api/meta"
	"github.com/weir-dev/weir/reconcilers/engine"
)

// check stalls objects with fields that this version does not act on: to go on without them would apply something else
// than what was asked for, or to somewhere else.
func check(_ context.Context, obj *kustomizev1.Kustomization, _ *scope) error {
	fields := unsupported(&obj.Spec)
	if len(fields) == 0 {
		return nil
	}

	return engine.Stall(meta.FeatureGateDisabledReason,
		fmt.Errorf("not supported by this version: %s", strings.Join(fields, ", ")))
}

// unsupported returns the fields of the spec that are set and not acted on.
func unsupported(spec *kustomizev1.KustomizationSpec) []string {
	var fields []string

	if spec.Decryption != nil {
		fields = append(fields, "spec.decryption")
	}

	return fields
}
