// Command manager is Weir in a cluster: one program that runs the controllers it is told to. It runs outside a cluster as
// well, with a kubeconfig, a storage path and an address under which others reach it.
package main

import (
	"errors"
	"fmt"
	stdlog "log"
	"os"
	"runtime/debug"
	"strings"
	_ "time/tzdata" // the image has no time zones

	"github.com/go-logr/logr"
	"github.com/go-logr/zapr"
	"github.com/spf13/pflag"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	_ "golang.org/x/crypto/x509roots/fallback" // the image has no root certificates
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/klog/v2"
	logf "sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/manager/signals"

	"github.com/weir-dev/weir/controllers"
	"github.com/weir-dev/weir/reconcilers/build"
)

// version of the build, set by the linker.
var version = "v0.0.0-dev"

// gcPercent is by how much the heap may grow until it is collected. Half of the usual value saves a tenth of the memory of a
// thousand Kustomizations, and no processor time that could be measured. GOGC sets another one.
const gcPercent = 50

func main() {
	err := run(os.Args[1:])

	switch {
	case err == nil, errors.Is(err, pflag.ErrHelp):
	default:
		fmt.Fprintln(os.Stderr, "manager:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	c, err := parse(args, os.Getenv)
	if err != nil {
		return err
	}

	log, err := logger(c.logLevel, c.logEncoding)
	if err != nil {
		return err
	}

	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}

	stdlog.SetOutput(build.GuardFatal(os.Stderr)) // a library that gives up must not take the process with it
	build.LimitCopies()
	logf.SetLogger(log)
	klog.SetLogger(log.WithName("client-go"))

	if len(c.unused) > 0 {
		log.Info("Flags without effect in this version were given", "flags", c.unused)
	}

	o, err := c.options()
	if err != nil {
		return err
	}

	p, err := controllers.New(o)
	if err != nil {
		return err //nolint:wrapcheck // says what could not be set up
	}

	log.Info("Starting", "version", version, "controllers", c.controllers)

	if err := p.Start(signals.SetupSignalHandler()); err != nil {
		return fmt.Errorf("run controllers: %w", err)
	}

	return nil
}

// options turns the command line into those of the process.
func (c *config) options() (controllers.Options, error) {
	components, err := controllers.Select(c.controllers)
	if err != nil {
		return controllers.Options{}, fmt.Errorf("--controllers: %w", err)
	}

	restConfig, err := c.kubernetes()
	if err != nil {
		return controllers.Options{}, err
	}

	selectors := map[string]labels.Selector{}

	for _, s := range []string{c.watchLabelSelector, c.watchConfigsSelector} {
		if selectors[s], err = labels.Parse(s); err != nil {
			return controllers.Options{}, fmt.Errorf("label selector %q: %w", s, err)
		}
	}

	kustomizations, err := c.kustomizations()
	if err != nil {
		return controllers.Options{}, fmt.Errorf("--custom-apply-stage-kinds: %w", err)
	}

	decryption := c.decryption
	if c.vaultCA != "" {
		if decryption.VaultCA, err = os.ReadFile(c.vaultCA); err != nil { //nolint:gosec // the operator names the file
			return controllers.Options{}, fmt.Errorf("VAULT_CACERT: %w", err)
		}
	}

	return controllers.Options{
		Components: components, Config: restConfig, Decryption: decryption,
		Namespace: c.namespace, Hostname: c.hostname, Pod: c.pod, Image: c.image, Version: version, ReportingInterval: c.reportingInterval,
		UserAgent:   "weir/" + version + " (" + strings.Join(c.controllers, ",") + ")",
		MetricsAddr: c.metricsAddr, HealthAddr: c.healthAddr, EventsAddr: c.eventsAddr,
		LeaderElection: c.leaderElection, ReleaseOnCancel: c.releaseOnCancel,
		LeaseDuration: c.leaseDuration, RenewDeadline: c.renewDeadline, RetryPeriod: c.retryPeriod,
		GracefulShutdownTimeout: c.gracefulShutdownTimeout,
		WatchAllNamespaces:      c.watchAllNamespaces,
		WatchLabelSelector:      selectors[c.watchLabelSelector], WatchConfigsSelector: selectors[c.watchConfigsSelector],
		NoCrossNamespaceRefs: c.noCrossNamespaceRefs, DefaultServiceAccount: c.defaultSA, OverrideManagers: c.overrideManagers,
		Concurrent: c.concurrent, ConcurrentApply: c.concurrentSSA, RequeueDependency: c.requeueDependency,
		MinRetryDelay: c.minRetryDelay, MaxRetryDelay: c.maxRetryDelay, Jitter: float64(c.jitterPercentage) / 100,
		FetchRetries: c.httpRetry, SSHKeyExchanges: c.sshKeyExchanges, SSHHostKeys: c.sshHostKeys,
		Storage: controllers.StorageOptions{
			Path: c.storagePath, ServeAddr: c.storageAddr, AdvertiseAddr: c.storageAdvAddr,
			RetentionTTL: c.retentionTTL, RetentionRecords: c.retentionRecords, DigestAlgorithm: c.digestAlgorithm,
		},
		DefaultWorkloadIdentityServiceAccount: c.identitySA,
		DefaultKubeconfigServiceAccount:       c.kubeconfigSA, KubeconfigRules: c.kubeconfigRules,
		AdditiveReadyExpr: c.gate(gateAdditive), NoExternalArtifacts: !c.gate(gateExternalArtifact), NoConfigWatches: c.gate(gateNoConfigWatches),
		Kustomizations: kustomizations, ExactOverrideManagers: c.exactManagers,
		Helm: c.helm, Releases: c.releases(), TokenCacheSize: c.tokenCacheSize, TokenCacheAge: c.tokenCacheAge,
		ReconciliationTimeout: c.reconciliationTimeout,
	}, nil
}

// kubernetes finds the cluster: the kubeconfig of the flag, else KUBECONFIG, the pod, or the user's default.
func (c *config) kubernetes() (*rest.Config, error) {
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath = c.kubeconfig

	if c.kubeconfig == "" && os.Getenv(clientcmd.RecommendedConfigPathEnvVar) == "" {
		if cfg, err := rest.InClusterConfig(); err == nil {
			return cfg, nil
		}
	}

	cfg, err := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, nil).ClientConfig()
	if err != nil {
		return nil, fmt.Errorf("find the cluster: %w", err)
	}

	return cfg, nil
}

// logger writes JSON lines with the keys that the flux CLI reads: ts, level, msg, error, logger.
func logger(level, encoding string) (logr.Logger, error) {
	levels := map[string]zapcore.Level{"trace": -2, "debug": -1, "info": zapcore.InfoLevel, "error": zapcore.ErrorLevel}

	c := zap.NewProductionConfig()
	c.Level = zap.NewAtomicLevelAt(levels[level])
	c.Encoding = encoding
	c.Sampling = nil
	c.DisableCaller, c.DisableStacktrace = true, true
	c.EncoderConfig.EncodeTime = zapcore.ISO8601TimeEncoder

	z, err := c.Build()
	if err != nil {
		return logr.Logger{}, fmt.Errorf("build logger: %w", err)
	}

	return zapr.NewLogger(z), nil
}
