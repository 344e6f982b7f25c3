package helmrepo_test

import (
	"bytes"
	"testing"

	"github.com/google/go-cmp/cmp"
	"helm.sh/helm/v3/pkg/action"
	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/releaseutil"

	"github.com/weir-dev/weir/test/helmrepo"
)

// TestSpecimens packages each chart, and renders it as Helm does.
func TestSpecimens(t *testing.T) {
	cases := map[string]struct {
		reason    string
		files     map[string]string
		most      int // bytes of the package
		least     int
		manifests int
		hooks     int
		crds      int
	}{
		"Hooks":       {reason: "Four hooks and two tests.", files: helmrepo.WithHooks("app", "1.0.0"), manifests: 1, hooks: 6},
		"Definitions": {reason: "A definition and one of its kind.", files: helmrepo.WithDefinitions("app", "1.0.0", "a", "b"), manifests: 1, crds: 1},
		"Family":      {reason: "One of the chart and one of that in it.", files: helmrepo.WithFamily("app", "1.0.0"), manifests: 2},
		"Bulk": {
			reason: "Text compresses.", files: helmrepo.WithBulk("app", "1.0.0", 5_000_000, 0), most: 700_000, least: 10_000, manifests: 6,
		},
		"Noise": {
			reason: "Noise does not.", files: helmrepo.WithBulk("app", "1.0.0", 5_000_000, 2_000_000), most: 2_000_000, least: 1_500_000, manifests: 6,
		},
	}

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			made, err := helmrepo.Load(tc.files)
			if err != nil {
				t.Fatal(err)
			}

			pkg, err := helmrepo.Pack(made)
			if err != nil {
				t.Fatal(err)
			}

			if tc.most > 0 && (len(pkg) > tc.most || len(pkg) < tc.least) {
				t.Errorf("%s\nthe package has %d bytes, want %d to %d", tc.reason, len(pkg), tc.least, tc.most)
			}

			c, err := loader.LoadArchive(bytes.NewReader(pkg))
			if err != nil {
				t.Fatal(err)
			}

			install := action.NewInstall(&action.Configuration{Capabilities: chartutil.DefaultCapabilities})
			install.DryRun, install.ClientOnly, install.Replace, install.ReleaseName, install.Namespace = true, true, true, "app", "default"

			r, err := install.Run(c, nil)
			if err != nil {
				t.Fatal(err)
			}

			got := []int{len(releaseutil.SplitManifests(r.Manifest)), len(r.Hooks), len(c.CRDObjects())}
			if diff := cmp.Diff([]int{tc.manifests, tc.hooks, tc.crds}, got); diff != "" {
				t.Errorf("%s\nmanifests, hooks and definitions: -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}
