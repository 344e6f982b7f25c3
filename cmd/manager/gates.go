package main

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/opencontainers/go-digest"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/weir-dev/weir/controllers"
)

// The feature gates of Flux that mean something here.
const (
	gateAdditive         = "AdditiveCELDependencyCheck"   // dependencies with an expression meet the usual conditions, too
	gateExternalArtifact = "ExternalArtifact"             // ExternalArtifacts are sources
	gateStrict           = "StrictPostBuildSubstitutions" // variables that are not set are an error
	gateNoFailFast       = "DisableFailFastBehavior"      // health checks wait for all objects, though some have failed
	gateNoConfigWatches  = "DisableConfigWatchers"        // changed variables wait for the interval
	gateNoCommitStatus   = "DisableCommitStatusEvent"     // no event that only sets the status of a commit
	gateDNS              = "AllowDNSLookups"              // templates of charts may look hosts up
	gateNoChartDigest    = "DisableChartDigestTracking"   // the digest of a chart is no part of its version
	gateHelm3            = "UseHelm3Defaults"             // HelmReleases are by default what they were with Helm 3
	gateRetry            = "DefaultToRetryOnFailure"      // HelmReleases that fail are by default tried again, and not remediated
)

// gates returns what the gates are as long as nothing is said. Gates that are not among them are ignored: they are about how
// Flux does something, or about kinds that this version does not have.
func gates() map[string]bool {
	return map[string]bool{
		gateAdditive: false, gateExternalArtifact: true, gateStrict: true,
		gateNoFailFast: false, gateNoConfigWatches: false, gateNoCommitStatus: false,
		gateDNS: false, gateNoChartDigest: false, gateHelm3: false, gateRetry: false,
	}
}

// gate tells whether a feature is switched on.
func (c *config) gate(name string) bool {
	if on, err := strconv.ParseBool(c.featureGates[name]); err == nil {
		return on
	}

	return gates()[name]
}

// kustomizations returns what the command line says about Kustomizations alone.
func (c *config) kustomizations() (controllers.KustomizationOptions, error) {
	stages, err := c.applyStages()

	return controllers.KustomizationOptions{
		NoFailFast: c.gate(gateNoFailFast), NoCommitStatus: c.gate(gateNoCommitStatus), Lenient: !c.gate(gateStrict),
		RemoteBases: !c.noRemoteBases, Stages: stages,
	}, err
}

// releases returns what the command line says about HelmReleases alone.
func (c *config) releases() controllers.ReleaseOptions {
	return controllers.ReleaseOptions{
		NoChartDigest: c.gate(gateNoChartDigest), AllowDNS: c.gate(gateDNS), Helm3Defaults: c.gate(gateHelm3),
		RetryByDefault: c.gate(gateRetry), SnapshotDigest: digest.Algorithm(c.snapshotDigest),
	}
}

// applyStages returns the kinds that are applied before others.
func (c *config) applyStages() ([]schema.GroupKind, error) {
	var kinds []schema.GroupKind

	for _, text := range c.stages {
		group, kind, ok := strings.Cut(strings.TrimSpace(text), "/")
		if !ok || kind == "" || strings.Contains(kind, "/") {
			return nil, fmt.Errorf("%q is not a group, a slash and a kind", text)
		}

		kinds = append(kinds, schema.GroupKind{Group: group, Kind: kind})
	}

	return kinds, nil
}
