package main

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/spf13/pflag"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/weir-dev/weir/controllers"
	"github.com/weir-dev/weir/reconcilers/access"
	"github.com/weir-dev/weir/reconcilers/charts"
	"github.com/weir-dev/weir/reconcilers/report"
)

// config is what the command line says. The names and defaults of the flags are those of the Flux controllers and of Flux
// Operator, so that patches published for them keep working; the few of our own are listed first.
type config struct {
	controllers []string
	kubeconfig  string
	image       string

	metricsAddr, healthAddr, eventsAddr string
	logLevel, logEncoding               string

	leaderElection                            bool
	releaseOnCancel                           bool
	leaseDuration, renewDeadline, retryPeriod time.Duration
	gracefulShutdownTimeout                   time.Duration

	watchAllNamespaces   bool
	watchLabelSelector   string
	watchConfigsSelector string
	noCrossNamespaceRefs bool
	defaultSA            string
	kubeconfigSA         string
	identitySA           string
	kubeconfigRules      access.Rules
	decryption           controllers.DecryptionOptions
	vaultCA              string // a file

	concurrent        int
	concurrentSSA     int
	requeueDependency time.Duration
	minRetryDelay     time.Duration
	maxRetryDelay     time.Duration
	jitterPercentage  int
	httpRetry         int
	overrideManagers  []string
	exactManagers     []string
	stages            []string
	noRemoteBases     bool
	sshKeyExchanges   []string
	sshHostKeys       []string
	featureGates      map[string]string

	storagePath, storageAddr, storageAdvAddr string
	retentionTTL                             time.Duration
	retentionRecords                         int
	digestAlgorithm                          string

	helm                  controllers.HelmOptions
	snapshotDigest        string
	tokenCacheSize        int
	tokenCacheAge         time.Duration
	reconciliationTimeout time.Duration
	reportingInterval     time.Duration

	// from the environment
	namespace string
	hostname  string
	pod       string

	unused []string // flags that were given and have no effect in this version
}

// environment is what the manager reads beside its flags.
func environment(getenv func(string) string) config {
	host, _ := os.Hostname() //nolint:errcheck // an empty instance name is only less telling
	if h := getenv("HOSTNAME"); h != "" {
		host = h
	}

	namespace := getenv("RUNTIME_NAMESPACE")
	if namespace == "" {
		namespace = "flux-system"
	}

	pod := getenv("POD_NAME")
	if pod == "" {
		pod = host // that of a pod is its name, unless it shares that of its node
	}

	return config{namespace: namespace, hostname: host, pod: pod, vaultCA: getenv("VAULT_CACERT"), decryption: controllers.DecryptionOptions{
		VaultAddress: getenv("VAULT_ADDR"), VaultToken: getenv("VAULT_TOKEN"), VaultNamespace: getenv("VAULT_NAMESPACE"),
	}}
}

// parse reads the arguments. Flags of Flux that mean nothing to this version are taken, and remembered in unused.
func parse(args []string, getenv func(string) string) (config, error) {
	c := environment(getenv)
	fs := pflag.NewFlagSet("manager", pflag.ContinueOnError)
	fs.SortFlags = false

	c.ownFlags(fs)
	c.commonFlags(fs, getenv)
	c.reconcileFlags(fs, getenv)
	c.storageFlags(fs, getenv)
	c.sourceFlags(fs)

	if err := c.operatorFlags(fs, getenv); err != nil {
		return c, err
	}

	ignored := ignoredFlags(fs)

	if err := fs.Parse(args); err != nil {
		return c, err //nolint:wrapcheck // names the flag
	}

	if rest := fs.Args(); len(rest) > 0 {
		return c, fmt.Errorf("unexpected argument %q", rest[0])
	}

	fs.Visit(func(f *pflag.Flag) {
		if slices.Contains(ignored, f.Name) {
			c.unused = append(c.unused, f.Name)
		}
	})

	return c, c.validate()
}

func (c *config) ownFlags(fs *pflag.FlagSet) {
	fs.StringSliceVar(&c.controllers, "controllers", []string{"all"},
		"The controllers that this process runs: all, instance, or names such as source-controller, kustomize-controller.")
	fs.StringVar(&c.kubeconfig, "kubeconfig", "", "Path of a kubeconfig. Empty: KUBECONFIG, the pod's service account, or ~/.kube/config.")
	fs.StringVar(&c.image, "image", "", "The image of this process, from which the components are deployed: repository:tag@digest.")
}

