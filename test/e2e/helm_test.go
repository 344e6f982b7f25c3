package e2e

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	helmv2 "github.com/weir-dev/weir/api/helm/v2"
	sourcev1 "github.com/weir-dev/weir/api/source/v1"
	"github.com/weir-dev/weir/test/cluster"
	"github.com/weir-dev/weir/test/e2e/platform"
	"github.com/weir-dev/weir/test/helmrepo"
	"github.com/weir-dev/weir/test/registry"
)

// hook is a program that fails, and says why.
const hook = `package main

import (
	"fmt"
	"os"
)

func main() {
	for i := range 30 {
		fmt.Println("step", i, "of the migration")
	}

	fmt.Println("the database is locked by somebody else")
	os.Exit(1)
}
`

// TestHookLogs holds that the event of a release that failed has what its hook said last.
func TestHookLogs(t *testing.T) {
	if err := cluster.NodeSupport(); err != nil {
		t.Skipf("no node can run here: %v", err)
	}

	c := cluster.New(t, cluster.Options{Mode: cluster.Node}) // nobody else releases charts there
	s := &stage{cluster: c, client: must(platform.NewClient(c.Config()))(t)}
	s.manager = must(platform.Build(t.Context(), filepath.Join(must(os.UserCacheDir())(t), "weir", "e2e"), "linux", os.Stderr))(t)

	image := pushHook(t, c)
	charts := must(registry.Serve(t.Context(), registry.Options{}))(t)
	t.Cleanup(charts.Close)

	pkg := must(helmrepo.Pack(must(helmrepo.Load(helmrepo.WithHooks("app", "1.0.0")))(t)))(t)
	must(charts.Push(t.Context(), "charts/app", "1.0.0", must(registry.Chart(pkg, nil))(t)))(t)

	definitions := must(platform.Definitions())(t)
	if err := s.client.Apply(deadline(t, patience), definitions...); err != nil {
		t.Fatal(err)
	}

	m := must(platform.NewManager(s.manager, c.Kubeconfig(), t.TempDir(), "--controllers=source-controller,helm-controller"))(t)
	if err := m.Start(); err != nil {
		t.Fatal(err)
	}

	t.Cleanup(func() { _ = m.Stop() }) //nolint:errcheck // what it says is not what is tested

	v := must(platform.NewView(c.Config()))(t)
	t.Cleanup(v.Close)

	if err := v.Track(deadline(t, patience), platform.Core("Event"), sourcev1.GroupVersion.WithKind(sourcev1.OCIRepositoryKind),
		helmv2.GroupVersion.WithKind(helmv2.HelmReleaseKind)); err != nil {
		s.fail(t, "watch", err)
	}

	objects := must(platform.Decode(fmt.Appendf(nil, release, charts.Addr, image)))(t)
	if err := s.client.Apply(deadline(t, patience), objects...); err != nil {
		t.Fatal(err)
	}

	if err := v.Until(deadline(t, patience), func(now platform.Snapshot) error {
		for _, e := range now.List(platform.Core("Event"), "hooks") {
			if platform.Text(e, "reason") != "InstallFailed" {
				continue
			}

			message := platform.Text(e, "message")
			for _, part := range []string{"Last Helm logs:", "step 29 of the migration", "the database is locked by somebody else"} {
				if !strings.Contains(message, part) {
					return platform.Stop(fmt.Errorf("the event does not say %q: %s", part, message))
				}
			}

			return nil
		}

		return errors.New("there is no event of a failed install")
	}); err != nil {
		s.fail(t, "told", err)
	}
}

const release = `apiVersion: v1
kind: Namespace
metadata: {name: hooks}
---
apiVersion: source.toolkit.fluxcd.io/v1
kind: OCIRepository
metadata: {name: app, namespace: hooks}
spec:
  interval: 1h
  url: oci://%s/charts/app
  insecure: true
  ref: {tag: 1.0.0}
  layerSelector: {mediaType: application/vnd.cncf.helm.chart.content.v1.tar+gzip, operation: copy}
---
apiVersion: helm.toolkit.fluxcd.io/v2
kind: HelmRelease
metadata: {name: app, namespace: hooks}
spec:
  interval: 1h
  timeout: 2m
  chartRef: {kind: OCIRepository, name: app}
  values: {image: %s}
`

// pushHook makes an image of the hook and returns its name.
func pushHook(t *testing.T, c *cluster.Cluster) string {
	t.Helper()

	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "main.go"), []byte(hook), 0o600); err != nil {
		t.Fatal(err)
	}

	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()

	program := filepath.Join(dir, "hook")
	cmd := exec.CommandContext(ctx, "go", "build", "-o", program, filepath.Join(dir, "main.go")) //nolint:gosec // ours
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")

	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}

	img := must(cluster.Image(map[string]string{"/hook": program}, "/hook"))(t)
	must(c.Push(ctx, img, "weir/hook:v1"))(t)

	return c.Registry() + "/weir/hook:v1"
}
