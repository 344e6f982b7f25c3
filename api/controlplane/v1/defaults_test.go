package v1_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1 "github.com/weir-dev/weir/api/controlplane/v1"
)

func TestIntervals(t *testing.T) {
	type durations struct{ Instance, Artifact, InstanceTimeout, Report, Set, SetTimeout, Provider, ProviderTimeout time.Duration }

	byDefault := durations{
		Instance: time.Hour, Artifact: 10 * time.Minute, InstanceTimeout: 5 * time.Minute,
		Report: 3 * time.Minute,
		Set:    time.Hour, SetTimeout: 5 * time.Minute,
		Provider: 10 * time.Minute, ProviderTimeout: 2 * time.Minute,
	}
	all := func(value string) map[string]string {
		return map[string]string{
			"fluxcd.controlplane.io/reconcileEvery":         value,
			"fluxcd.controlplane.io/reconcileArtifactEvery": value,
			"fluxcd.controlplane.io/reconcileTimeout":       value,
		}
	}

	cases := map[string]struct {
		reason      string
		annotations map[string]string
		want        durations
	}{
		"None":      {reason: "Defaults count.", want: byDefault},
		"Malformed": {reason: "What cannot be read is as if it were not there.", annotations: all("10 minutes"), want: byDefault},
		"Negative":  {reason: "No time can be negative.", annotations: all("-1m"), want: byDefault},
		"Zero":      {reason: "Nothing is done all the time.", annotations: all("0s"), want: byDefault},
		"Set": {
			reason:      "Annotations count.",
			annotations: all("90s"),
			want: durations{
				90 * time.Second, 90 * time.Second, 90 * time.Second, 90 * time.Second,
				90 * time.Second, 90 * time.Second, 90 * time.Second, 90 * time.Second,
			},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			om := metav1.ObjectMeta{Annotations: tc.annotations}
			instance := &v1.FluxInstance{ObjectMeta: om}
			report := &v1.FluxReport{ObjectMeta: om}
			set := &v1.ResourceSet{ObjectMeta: om}
			provider := &v1.ResourceSetInputProvider{ObjectMeta: om}

			got := durations{
				Instance: instance.GetInterval(), Artifact: instance.GetArtifactInterval(), InstanceTimeout: instance.GetTimeout(),
				Report: report.GetInterval(3 * time.Minute),
				Set:    set.GetInterval(), SetTimeout: set.GetTimeout(),
				Provider: provider.GetInterval(), ProviderTimeout: provider.GetTimeout(),
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("%s\n-want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}

func TestComponents(t *testing.T) {
	first := []string{"source-controller", "kustomize-controller", "helm-controller", "notification-controller"}

	cases := map[string]struct {
		reason string
		set    []string
		want   []string
	}{
		"None": {reason: "Four components are the default.", want: first},
		"Set":  {reason: "What is set is all there is.", set: []string{"source-watcher"}, want: []string{"source-watcher"}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			in := &v1.FluxInstance{Spec: v1.FluxInstanceSpec{Components: tc.set}}
			if diff := cmp.Diff(tc.want, in.GetComponents()); diff != "" {
				t.Errorf("%s\n-want, +got:\n%s", tc.reason, diff)
			}

			for _, name := range v1.AllComponents() {
				want := false
				for _, w := range tc.want {
					want = want || w == name
				}

				if got := in.HasComponent(name); got != want {
					t.Errorf("%s\nhas %s is %v, want %v", tc.reason, name, got, want)
				}
			}
		})
	}
}

func TestCluster(t *testing.T) {
	yes, no := true, false

	cases := map[string]struct {
		reason string
		set    *v1.Cluster
		want   v1.Cluster
	}{
		"None": {
			reason: "Everything has its default.",
			want: v1.Cluster{
				Type: "kubernetes", Domain: "cluster.local", NetworkPolicy: &yes,
				TenantDefaultServiceAccount: "default", TenantDefaultDecryptionServiceAccount: "default",
				TenantDefaultKubeConfigServiceAccount: "default",
			},
		},
		"Set": {
			reason: "What is set counts, even if it is false.",
			set: &v1.Cluster{
				Type: "openshift", Domain: "example.com", NetworkPolicy: &no, Multitenant: true, Size: "small",
				TenantDefaultServiceAccount: "a", TenantDefaultDecryptionServiceAccount: "b",
				TenantDefaultKubeConfigServiceAccount: "c",
			},
			want: v1.Cluster{
				Type: "openshift", Domain: "example.com", NetworkPolicy: &no, Multitenant: true, Size: "small",
				TenantDefaultServiceAccount: "a", TenantDefaultDecryptionServiceAccount: "b",
				TenantDefaultKubeConfigServiceAccount: "c",
			},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			in := &v1.FluxInstance{Spec: v1.FluxInstanceSpec{Cluster: tc.set}}
			before := in.DeepCopy()

			if diff := cmp.Diff(tc.want, in.GetCluster()); diff != "" {
				t.Errorf("%s\n-want, +got:\n%s", tc.reason, diff)
			}

			if got := in.GetCluster().GetNetworkPolicy(); got != *tc.want.NetworkPolicy {
				t.Errorf("%s\nnetwork policy is %v, want %v", tc.reason, got, *tc.want.NetworkPolicy)
			}

			if diff := cmp.Diff(before, in); diff != "" {
				t.Errorf("asking for the cluster changes the instance:\n%s", diff)
			}
		})
	}
}

func TestInstanceDefaults(t *testing.T) {
	type values struct {
		Topology, SyncName, ShardKey, ShardStorage string
		Wait, Migrate                              bool
		SyncInterval                               time.Duration
	}

	no := false
	meta := metav1.ObjectMeta{Namespace: "flux-system"}

	cases := map[string]struct {
		reason string
		spec   v1.FluxInstanceSpec
		want   values
	}{
		"Unset": {
			reason: "Everything has its default.",
			spec:   v1.FluxInstanceSpec{Sync: &v1.Sync{}, Sharding: &v1.Sharding{}},
			want: values{
				Topology: "Distributed", SyncName: "flux-system", ShardKey: "sharding.fluxcd.io/key",
				ShardStorage: "ephemeral", Wait: true, Migrate: true, SyncInterval: time.Minute,
			},
		},
		"Set": {
			reason: "What is set counts, even if it is false.",
			spec: v1.FluxInstanceSpec{
				Topology: v1.TopologyUnified, Wait: &no, MigrateResources: &no,
				Sync:     &v1.Sync{Name: "fleet", SyncSpec: v1.SyncSpec{Interval: &metav1.Duration{Duration: time.Hour}}},
				Sharding: &v1.Sharding{Key: "key", Storage: v1.ShardStoragePersistent},
			},
			want: values{
				Topology: "Unified", SyncName: "fleet", ShardKey: "key", ShardStorage: "persistent", SyncInterval: time.Hour,
			},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			in := &v1.FluxInstance{ObjectMeta: meta, Spec: tc.spec}
			got := values{
				Topology: in.GetTopology(), SyncName: in.GetSyncName(), Wait: in.GetWait(), Migrate: in.GetMigrateResources(),
				ShardKey: in.Spec.Sharding.GetKey(), ShardStorage: in.Spec.Sharding.GetStorage(),
				SyncInterval: in.Spec.Sync.GetInterval(),
			}

			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("%s\n-want, +got:\n%s", tc.reason, diff)
			}
		})
	}

	if got := (&v1.FluxInstance{ObjectMeta: meta}).GetSyncName(); got != "" {
		t.Errorf("an instance without sync names it %q", got)
	}
}

func TestResourceSet(t *testing.T) {
	set := &v1.ResourceSet{}
	step := &v1.ResourceSetStep{}

	if got := set.GetInputStrategy(); got != v1.InputStrategyFlatten {
		t.Errorf("default input strategy is %q", got)
	}

	if got := set.GetStepTimeout(step); got != v1.DefaultTimeout {
		t.Errorf("default timeout of a step is %s, want that of the set", got)
	}

	set.Spec.InputStrategy = &v1.InputStrategy{Name: v1.InputStrategyPermute}
	step.Timeout = &metav1.Duration{Duration: time.Second}

	if got := set.GetInputStrategy(); got != v1.InputStrategyPermute {
		t.Errorf("input strategy is %q, want that of the spec", got)
	}

	if got := set.GetStepTimeout(step); got != time.Second {
		t.Errorf("timeout of a step is %s, want its own", got)
	}
}

func TestInputProvider(t *testing.T) {
	provider := &v1.ResourceSetInputProvider{}
	if got := provider.GetLimit(); got != 100 {
		t.Errorf("default limit is %d, want 100", got)
	}

	provider.Spec.Filter = &v1.InputProviderFilter{}
	if got := provider.GetLimit(); got != 100 {
		t.Errorf("default limit of a filter is %d, want 100", got)
	}

	provider.Spec.Filter.Limit = 3
	if got := provider.GetLimit(); got != 3 {
		t.Errorf("limit is %d, want that of the spec", got)
	}

	for set, want := range map[string]string{"": "UTC", "Europe/Bern": "Europe/Bern"} {
		if got := (&v1.Schedule{TimeZone: set}).GetTimeZone(); got != want {
			t.Errorf("time zone %q means %q, want %q", set, got, want)
		}
	}
}