func (c *config) commonFlags(fs *pflag.FlagSet, getenv func(string) string) {
	fs.StringVar(&c.metricsAddr, "metrics-addr", or(getenv("METRICS_ADDR"), ":8080"), "The address that metrics are served on; 0 switches them off.")
	fs.StringVar(&c.healthAddr, "health-addr", ":9440", "The address that /healthz and /readyz are served on; 0 switches them off.")
	fs.StringVar(&c.eventsAddr, "events-addr", getenv("EVENTS_ADDR"), "The URL of the events endpoint of notification-controller. Empty sends none.")
	fs.StringVar(&c.logLevel, "log-level", "info", "The level of the log: trace, debug, info or error.")
	fs.StringVar(&c.logEncoding, "log-encoding", "json", "The encoding of the log: json or console.")
	fs.BoolVar(&c.leaderElection, "enable-leader-election", false, "Reconcile only while holding the lease of the controller.")
	fs.BoolVar(&c.releaseOnCancel, "leader-election-release-on-cancel", true, "Give the lease back on shutdown.")
	fs.DurationVar(&c.leaseDuration, "leader-election-lease-duration", 35*time.Second, "How long a lease lasts that is not renewed.")
	fs.DurationVar(&c.renewDeadline, "leader-election-renew-deadline", 30*time.Second, "How long the leader tries to renew its lease before it gives up.")
	fs.DurationVar(&c.retryPeriod, "leader-election-retry-period", 5*time.Second, "The time between two attempts to get or renew the lease.")
	fs.DurationVar(&c.gracefulShutdownTimeout, "graceful-shutdown-timeout", 8*time.Second, "How long running reconciles may take to end on shutdown; less than the grace period of the pod, so that the lease is given back.")
	fs.BoolVar(&c.watchAllNamespaces, "watch-all-namespaces", true, "Watch all namespaces, or only that in RUNTIME_NAMESPACE.")
	fs.StringVar(&c.watchLabelSelector, "watch-label-selector", "", "Reconcile only the objects with these labels.")
	fs.StringVar(&c.watchConfigsSelector, "watch-configs-label-selector", "reconcile.fluxcd.io/watch=Enabled",
		"The ConfigMaps and Secrets whose changes make those that refer to them reconcile.")
}

func (c *config) reconcileFlags(fs *pflag.FlagSet, getenv func(string) string) {
	fs.BoolVar(&c.noCrossNamespaceRefs, "no-cross-namespace-refs", false, "Refuse references to objects of other namespaces.")
	fs.StringVar(&c.defaultSA, "default-service-account", getenv("DEFAULT_SERVICE_ACCOUNT"), "The ServiceAccount to impersonate for objects that name none.")
	fs.StringVar(&c.identitySA, "default-workload-identity-service-account", getenv("DEFAULT_WORKLOAD_IDENTITY_SERVICE_ACCOUNT"), "The ServiceAccount whose cloud identity is taken for objects that name none. Empty: that of --default-service-account.")
	fs.StringVar(&c.kubeconfigSA, "default-kubeconfig-service-account", "", "The ServiceAccount that gives the identity for remote clusters where none is named.")
	fs.StringVar(&c.decryption.DefaultServiceAccount, "default-decryption-service-account", "", "The ServiceAccount that gives the identity for key services where none is named.")
	fs.StringVar(&c.decryption.AgeSecret, "sops-age-secret", "", "The Secret with age keys (*.agekey) for Kustomizations whose decryption names no Secret.")
	fs.StringVar(&c.decryption.VaultInstances, "sops-vault-configmap", "", "The ConfigMap with the Vaults that ServiceAccounts may log in to.")
	fs.BoolVar(&c.kubeconfigRules.Exec, "insecure-kubeconfig-exec", false, "Let kubeconfigs of users run programs to get credentials.")
	fs.BoolVar(&c.kubeconfigRules.InsecureTLS, "insecure-kubeconfig-tls", false, "Let kubeconfigs of users leave the server unverified.")
	fs.IntVar(&c.concurrent, "concurrent", 0, "How many objects of a kind reconcile at a time, without HelmReleases that wait. Zero: as many as suit the kind.")
	fs.IntVar(&c.concurrentSSA, "concurrent-ssa", 4, "How many objects of one Kustomization are applied at a time.")
	fs.DurationVar(&c.requeueDependency, "requeue-dependency", 30*time.Second, "The longest time between two looks at a missing dependency.")
	fs.DurationVar(&c.minRetryDelay, "min-retry-delay", 750*time.Millisecond, "The first delay after a failure; it doubles with each failure.")
	fs.DurationVar(&c.maxRetryDelay, "max-retry-delay", 15*time.Minute, "The longest delay after a failure.")
	fs.IntVar(&c.jitterPercentage, "interval-jitter-percentage", 5, "By how much of it an interval may be longer or shorter, in percent, 0 to 99.")
	// Flux tries nine times before it gives the worker back. Here the object itself is tried again, and no worker waits.
	fs.IntVar(&c.httpRetry, "http-retry", 3, "How often fetching an artifact is tried again within one reconcile.")
	fs.StringVar(&c.snapshotDigest, "snapshot-digest-algo", "sha256", "The digest algorithm of releases in the history of HelmReleases: sha256, sha384 or sha512.")
	fs.StringArrayVar(&c.overrideManagers, "override-manager", nil, "A field manager whose fields are taken over. Repeatable.")
	fs.StringArrayVar(&c.exactManagers, "override-manager-before-dry-run", nil, "A field manager, by its whole name, whose fields are taken over. Repeatable.")
	fs.StringSliceVar(&c.stages, "custom-apply-stage-kinds", nil, "Kinds, as group/Kind, that are applied and waited for before the others.")
	fs.BoolVar(&c.noRemoteBases, "no-remote-bases", true, "Refuse bases, components and resources of kustomizations that lie on other servers.")
	fs.StringSliceVar(&c.sshKeyExchanges, "ssh-kex-algos", nil, "The key exchange algorithms that are offered to SSH servers. Empty: the usual ones.")
	fs.StringSliceVar(&c.sshHostKeys, "ssh-hostkey-algos", nil, "The host key algorithms that are offered to SSH servers. Empty: those of the known hosts.")
	fs.StringToStringVar(&c.featureGates, "feature-gates", nil, "Feature gates as Name=bool,…; those that this version does not have are ignored.")
}

