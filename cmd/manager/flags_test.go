package main

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/weir-dev/weir/controllers"
)

func none(string) string { return "" }

func TestFluxArgumentsAreTaken(t *testing.T) {
	for name, args := range map[string][]string{
		"source-controller": {
			"--events-addr=http://notification-controller.flux-system.svc.cluster.local./", "--watch-all-namespaces=true",
			"--log-level=info", "--log-encoding=json", "--enable-leader-election", "--storage-path=/data",
			"--storage-adv-addr=source-controller.flux-system.svc.cluster.local.", "--concurrent=20", "--requeue-dependency=5s",
			"--helm-cache-max-size=10", "--helm-cache-ttl=60m", "--helm-cache-purge-interval=5m", "--feature-gates=ObjectLevelWorkloadIdentity=true",
		},
		"kustomize-controller": {
			"--events-addr=", "--concurrent=20", "--concurrent-ssa=8", "--kube-api-qps=500", "--kube-api-burst=1000", "--no-cross-namespace-refs=true",
			"--no-remote-bases=true", "--default-service-account=default", "--override-manager=a", "--override-manager=b",
			"--override-manager-before-dry-run=c", "--custom-apply-stage-kinds=example.com/Database,example.com/Queue", "--http-retry=9",
			"--default-decryption-service-account=d", "--default-kubeconfig-service-account=k", "--sops-age-secret=sops-age",
			"--sops-vault-configmap=vault", "--insecure-kubeconfig-exec=false", "--insecure-kubeconfig-tls=false",
			"--metrics-addr=:8080", "--health-addr=:9440", "--log-encoding=json", "--log-level=trace", "--enable-leader-election",
			"--leader-election-release-on-cancel=true", "--leader-election-lease-duration=35s", "--leader-election-renew-deadline=30s",
			"--leader-election-retry-period=5s", "--min-retry-delay=750ms", "--max-retry-delay=15m", "--interval-jitter-percentage=5",
			"--watch-all-namespaces", "--watch-configs-label-selector=reconcile.fluxcd.io/watch=Enabled", "--requeue-dependency=5s",
			"--token-cache-max-size=100", "--token-cache-max-duration=1h", "--spiffe-broker-endpoint=unix:///run/broker", "--spiffe-broker-id=b",
			"--authorized-event-server-spiffe-id=e", "--authorized-artifact-client-spiffe-id=c", "--authorized-artifact-server-spiffe-id=s",
			"--feature-gates=CacheSecretsAndConfigMaps=false,DisableStatusPollerCache=true,DisableFailFastBehavior=false",
			"--feature-gates=StrictPostBuildSubstitutions=true,GroupChangeLog=false,AdditiveCELDependencyCheck=false,MigrateAPIVersion=false",
			"--feature-gates=CancelHealthCheckOnNewRevision=true,DirectSourceFetch=true,DisableCommitStatusEvent=false",
			"--feature-gates=ExternalArtifact=true", "--feature-gates=DisableConfigWatchers=true", "--watch-label-selector=!sharding.fluxcd.io/key",
		},
		"notification-controller": {"--watch-all-namespaces=true", "--log-level=debug", "--enable-leader-election", "--rate-limit-interval=5m", "--receiverAddr=:9292"},
		"helm-controller": {
			"--oom-watch-memory-threshold=95", "--oom-watch-interval=500ms", "--oom-watch-max-memory-path=/a", "--oom-watch-current-memory-path=/b",
			"--graceful-shutdown-timeout=600s", "--default-kubeconfig-service-account=default", "--snapshot-digest-algo=sha512",
			"--override-manager=kubectl", "--feature-gates=DetectDrift=true,CorrectDrift=true,OOMWatch=true,AdoptLegacyReleases=false",
			"--feature-gates=AllowDNSLookups=true,UseHelm3Defaults=true,DefaultToRetryOnFailure=true,ObjectLevelWorkloadIdentity=true",
		},
		"flux-operator": {"--controllers=instance", "--image=localhost:5000/weir:v1", "--reporting-interval=30s", "--default-workload-identity-service-account=flux-operator"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := parse(args, none); err != nil {
				t.Errorf("parse: %v", err)
			}
		})
	}
}

func TestDefaultsAreThoseOfFlux(t *testing.T) {
	c, err := parse(nil, none)
	if err != nil {
		t.Fatal(err)
	}

	got := map[string]any{
		"metrics": c.metricsAddr, "health": c.healthAddr, "storage": c.storageAddr, "path": c.storagePath,
		"lease": c.leaseDuration, "renew": c.renewDeadline, "retry": c.retryPeriod, "jitter": c.jitterPercentage,
		"min": c.minRetryDelay, "max": c.maxRetryDelay, "dependency": c.requeueDependency, "namespace": c.namespace,
		"all": c.watchAllNamespaces, "configs": c.watchConfigsSelector, "records": c.retentionRecords, "controllers": c.controllers,
		"reporting": c.reportingInterval,
	}
	want := map[string]any{
		"metrics": ":8080", "health": ":9440", "storage": ":9090", "path": "/data",
		"lease": 35 * time.Second, "renew": 30 * time.Second, "retry": 5 * time.Second, "jitter": 5,
		"min": 750 * time.Millisecond, "max": 15 * time.Minute, "dependency": 30 * time.Second, "namespace": "flux-system",
		"all": true, "configs": "reconcile.fluxcd.io/watch=Enabled", "records": 2, "controllers": []string{"all"},
		"reporting": 5 * time.Minute,
	}

	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}

	if _, err := controllers.Select(c.controllers); err != nil {
		t.Errorf("default controllers: %v", err)
	}
}

