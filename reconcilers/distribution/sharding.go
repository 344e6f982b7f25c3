package distribution

import (
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	fluxv1 "github.com/weir-dev/weir/api/controlplane/v1"
	"github.com/weir-dev/weir/api/meta"
)

// shard adds, for each shard, a copy of every Deployment whose objects can be spread, which serves the objects with the
// value of the shard in the key label. The Deployments that were there serve the objects without that label.
func (p *plan) shard() {
	sharding := p.instance.Spec.Sharding
	if sharding == nil {
		return
	}
	for _, w := range slices.Clone(p.workloads) {
		roles := slices.DeleteFunc(slices.Clone(w.roles), func(c string) bool { return c == fluxv1.NotificationController })
		if len(roles) == 0 {
			continue
		}
		for _, name := range sharding.Shards {
			s := w.forShard(name, roles)
			s.Labels[meta.ShardRoleLabel] = meta.ShardRole
			s.setArg(selectorArg, sharding.GetKey()+"="+name)
			if _, found := s.arg("storage-adv-addr"); found {
				s.setArg("storage-adv-addr", p.storageAddress(s))
			}
			p.workloads = append(p.workloads, s)
			p.shardServices(w, s)
		}
		w.setArg(selectorArg, "!"+sharding.GetKey())
	}
}

// shardServices adds the Services under which the artifacts of a shard are served.
func (p *plan) shardServices(main, s *workload) {
	for _, o := range slices.Clone(p.objects) {
		name := o.GetName()
		if o.GetKind() != "Service" || name != fluxv1.SourceController && name != fluxv1.SourceWatcher || !s.plays(name) {
			continue
		}
		if app, _, _ := unstructured.NestedString(o.Object, "spec", "selector", "app"); app != main.Name {
			continue
		}
		service := o.DeepCopy()
		service.SetName(name + "-" + s.shard)
		set(service, s.Name, "spec", "selector", "app")
		setLabel(service, meta.ShardRoleLabel, meta.ShardRole)
		p.objects = append(p.objects, service)
	}
}

// fitStorage keeps the artifacts on persistent volumes, if the instance says so: those of source-controller, and those of
// its shards if they are persistent too.
func (p *plan) fitStorage() {
	storage := p.instance.Spec.Storage
	if storage == nil {
		return
	}
	for _, w := range p.workloads {
		if !w.plays(fluxv1.SourceController) || w.shard != "" && p.instance.Spec.Sharding.GetStorage() != fluxv1.ShardStoragePersistent {
			continue
		}
		claim := fluxv1.SourceController
		if w.shard != "" {
			claim += "-" + w.shard
		}
		w.mountData(claim)
		o := &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": "v1",
			"kind":       "PersistentVolumeClaim",
			"metadata":   map[string]any{"name": claim, "namespace": p.instance.Namespace},
			"spec": map[string]any{
				"accessModes":      []any{"ReadWriteOnce"},
				"storageClassName": storage.Class,
				"resources":        map[string]any{"requests": map[string]any{"storage": storage.Size}},
			},
		}}
		setLabel(o, componentLabel, fluxv1.SourceController)
		if w.shard != "" {
			setLabel(o, meta.ShardRoleLabel, meta.ShardRole)
		}
		p.objects = append(p.objects, o)
	}
}
