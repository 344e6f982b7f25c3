package distribution

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"

	fluxv1 "github.com/weir-dev/weir/api/controlplane/v1"
)

// TestValidate shows what is not built, since it could not run as it is wanted.
func TestValidate(t *testing.T) {
	tests := map[string]struct {
		reason string
		spec   string
		want   string
	}{
		"RequestAboveLimit": {
			reason: "The API server would refuse the Deployment, after others were changed.",
			spec:   `{workloads: [{resources: {requests: {memory: 2Gi}}}]}`,
			want:   `spec.workloads: Deployment "source-controller": resources.requests.memory of 2Gi is more than the limit of 1Gi`,
		},
		"RequestAboveTheLimitOfTheSize": {
			reason: "The limit of the profile counts.",
			spec:   `{cluster: {size: large}, workloads: [{components: [helm-controller], resources: {requests: {cpu: 4}}}]}`,
			want:   `spec.workloads: Deployment "helm-controller": resources.requests.cpu of 4 is more than the limit of 3`,
		},
		"ReplicasShareVolume": {
			reason: "The second pod would wait for ever for a volume that the first one has mounted on another node.",
			spec:   `{storage: {class: fast, size: 1Gi}, workloads: [{replicas: 2}]}`,
			want: `spec.workloads: Deployment "source-controller": more than one replica cannot share the volume "source-controller", which one node can mount at a time: ` +
				"leave the replicas of this component at 1, or leave out spec.storage",
		},
		"ReplicasBesideVolume": {
			reason: "Others may have as many as they like.",
			spec:   `{storage: {class: fast, size: 1Gi}, workloads: [{replicas: 2}, {components: [source-controller], replicas: 1}]}`,
			want:   "<nil>",
		},
		"SelectorOfShards": {
			reason: "Two shards would reconcile the same objects.",
			spec:   `{sharding: {shards: [one]}, workloads: [{}, {args: [--concurrent=1, --watch-label-selector=a=b]}]}`,
			want:   "spec.workloads[1].args[1]: --watch-label-selector follows from spec.sharding",
		},
		"SelectorWithoutShards": {
			reason: "It is an argument like others then.",
			spec:   `{workloads: [{args: [--watch-label-selector=a=b]}]}`,
			want:   "<nil>",
		},
		"ComponentThatIsNotThere": {
			reason: "One list may serve clusters with different components.",
			spec:   `{workloads: [{components: [source-watcher], replicas: 2}]}`,
			want:   "<nil>",
		},
		"ShardTwice": {
			reason: "Two Deployments of one name would be made.",
			spec:   `{sharding: {shards: [a, b, a]}}`,
			want:   `spec.sharding.shards[2]: "a" is there twice`,
		},
		"ShardOfNoName": {
			reason: "No Service can have that name.",
			spec:   `{sharding: {shards: [A_b]}}`,
			want: `spec.sharding.shards[0]: "A_b" cannot be part of a name: a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', ` +
				`and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')`,
		},
		"ShardOfLongName": {
			reason: "The name goes into labels.",
			spec:   `{sharding: {shards: [a, abcdefghijklmnopqrstuvwxyz-abcdefghijklmnopqrstuvwxyz]}}`,
			want:   `spec.sharding.shards[1]: the name "notification-controller-abcdefghijklmnopqrstuvwxyz-abcdefghijklmnopqrstuvwxyz" is longer than 63 characters`,
		},
		"ShardKey": {
			reason: "No object could have that label.",
			spec:   `{sharding: {key: a b, shards: [a]}}`,
			want: `spec.sharding.key: "a b" is not the key of a label: name part must consist of alphanumeric characters, '-', '_' or '.', ` +
				`and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')`,
		},
		"StorageSize": {
			reason: "The API server would refuse the claim, after others were changed.",
			spec:   `{storage: {class: fast, size: 10GB}}`,
			want:   `spec.storage.size: "10GB" is not the size of a volume, such as 10Gi`,
		},
		"TwoSyncsOfOneName": {
			reason: "One would overwrite the source of the other.",
			spec: `{sync: {kind: Bucket, url: u, ref: r, path: p},
				syncs: [{name: flux-system, kind: GitRepository, url: u, ref: r, path: p}]}`,
			want: `spec.syncs: name "flux-system" is taken by another sync`,
		},
	}
	d := load(t)
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			instance := read(t, base)
			if err := yaml.UnmarshalStrict([]byte(tc.spec), &instance.Spec); err != nil {
				t.Fatal(err)
			}
			_, err := d.Build(instance, options(t))
			if diff := cmp.Diff(tc.want, fmt.Sprint(err)); diff != "" {
				t.Errorf("%s\n(-want +got):\n%s", tc.reason, diff)
			}
		})
	}
}

// TestReplaceArgs shows where arguments end up: others patch them by index.
func TestReplaceArgs(t *testing.T) {
	tests := map[string]struct {
		reason   string
		args, by []string
		want     []string
	}{
		"New":        {"What is new comes last, in its order.", []string{"--a=1"}, []string{"--c", "--b=2"}, []string{"--a=1", "--c", "--b=2"}},
		"InPlace":    {"What is replaced keeps its place.", []string{"--a=1", "--b=1"}, []string{"--a=2"}, []string{"--a=2", "--b=1"}},
		"WithoutEq":  {"A switch is replaced by its value.", []string{"--a", "--b"}, []string{"--a=false"}, []string{"--a=false", "--b"}},
		"Prefix":     {"A name that begins like another one is another one.", []string{"--aa=1"}, []string{"--a=2"}, []string{"--aa=1", "--a=2"}},
		"Repeated":   {"All values of an argument that repeats itself are kept.", []string{"--a=0", "--b"}, []string{"--a=1", "--a=2"}, []string{"--a=1", "--b", "--a=2"}},
		"Fewer":      {"Values that nobody wants any more go.", []string{"--a=0", "--a=1", "--b"}, []string{"--a=2"}, []string{"--a=2", "--b"}},
		"None":       {"Nothing to add changes nothing.", []string{"--a=0", "--a=1"}, nil, []string{"--a=0", "--a=1"}},
		"FromNone":   {"There may be none before.", nil, []string{"--a"}, []string{"--a"}},
		"ValueWithE": {"The name ends at the first equals sign.", []string{"--a=b=c"}, []string{"--a=d=e"}, []string{"--a=d=e"}},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, replaceArgs(tc.args, tc.by)); diff != "" {
				t.Errorf("%s\n(-want +got):\n%s", tc.reason, diff)
			}
		})
	}
}

// TestBuildLeavesTheInstance shows that entries are merged into something new.
func TestBuildLeavesTheInstance(t *testing.T) {
	instance := read(t, "Workloads")
	before := instance.DeepCopy()
	if _, err := load(t).Build(instance, options(t)); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(before, instance); diff != "" {
		t.Errorf("(-before +after):\n%s", diff)
	}
}

// TestHighAvailability holds what the API promises of the default lease: taken over within 12.4 seconds.
func TestHighAvailability(t *testing.T) {
	l := fluxv1.HighAvailability()
	// A pod looks for the lease every retry period, and by up to 1.2 of it later.
	if longest := l.LeaseDuration.Duration + l.RetryPeriod.Duration*22/10; longest.String() != "12.4s" {
		t.Errorf("a lease is taken over after up to %s", longest)
	}
	if l.RenewDeadline.Duration >= l.LeaseDuration.Duration || l.RenewDeadline.Duration < 2*l.RetryPeriod.Duration {
		t.Errorf("the leader cannot renew its lease in time: %+v", l)
	}
}