func TestBadArgumentsAreNamed(t *testing.T) {
	for name, tc := range map[string]struct {
		arg, want string
	}{
		"Unknown":  {"--no-such-flag", "no-such-flag"},
		"Rest":     {"argument", `"argument"`},
		"Jitter":   {"--interval-jitter-percentage=100", "--interval-jitter-percentage"},
		"Level":    {"--log-level=loud", "--log-level"},
		"Encoding": {"--log-encoding=xml", "--log-encoding"},
		"Delay":    {"--max-retry-delay=1ms", "--max-retry-delay"},
		"SSA":      {"--concurrent-ssa=0", "--concurrent-ssa"},
		"Selector": {"--watch-label-selector=a in", "--watch-label-selector"},
		"Gate":     {"--feature-gates=ExternalArtifact=maybe", "ExternalArtifact"},
		"Stage":    {"--custom-apply-stage-kinds=Secret", `"Secret"`},
		"Account":  {"--default-service-account=kube-system:default", "--default-service-account"},
		"Remote":   {"--default-kubeconfig-service-account=Default", "--default-kubeconfig-service-account"},
		"Identity": {"--default-workload-identity-service-account=Default", "--default-workload-identity-service-account"},
		"Digest":   {"--snapshot-digest-algo=md5", "--snapshot-digest-algo"},
		"Records":  {"--artifact-retention-records=0", "--artifact-retention-records"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := parse([]string{tc.arg}, none)
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got error %v, want one that names %s", err, tc.want)
			}
		})
	}
}

