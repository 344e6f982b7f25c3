package v1_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/weir-dev/weir/api/meta"
	v1 "github.com/weir-dev/weir/api/source/v1"
)

func TestDefaults(t *testing.T) {
	hour := metav1.Duration{Duration: time.Hour}

	type source interface{ GetTimeout() time.Duration }

	type provided interface{ GetProvider() string }

	type defaults struct {
		Timeout  time.Duration
		Provider string
	}

	cases := map[string]struct {
		unset source
		set   source
	}{
		v1.GitRepositoryKind: {
			unset: &v1.GitRepository{},
			set:   &v1.GitRepository{Spec: v1.GitRepositorySpec{Timeout: &hour, Provider: meta.ProviderAzure}},
		},
		v1.OCIRepositoryKind: {
			unset: &v1.OCIRepository{},
			set:   &v1.OCIRepository{Spec: v1.OCIRepositorySpec{Timeout: &hour, Provider: meta.ProviderAzure}},
		},
		v1.HelmRepositoryKind: {
			unset: &v1.HelmRepository{},
			set:   &v1.HelmRepository{Spec: v1.HelmRepositorySpec{Timeout: &hour, Provider: meta.ProviderAzure}},
		},
		v1.BucketKind: {
			unset: &v1.Bucket{},
			set:   &v1.Bucket{Spec: v1.BucketSpec{Timeout: &hour, Provider: meta.ProviderAzure}},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			of := func(s source) defaults {
				p, ok := s.(provided)
				if !ok {
					t.Fatalf("%T has no provider", s)
				}

				return defaults{Timeout: s.GetTimeout(), Provider: p.GetProvider()}
			}

			if diff := cmp.Diff(defaults{Timeout: time.Minute, Provider: "generic"}, of(tc.unset)); diff != "" {
				t.Errorf("defaults (-want, +got):\n%s", diff)
			}

			if diff := cmp.Diff(defaults{Timeout: time.Hour, Provider: "azure"}, of(tc.set)); diff != "" {
				t.Errorf("values (-want, +got):\n%s", diff)
			}
		})
	}
}

func TestGitVerificationMode(t *testing.T) {
	type want struct {
		Mode      string
		HEAD, Tag bool
	}

	cases := map[string]struct {
		reason string
		mode   string
		want   want
	}{
		"Default":    {reason: "The commit is verified.", want: want{Mode: "HEAD", HEAD: true}},
		"Legacy":     {reason: "An old spelling means the same.", mode: "head", want: want{Mode: "HEAD", HEAD: true}},
		"HEAD":       {reason: "The commit is verified.", mode: "HEAD", want: want{Mode: "HEAD", HEAD: true}},
		"Tag":        {reason: "The tag is verified.", mode: "Tag", want: want{Mode: "Tag", Tag: true}},
		"TagAndHEAD": {reason: "Both are.", mode: "TagAndHEAD", want: want{Mode: "TagAndHEAD", HEAD: true, Tag: true}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			v := &v1.GitRepositoryVerification{Mode: tc.mode}
			got := want{Mode: v.GetMode(), HEAD: v.VerifiesHEAD(), Tag: v.VerifiesTag()}

			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("%s\n-want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}

func TestGitInclude(t *testing.T) {
	include := &v1.GitRepositoryInclude{GitRepositoryRef: meta.LocalObjectReference{Name: "other"}}
	if got := include.GetToPath(); got != "other" {
		t.Errorf("default path is %q, want the name of the repository", got)
	}

	include.ToPath = "./deploy"
	if got := include.GetToPath(); got != "./deploy" {
		t.Errorf("path is %q, want the one that is set", got)
	}
}

func TestOCILayer(t *testing.T) {
	cases := map[string]struct {
		reason        string
		selector      *v1.OCILayerSelector
		wantMediaType string
		wantOperation string
	}{
		"None":      {reason: "The first layer is extracted.", wantOperation: "extract"},
		"MediaType": {reason: "A layer is extracted.", selector: &v1.OCILayerSelector{MediaType: "a/b"}, wantMediaType: "a/b", wantOperation: "extract"},
		"Copy":      {reason: "The first layer is copied.", selector: &v1.OCILayerSelector{Operation: "copy"}, wantOperation: "copy"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			repo := &v1.OCIRepository{Spec: v1.OCIRepositorySpec{LayerSelector: tc.selector}}

			if got := repo.GetLayerMediaType(); got != tc.wantMediaType {
				t.Errorf("%s\nmedia type is %q, want %q", tc.reason, got, tc.wantMediaType)
			}

			if got := repo.GetLayerOperation(); got != tc.wantOperation {
				t.Errorf("%s\noperation is %q, want %q", tc.reason, got, tc.wantOperation)
			}
		})
	}
}

func TestHelmRepository(t *testing.T) {
	repo := &v1.HelmRepository{}
	if got := repo.GetInterval(); got != time.Minute {
		t.Errorf("default interval is %s, want 1m", got)
	}

	if repo.IsOCI() {
		t.Error("a repository is a registry by default")
	}

	repo.Spec.Interval = metav1.Duration{Duration: time.Hour}
	repo.Spec.Type = v1.HelmRepositoryTypeOCI

	if got := repo.GetInterval(); got != time.Hour {
		t.Errorf("interval is %s, want that of the spec", got)
	}

	if !repo.IsOCI() {
		t.Error("a repository of type oci is no registry")
	}
}

func TestHelmChart(t *testing.T) {
	chart := &v1.HelmChart{}
	if version, strategy := chart.GetVersion(), chart.GetReconcileStrategy(); version != "*" || strategy != "ChartVersion" {
		t.Errorf("defaults are %q and %q", version, strategy)
	}

	chart.Spec.Version, chart.Spec.ReconcileStrategy = "1.x", v1.ReconcileStrategyRevision
	if version, strategy := chart.GetVersion(), chart.GetReconcileStrategy(); version != "1.x" || strategy != "Revision" {
		t.Errorf("values are %q and %q, want those of the spec", version, strategy)
	}
}
