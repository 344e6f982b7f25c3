package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	fluxv1 "github.com/weir-dev/weir/api/controlplane/v1"
	"github.com/weir-dev/weir/config/crd"
	manifests "github.com/weir-dev/weir/config/distribution"
	"github.com/weir-dev/weir/reconcilers/distribution"
	"github.com/weir-dev/weir/reconcilers/ingest"
	registries "github.com/weir-dev/weir/reconcilers/registry"
	"github.com/weir-dev/weir/reconcilers/release"
	"github.com/weir-dev/weir/reconcilers/secrets"
)

// publisher runs the command against a registry of its own.
type publisher struct {
	t    *testing.T
	addr string
	dir  string
	args []string // of every run
}

func newPublisher(t *testing.T) *publisher {
	t.Helper()
	server := httptest.NewServer(registry.New())
	t.Cleanup(server.Close)
	p := &publisher{t: t, addr: strings.TrimPrefix(server.URL, "http://"), dir: t.TempDir()}
	p.args = []string{
		"--repository", p.addr + "/weir", "--platforms=linux/amd64", "--binary", "linux/amd64=" + program(t, p.dir, "amd64"),
		"--created=2026-01-02T15:04:05Z",
	}
	return p
}

// run returns the references of the image and of the artifact.
func (p *publisher) run(args ...string) (image, artifact string) {
	p.t.Helper()
	var stdout bytes.Buffer
	if err := run(p.t.Context(), append(p.args, args...), &stdout, io.Discard); err != nil {
		p.t.Fatal(err)
	}
	lines := strings.Fields(stdout.String())
	if len(lines) != 2 {
		p.t.Fatalf("printed %q", lines)
	}
	return lines[0], lines[1]
}

// fetch reads an artifact as the operator does, which carries the embedded distribution.
func (p *publisher) fetch(url, version string, embedded *distribution.Distribution) (*fluxv1.FluxInstance, *release.Release, error) {
	p.t.Helper()
	i := &fluxv1.FluxInstance{}
	i.Name, i.Namespace = fluxv1.InstanceName, "flux-system"
	i.Spec.Distribution = fluxv1.Distribution{Version: version, Registry: p.addr, Artifact: url}
	r, err := release.New(release.Options{
		Registries: registries.New(registries.Options{Transports: &ingest.Transports{}, Moment: 1}),
		Secrets: secrets.ReaderFunc(func(context.Context, string, string) (*corev1.Secret, error) {
			return nil, fmt.Errorf("nobody needs a secret")
		}),
		Embedded: embedded, Image: distribution.Image{Repository: p.addr + "/other", Tag: "v0"},
	}).Fetch(p.t.Context(), i)
	return i, r, err
}

// TestDistribution publishes what the operator carries: an instance that follows the artifact is the same as one that does not.
func TestDistribution(t *testing.T) {
	p := newPublisher(t)
	image, artifact := p.run("--tag=v0.1.0", "--distribution=oci://"+p.addr+"/manifests:latest", "--distribution-layout="+filepath.Join(p.dir, "layout"))
	embedded, err := distribution.Load(manifests.FS(), crd.FS())
	if err != nil {
		t.Fatal(err)
	}
	instance, fetched, err := p.fetch("oci://"+p.addr+"/manifests:latest", "2.x", embedded)
	if err != nil {
		t.Fatal(err)
	}
	want := &fluxv1.DistributionArtifact{
		URL: "oci://" + p.addr + "/manifests:latest", Digest: artifact[strings.Index(artifact, "@")+1:], Version: embedded.Version(),
		Created: &metav1.Time{Time: time.Date(2026, 1, 2, 15, 4, 5, 0, time.UTC)},
	}
	if diff := cmp.Diff(want, fetched.Artifact); diff != "" {
		t.Errorf("artifact -want +got:\n%s", diff)
	}
	own, err := distribution.ParseImage(image)
	if err != nil {
		t.Fatal(err)
	}
	got, err := fetched.Build(instance, distribution.Options{Image: distribution.Image{Repository: p.addr + "/other", Tag: "v0"}})
	if err != nil {
		t.Fatal(err)
	}
	instance.Spec.Distribution.Artifact = ""
	carried, err := embedded.Build(instance, distribution.Options{Image: own})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(carried, got); diff != "" {
		t.Errorf("-carried +published:\n%.4000s", diff)
	}
	checkArtifactLayout(t, filepath.Join(p.dir, "layout"), want.Digest)
}