func (c *config) storageFlags(fs *pflag.FlagSet, getenv func(string) string) {
	fs.StringVar(&c.storagePath, "storage-path", or(getenv("STORAGE_PATH"), "/data"), "The directory of the artifacts.")
	fs.StringVar(&c.storageAddr, "storage-addr", or(getenv("STORAGE_ADDRESS"), ":9090"), "The address that artifacts are served on.")
	fs.StringVar(&c.storageAdvAddr, "storage-adv-addr", getenv("STORAGE_ADV_ADDR"), "The address under which others reach the artifacts. Empty: that of storage-addr.")
	fs.DurationVar(&c.retentionTTL, "artifact-retention-ttl", time.Minute, "How long a superseded artifact is kept.")
	fs.IntVar(&c.retentionRecords, "artifact-retention-records", 2, "How many artifacts of an object are kept, the current one included.")
	fs.StringVar(&c.digestAlgorithm, "artifact-digest-algo", "sha256", "The digest algorithm of artifacts.")
}

func (c *config) sourceFlags(fs *pflag.FlagSet) {
	fs.Int64Var(&c.helm.IndexBytes, "helm-index-max-size", charts.DefaultIndexBytes, "The largest index of a Helm repository, in bytes.")
	fs.Int64Var(&c.helm.ChartBytes, "helm-chart-max-size", charts.DefaultChartBytes, "The largest package of a Helm chart, in bytes.")
	fs.Int64Var(&c.helm.ChartFileBytes, "helm-chart-file-max-size", 5<<20, "The largest file in a Helm chart, in bytes.")
	fs.IntVar(&c.tokenCacheSize, "token-cache-max-size", 100, "How many tokens of clouds are kept. Zero keeps none.")
	fs.DurationVar(&c.tokenCacheAge, "token-cache-max-duration", time.Hour, "How long a token of a cloud is kept at most; an hour is the most.")
	fs.DurationVar(&c.reconciliationTimeout, "reconciliation-timeout", 10*time.Minute, "The longest time that an ArtifactGenerator runs.")
}

func (c *config) operatorFlags(fs *pflag.FlagSet, getenv func(string) string) error {
	every := report.DefaultInterval

	if text := getenv("REPORTING_INTERVAL"); text != "" {
		var err error
		if every, err = time.ParseDuration(text); err != nil {
			return fmt.Errorf("REPORTING_INTERVAL: %w", err)
		}
	}

	fs.DurationVar(&c.reportingInterval, "reporting-interval", every, "The time between two reports about the cluster.")

	return nil
}

