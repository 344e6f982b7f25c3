package distribution

import (
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/util/validation"

	fluxv1 "github.com/weir-dev/weir/api/controlplane/v1"
)

// validateSharding refuses values of which no names of Deployments and labels can be made.
func validateSharding(instance *fluxv1.FluxInstance) error {
	sharding := instance.Spec.Sharding
	if sharding == nil {
		return nil
	}
	if problems := validation.IsQualifiedName(sharding.GetKey()); len(problems) > 0 {
		return fmt.Errorf("spec.sharding.key: %q is not the key of a label: %s", sharding.GetKey(), strings.Join(problems, ", "))
	}
	longest := ""
	for _, c := range instance.GetComponents() {
		if len(c) > len(longest) {
			longest = c
		}
	}
	for i, shard := range sharding.Shards {
		if slices.Contains(sharding.Shards[:i], shard) {
			return fmt.Errorf("spec.sharding.shards[%d]: %q is there twice", i, shard)
		}
		if problems := validation.IsDNS1123Label(shard); len(problems) > 0 {
			return fmt.Errorf("spec.sharding.shards[%d]: %q cannot be part of a name: %s", i, shard, strings.Join(problems, ", "))
		}
		if name := longest + "-" + shard; len(name) > validation.DNS1123LabelMaxLength {
			return fmt.Errorf("spec.sharding.shards[%d]: the name %q is longer than %d characters", i, name, validation.DNS1123LabelMaxLength)
		}
	}
	return nil
}

// validateStorage refuses a size that is none.
func validateStorage(storage *fluxv1.Storage) error {
	if storage == nil {
		return nil
	}
	if size, err := resource.ParseQuantity(storage.Size); err != nil || size.Sign() <= 0 {
		return fmt.Errorf("spec.storage.size: %q is not the size of a volume, such as 10Gi", storage.Size)
	}
	return nil
}