func TestEnvironment(t *testing.T) {
	c, err := parse(nil, func(key string) string {
		return map[string]string{
			"RUNTIME_NAMESPACE": "gitops", "HOSTNAME": "pod-1", "STORAGE_PATH": "/elsewhere", "EVENTS_ADDR": "http://events/",
			"VAULT_ADDR": "https://vault/", "VAULT_TOKEN": "t", "VAULT_NAMESPACE": "n", "VAULT_CACERT": "/ca",
		}[key]
	})
	if err != nil {
		t.Fatal(err)
	}

	got := []string{
		c.namespace, c.hostname, c.storagePath, c.eventsAddr,
		c.decryption.VaultAddress, c.decryption.VaultToken, c.decryption.VaultNamespace, c.vaultCA,
	}
	if diff := cmp.Diff([]string{"gitops", "pod-1", "/elsewhere", "http://events/", "https://vault/", "t", "n", "/ca"}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// Remote bases are refused unless somebody says that they may be fetched.
func TestRemoteBases(t *testing.T) {
	for _, tc := range []struct {
		args []string
		want bool
	}{
		{nil, false}, {[]string{"--no-remote-bases"}, false}, {[]string{"--no-remote-bases=false"}, true},
	} {
		c, err := parse(tc.args, none)
		if err != nil {
			t.Fatal(err)
		}

		o, err := c.kustomizations()
		if err != nil || o.RemoteBases != tc.want {
			t.Errorf("%q: remote bases %v, %v, want %v", tc.args, o.RemoteBases, err, tc.want)
		}
	}
}

func TestUnusedFlagsAreTold(t *testing.T) {
	c, err := parse([]string{"--concurrent=3", "--kube-api-qps=100", "--no-remote-bases", "--web-server-only"}, none)
	if err != nil {
		t.Fatal(err)
	}

	if diff := cmp.Diff([]string{"kube-api-qps", "web-server-only"}, c.unused); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestGates(t *testing.T) {
	for name, tc := range map[string]struct {
		reason string
		args   []string
		want   controllers.KustomizationOptions
	}{
		"Defaults": {"Nothing is said.", nil, controllers.KustomizationOptions{}},
		"Unknown": {
			"Gates of other versions are ignored.", []string{"--feature-gates=GroupChangeLog=true,NoSuchGate=maybe"},
			controllers.KustomizationOptions{},
		},
		"All": {
			"All are the opposite of what they usually are.",
			[]string{
				"--feature-gates=ExternalArtifact=false,StrictPostBuildSubstitutions=0", "--feature-gates=DisableFailFastBehavior=true",
				"--feature-gates=DisableConfigWatchers=T,DisableCommitStatusEvent=TRUE",
			},
			controllers.KustomizationOptions{
				NoFailFast: true, NoCommitStatus: true, Lenient: true,
			},
		},
		"Usual": {
			"What is usual can be said.", []string{"--feature-gates=ExternalArtifact=true,StrictPostBuildSubstitutions=true"},
			controllers.KustomizationOptions{},
		},
		"Stages": {
			"Kinds of the core have an empty group.", []string{"--custom-apply-stage-kinds=a.example.org/A,/Secret", "--custom-apply-stage-kinds=b/B"},
			controllers.KustomizationOptions{
				Stages: []schema.GroupKind{{Group: "a.example.org", Kind: "A"}, {Kind: "Secret"}, {Group: "b", Kind: "B"}},
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			c, err := parse(tc.args, none)
			if err != nil {
				t.Fatal(err)
			}

			got, err := c.kustomizations()
			if diff := cmp.Diff(tc.want, got); diff != "" || err != nil {
				t.Errorf("%s: error %v (-want +got):\n%s", tc.reason, err, diff)
			}
		})
	}
}

func TestReleaseGates(t *testing.T) {
	for name, tc := range map[string]struct {
		reason string
		args   []string
		want   controllers.ReleaseOptions
	}{
		"Defaults": {"Nothing is said.", nil, controllers.ReleaseOptions{SnapshotDigest: "sha256"}},
		"All": {
			"Each gate has a meaning of its own.",
			[]string{
				"--feature-gates=AllowDNSLookups=true,DisableChartDigestTracking=1", "--feature-gates=UseHelm3Defaults=t",
				"--feature-gates=DefaultToRetryOnFailure=TRUE", "--snapshot-digest-algo=sha384",
			},
			controllers.ReleaseOptions{NoChartDigest: true, AllowDNS: true, Helm3Defaults: true, RetryByDefault: true, SnapshotDigest: "sha384"},
		},
		"Retry": {
			"One gate is not another one.", []string{"--feature-gates=DefaultToRetryOnFailure=true"},
			controllers.ReleaseOptions{RetryByDefault: true, SnapshotDigest: "sha256"},
		},
		"DNS": {
			"Nor is this one.", []string{"--feature-gates=AllowDNSLookups=true"},
			controllers.ReleaseOptions{AllowDNS: true, SnapshotDigest: "sha256"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			c, err := parse(tc.args, none)
			if err != nil {
				t.Fatal(err)
			}

			if diff := cmp.Diff(tc.want, c.releases()); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tc.reason, diff)
			}
		})
	}
}

// Where one process impersonates and has a cloud identity, each has a default of its own.
func TestIdentity(t *testing.T) {
	c, err := parse([]string{"--default-service-account=tenant", "--default-workload-identity-service-account=cloud"}, none)
	if err != nil {
		t.Fatal(err)
	}

	if diff := cmp.Diff([]string{"tenant", "cloud"}, []string{c.defaultSA, c.identitySA}); diff != "" || len(c.unused) > 0 {
		t.Errorf("unused: %v (-want +got):\n%s", c.unused, diff)
	}
}

func TestReportingInterval(t *testing.T) {
	tests := map[string]struct {
		reason, env string
		args        []string
		want        time.Duration
		err         string
	}{
		"Environment": {reason: "Where the chart of Flux Operator says it.", env: "1m", want: time.Minute},
		"Both":        {reason: "The command line says more about this process.", env: "1m", args: []string{"--reporting-interval=30s"}, want: 30 * time.Second},
		"Malformed":   {reason: "The name is that of the variable.", env: "often", err: `REPORTING_INTERVAL: time: invalid duration "often"`},
		"Never":       {reason: "There is always a report.", args: []string{"--reporting-interval=0s"}, err: "--reporting-interval is 0s: want a positive time"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			c, err := parse(tc.args, func(key string) string {
				if key == "REPORTING_INTERVAL" {
					return tc.env
				}

				return ""
			})

			got := ""
			if err != nil {
				got = err.Error()
			}

			if got != tc.err || err == nil && c.reportingInterval != tc.want {
				t.Errorf("%s: got %s and %q", tc.reason, c.reportingInterval, got)
			}
		})
	}
}

// TestDefaultAccounts shows where the accounts of objects that name none come from.
func TestDefaultAccounts(t *testing.T) {
	environment := map[string]string{
		"DEFAULT_SERVICE_ACCOUNT": "tenant", "DEFAULT_WORKLOAD_IDENTITY_SERVICE_ACCOUNT": "cloud",
	}

	for name, tc := range map[string]struct {
		reason string
		args   []string
		want   [2]string
	}{
		"Environment": {reason: "Where the chart of Flux Operator says it.", want: [2]string{"tenant", "cloud"}},
		"Both": {
			reason: "The command line says more about this process.", want: [2]string{"other", "own"},
			args: []string{"--default-service-account=other", "--default-workload-identity-service-account=own"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			c, err := parse(tc.args, func(key string) string { return environment[key] })
			if got := [2]string{c.defaultSA, c.identitySA}; err != nil || got != tc.want {
				t.Errorf("%s got %q, %v, want %q", tc.reason, got, err, tc.want)
			}
		})
	}
}
