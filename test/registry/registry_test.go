package registry_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/weir-dev/weir/test/registry"
)

func check(t *testing.T, err error) {
	t.Helper()

	if err != nil {
		t.Fatal(err)
	}
}

// What is pushed looks like what the flux CLI and Helm push.
func TestArtifacts(t *testing.T) {
	s, err := registry.Serve(t.Context(), registry.Options{})
	check(t, err)
	t.Cleanup(s.Close)

	flux, err := registry.Flux(map[string]string{"app.yaml": "a: 1\n"}, map[string]string{"who": "me"})
	check(t, err)

	chart, err := registry.Chart([]byte("chart"), nil)
	check(t, err)

	cases := map[string]struct {
		img           v1.Image
		config, layer types.MediaType
		annotations   map[string]string
	}{
		"flux":  {flux, registry.FluxConfig, registry.FluxContent, map[string]string{"who": "me"}},
		"chart": {chart, registry.HelmConfig, registry.HelmContent, nil},
	}

	for tag, tc := range cases {
		t.Run(tag, func(t *testing.T) {
			_, err := s.Push(t.Context(), "org/app", tag, tc.img)
			check(t, err)

			ref, err := name.ParseReference(s.Reference("org/app", tag))
			check(t, err)

			got, err := remote.Image(ref, remote.WithContext(t.Context()))
			check(t, err)

			m, err := got.Manifest()
			check(t, err)

			if m.Config.MediaType != tc.config || len(m.Layers) != 1 || m.Layers[0].MediaType != tc.layer {
				t.Errorf("manifest %+v", m)
			}

			if diff := cmp.Diff(tc.annotations, m.Annotations); diff != "" {
				t.Errorf("annotations: -want +got:\n%s", diff)
			}
		})
	}
}

func TestTagsComeInPages(t *testing.T) {
	s, err := registry.Serve(t.Context(), registry.Options{})
	check(t, err)
	t.Cleanup(s.Close)

	img, err := registry.Flux(map[string]string{"app.yaml": ""}, nil)
	check(t, err)

	want := []string{"a", "b", "c", "d"}
	for _, tag := range want {
		_, err := s.Push(t.Context(), "org/app", tag, img)
		check(t, err)
	}

	repo, err := name.NewRepository(s.Addr + "/org/app")
	check(t, err)

	got, err := remote.List(repo, remote.WithContext(t.Context()), remote.WithPageSize(2))
	check(t, err)

	if diff := cmp.Diff(want, got); diff != "" || s.Counts().Tags != 2 {
		t.Errorf("%d pages, -want +got:\n%s", s.Counts().Tags, diff)
	}
}