// ignoredFlags adds the flags of the Flux controllers that have no effect in this version, and returns their names.
func ignoredFlags(fs *pflag.FlagSet) []string {
	texts, bools := []string{
		"kube-api-qps", "kube-api-burst", // there is no client-side rate limit
		"receiverAddr", "rate-limit-interval", "http-timeout",
		"helm-cache-max-size", // an index is kept as long as somebody looks at it, whatever its age
		"helm-cache-ttl", "helm-cache-purge-interval",
		"storage-value-log-file-size", "storage-compression-threshold", "gc-interval",
		// a process that is killed takes its releases up where it was: it needs no warning
		"oom-watch-memory-threshold", "oom-watch-interval", "oom-watch-max-memory-path", "oom-watch-current-memory-path",
		"spiffe-broker-endpoint", "spiffe-broker-id", "authorized-event-server-spiffe-id",
		"authorized-artifact-client-spiffe-id", "authorized-artifact-server-spiffe-id",
		"web-server-port", "web-config", "web-config-secret-name",
	}, []string{
		"export-http-path-metrics", "web-server-only",
	}

	for _, name := range texts {
		fs.StringArray(name, nil, "Taken, without effect in this version.")
	}

	for _, name := range bools {
		fs.Bool(name, false, "Taken, without effect in this version.")
	}

	return append(texts, bools...)
}

func (c *config) validate() error {
	var errs []error

	check := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}

	check(c.jitterPercentage >= 0 && c.jitterPercentage < 100, "--interval-jitter-percentage is %d: want 0 to 99", c.jitterPercentage)
	check(c.concurrent >= 0, "--concurrent is %d: want 0 or more", c.concurrent)
	check(c.concurrentSSA > 0, "--concurrent-ssa is %d: want 1 or more", c.concurrentSSA)
	check(c.minRetryDelay > 0 && c.maxRetryDelay >= c.minRetryDelay,
		"--min-retry-delay %s, --max-retry-delay %s: want a positive delay and a maximum that is no smaller", c.minRetryDelay, c.maxRetryDelay)
	check(slices.Contains([]string{"trace", "debug", "info", "error"}, c.logLevel), "--log-level is %q: want trace, debug, info or error", c.logLevel)
	check(slices.Contains([]string{"json", "console"}, c.logEncoding), "--log-encoding is %q: want json or console", c.logEncoding)
	check(c.helm.IndexBytes > 0 && c.helm.ChartBytes > 0 && c.helm.ChartFileBytes > 0,
		"--helm-index-max-size %d, --helm-chart-max-size %d, --helm-chart-file-max-size %d: want 1 or more",
		c.helm.IndexBytes, c.helm.ChartBytes, c.helm.ChartFileBytes)
	check(digest.Algorithm(c.snapshotDigest).Available(), "--snapshot-digest-algo is %q: want sha256, sha384 or sha512", c.snapshotDigest)
	check(c.tokenCacheSize >= 0 && c.tokenCacheAge >= 0, "--token-cache-max-size %d, --token-cache-max-duration %s: want 0 or more",
		c.tokenCacheSize, c.tokenCacheAge)
	check(c.reconciliationTimeout > 0, "--reconciliation-timeout is %s: want a positive time", c.reconciliationTimeout)
	check(c.reportingInterval > 0, "--reporting-interval is %s: want a positive time", c.reportingInterval)
	check(c.httpRetry >= 0, "--http-retry is %d: want 0 or more", c.httpRetry)
	for flag, name := range map[string]string{
		"default-service-account": c.defaultSA, "default-kubeconfig-service-account": c.kubeconfigSA,
		"default-workload-identity-service-account": c.identitySA,
	} {
		err := access.CheckAccount("default", name)
		check(name == "" || err == nil, "--%s is %q: no service account can have the name", flag, name)
	}

	check(c.retentionRecords >= 1, "--artifact-retention-records is %d: want 1 or more", c.retentionRecords)

	for _, name := range slices.Sorted(maps.Keys(gates())) {
		value, ok := c.featureGates[name]
		_, err := strconv.ParseBool(value)
		check(err == nil || !ok, "--feature-gates %s is %q: want true or false", name, value)
	}

	_, err := c.applyStages()
	check(err == nil, "--custom-apply-stage-kinds: %v", err)

	for flag, selector := range map[string]string{
		"watch-label-selector": c.watchLabelSelector, "watch-configs-label-selector": c.watchConfigsSelector,
	} {
		_, err := labels.Parse(selector)
		check(err == nil, "--%s is %q: %v", flag, selector, err)
	}

	return errors.Join(errs...)
}

func or(a, b string) string {
	if strings.TrimSpace(a) != "" {
		return a
	}

	return b
}