func checkArtifactLayout(t *testing.T, dir, digest string) {
	t.Helper()
	idx, err := layout.ImageIndexFromPath(dir)
	if err != nil {
		t.Fatal(err)
	}
	manifest, err := idx.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	if len(manifest.Manifests) != 1 || manifest.Manifests[0].Digest.String() != digest {
		t.Errorf("the layout holds %+v, want %s", manifest.Manifests, digest)
	}
}

// TestDistributionVersions adds a version to those that were published: each keeps its own image.
func TestDistributionVersions(t *testing.T) {
	p := newPublisher(t)
	latest := "oci://" + p.addr + "/manifests:latest"
	old, first := p.run("--tag=v1", "--version=v1", "--distribution="+latest)
	current, second := p.run("--tag=v2", "--version=v2", "--distribution="+latest, "--extend="+first, "--flux-version=v2.9.6")
	if _, again := p.run("--tag=v2", "--version=v2", "--distribution="+latest, "--extend="+first, "--flux-version=v2.9.6"); again != second {
		t.Errorf("the same sources give %s and %s", second, again)
	}
	embedded, err := distribution.Load(manifests.FS(), crd.FS())
	if err != nil {
		t.Fatal(err)
	}
	for version, want := range map[string]string{"2.9.5": old, "2.9.6": current, "2.x": current} {
		instance, fetched, err := p.fetch(latest, version, embedded)
		if err != nil {
			t.Fatal(err)
		}
		set, err := fetched.Build(instance, distribution.Options{Image: distribution.Image{Repository: "other"}})
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]string{want}, distribution.ImagesOf(set.Objects)); diff != "" {
			t.Errorf("images of %s -want +got:\n%s", version, diff)
		}
		if fetched.Artifact.Version != "v2.9.6" {
			t.Errorf("the artifact of both has the version %s", fetched.Artifact.Version)
		}
	}
}

func TestDistributionErrors(t *testing.T) {
	p := newPublisher(t)
	image, err := name.ParseReference(p.addr + "/weir:dev")
	if err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		reason string
		args   []string
		want   string
	}{
		"NoTime":    {"An artifact without a time cannot be told from an older one.", []string{"--created=", "--distribution=oci://" + p.addr + "/m:v1"}, `--created: parsing time ""`},
		"NoName":    {"It has to be pushed somewhere.", []string{"--distribution=oci://A b"}, "distribution: --distribution: repository can only contain"},
		"NoVersion": {"Folders are named by exact versions.", []string{"--distribution=oci://" + p.addr + "/m:v1", "--flux-version=2.9"}, `distribution: version "2.9" of the distribution is not like v2.9.5`},
		"Missing":   {"Versions that were published must not get lost in silence.", []string{"--distribution=oci://" + p.addr + "/m:v1", "--extend=oci://" + p.addr + "/m:v0"}, `distribution: versions of "oci://` + p.addr + `/m:v0": `},
	} {
		t.Run(name, func(t *testing.T) {
			err := run(t.Context(), append(p.args, tc.args...), io.Discard, io.Discard)
			if !strings.HasPrefix(fmt.Sprint(err), tc.want) {
				t.Errorf("%s\ngot %v, want %s", tc.reason, err, tc.want)
			}
		})
	}
	if _, err := remote.Head(image.Context().Registry.Repo("m").Tag("v1")); err == nil {
		t.Error("an artifact was pushed all the same")
	}
}
