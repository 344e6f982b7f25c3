package state

import (
	_ "crypto/sha256" // package digest has no algorithm of its own
	_ "crypto/sha512"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/opencontainers/go-digest"
	"helm.sh/helm/v3/pkg/chart"
	"helm.sh/helm/v3/pkg/release"
	helmtime "helm.sh/helm/v3/pkg/time"

	v2 "github.com/weir-dev/weir/api/helm/v2"
)

// content is what the digest of a release is made of, in this order. The names and the order are those of Flux, and times are
// written as Helm 4 writes them: left out if they are zero, where Helm 3 writes an empty string.
type content struct {
	Name          string         `json:"name"`
	Version       int            `json:"version"`
	Info          info           `json:"info"`
	ChartMetadata chart.Metadata `json:"chartMetadata"`
	Config        map[string]any `json:"config"`
	Manifest      string         `json:"manifest"`
	Hooks         []hook         `json:"hooks"`
	Namespace     string         `json:"namespace"`
	OCIDigest     string         `json:"ociDigest,omitempty"`
}

type info struct {
	FirstDeployed *time.Time     `json:"first_deployed,omitempty"`
	LastDeployed  *time.Time     `json:"last_deployed,omitempty"`
	Deleted       *time.Time     `json:"deleted,omitempty"`
	Description   string         `json:"description,omitempty"`
	Status        release.Status `json:"status,omitempty"`
	Notes         string         `json:"notes,omitempty"`
}

type hook struct {
	Name              string                        `json:"name,omitempty"`
	Kind              string                        `json:"kind,omitempty"`
	Path              string                        `json:"path,omitempty"`
	Manifest          string                        `json:"manifest,omitempty"`
	Events            []release.HookEvent           `json:"events,omitempty"`
	LastRun           run                           `json:"last_run"`
	Weight            int                           `json:"weight,omitempty"`
	DeletePolicies    []release.HookDeletePolicy    `json:"delete_policies,omitempty"`
	OutputLogPolicies []release.HookOutputLogPolicy `json:"output_log_policies,omitempty"`
}

type run struct {
	StartedAt   *time.Time        `json:"started_at,omitempty"`
	CompletedAt *time.Time        `json:"completed_at,omitempty"`
	Phase       release.HookPhase `json:"phase"`
}

// Digest returns the digest of what Helm has stored of a release, and of the digest of its chart if that came from a registry.
// Tests are no part of it, so that anybody may run them.
func Digest(r *release.Release, ociDigest string, algorithm digest.Algorithm) (digest.Digest, error) {
	if !algorithm.Available() {
		return "", fmt.Errorf("digest release: %w: %q", digest.ErrDigestUnsupported, algorithm)
	}

	c := content{
		Name: r.Name, Version: r.Version, Manifest: r.Manifest, Namespace: r.Namespace, OCIDigest: ociDigest,
		ChartMetadata: *chartOf(r), Info: infoOf(r),
	}

	if len(r.Config) > 0 {
		c.Config = r.Config
	}

	for _, h := range r.Hooks {
		if !isTest(h) {
			c.Hooks = append(c.Hooks, hookOf(h))
		}
	}

	digester := algorithm.Digester()
	if err := json.NewEncoder(digester.Hash()).Encode(c); err != nil {
		return "", fmt.Errorf("digest release: %w", err)
	}

	return digester.Digest(), nil
}

// Verify tells whether a snapshot is that of a release which Helm has stored: by the digest, or, if another version of the API made
// that, by name, namespace and revision.
func Verify(s *v2.Snapshot, r *release.Release) bool {
	if s.Name != r.Name || s.Namespace != r.Namespace || s.Version != r.Version {
		return false
	}

	if s.APIVersion != v2.SnapshotAPIVersion {
		return true
	}

	want, err := digest.Parse(s.Digest)
	if err != nil {
		return false
	}

	got, err := Digest(r, s.OCIDigest, want.Algorithm())

	return err == nil && got == want
}

// chartOf returns the metadata of the chart of a release, empty if nothing is known of it.
func chartOf(r *release.Release) *chart.Metadata {
	if r.Chart == nil || r.Chart.Metadata == nil {
		return &chart.Metadata{}
	}

	return r.Chart.Metadata
}

// statusOf returns the status that Helm gave to a release.
func statusOf(r *release.Release) release.Status {
	if r.Info == nil {
		return release.StatusUnknown
	}

	return r.Info.Status
}

func infoOf(r *release.Release) info {
	if r.Info == nil {
		return info{}
	}

	return info{
		FirstDeployed: stamp(r.Info.FirstDeployed), LastDeployed: stamp(r.Info.LastDeployed), Deleted: stamp(r.Info.Deleted),
		Description: r.Info.Description, Status: r.Info.Status, Notes: r.Info.Notes,
	}
}

func hookOf(h *release.Hook) hook {
	return hook{
		Name: h.Name, Kind: h.Kind, Path: h.Path, Manifest: h.Manifest, Events: h.Events, Weight: h.Weight,
		DeletePolicies: h.DeletePolicies, OutputLogPolicies: h.OutputLogPolicies,
		LastRun: run{StartedAt: stamp(h.LastRun.StartedAt), CompletedAt: stamp(h.LastRun.CompletedAt), Phase: h.LastRun.Phase},
	}
}

func stamp(t helmtime.Time) *time.Time {
	if t.IsZero() {
		return nil
	}

	return &t.Time
}

func isTest(h *release.Hook) bool { return slices.Contains(h.Events, release.HookTest) }
