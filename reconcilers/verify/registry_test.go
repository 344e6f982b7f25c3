package verify_test

import (
	"context"
	"io"
	"log"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/weir-dev/weir/test/signing"
)

// host runs a registry, which has the API for referrers or has not.
func host(t *testing.T, referrers bool) string {
	t.Helper()

	s := httptest.NewServer(registry.New(
		registry.WithReferrersSupport(referrers), registry.Logger(log.New(io.Discard, "", 0))))
	t.Cleanup(s.Close)

	return strings.TrimPrefix(s.URL, "http://")
}

// push puts an image into a repository. What it is made of decides its digest.
func push(t *testing.T, host, repository, content string) name.Digest {
	t.Helper()

	img, err := mutate.AppendLayers(empty.Image, static.NewLayer([]byte(content), types.OCILayer))
	if err != nil {
		t.Fatal(err)
	}

	d, err := img.Digest()
	if err != nil {
		t.Fatal(err)
	}

	ref := parse(t, host+"/"+repository+"@"+d.String())
	write(t, ref.Context().Tag("latest"), img)

	return ref
}

func parse(t *testing.T, ref string) name.Digest {
	t.Helper()

	d, err := name.NewDigest(ref)
	if err != nil {
		t.Fatal(err)
	}

	return d
}

func write(t *testing.T, ref name.Reference, img v1.Image) {
	t.Helper()

	if err := remote.Write(ref, img, remote.WithContext(t.Context())); err != nil {
		t.Fatal(err)
	}
}

// signatureTag is where cosign puts signatures.
func signatureTag(d name.Digest) name.Tag {
	return d.Context().Tag(strings.Replace(d.DigestStr(), ":", "-", 1) + ".sig")
}

func image(t *testing.T, ref name.Reference) v1.Image {
	t.Helper()

	img, err := remote.Image(ref, remote.WithContext(t.Context()))
	if err != nil {
		t.Fatal(err)
	}

	return img
}

// referrer returns the manifest that refers to an image, of which there is one.
func referrer(t *testing.T, d name.Digest) v1.Image {
	t.Helper()

	index, err := remote.Referrers(d, remote.WithContext(t.Context()))
	if err != nil {
		t.Fatal(err)
	}

	m, err := index.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}

	if len(m.Manifests) != 1 {
		t.Fatalf("%d referrers of %s", len(m.Manifests), d)
	}

	return image(t, d.Context().Digest(m.Manifests[0].Digest.String()))
}

// refer makes a manifest refer to another image and pushes it.
func refer(t *testing.T, img v1.Image, d name.Digest) {
	t.Helper()

	desc, err := remote.Head(d, remote.WithContext(t.Context()))
	if err != nil {
		t.Fatal(err)
	}

	img, ok := mutate.Subject(img, *desc).(v1.Image)
	if !ok {
		t.Fatal("no image")
	}

	sum, err := img.Digest()
	if err != nil {
		t.Fatal(err)
	}

	write(t, d.Context().Digest(sum.String()), img)
}

// rewrite returns a manifest with other layers, which may have other notes too.
func rewrite(t *testing.T, img v1.Image, change func(content string, notes map[string]string) string) v1.Image {
	t.Helper()

	m, err := img.Manifest()
	if err != nil {
		t.Fatal(err)
	}

	out := mutate.ConfigMediaType(mutate.MediaType(empty.Image, m.MediaType), m.Config.MediaType)

	for _, d := range m.Layers {
		l, err := img.LayerByDigest(d.Digest)
		if err != nil {
			t.Fatal(err)
		}

		rc, err := l.Compressed()
		if err != nil {
			t.Fatal(err)
		}

		b, err := io.ReadAll(rc)
		if err != nil {
			t.Fatal(err)
		}

		content := change(string(b), d.Annotations)

		out, err = mutate.Append(out, mutate.Addendum{
			Layer: static.NewLayer([]byte(content), d.MediaType), Annotations: d.Annotations, MediaType: d.MediaType,
		})
		if err != nil {
			t.Fatal(err)
		}
	}

	return out
}

// tools are the programs that sign, and keys that are slow to make.
type tools struct {
	cosign      *signing.Cosign
	alice, eve  *signing.Key
	rsa, ed, ec *signing.Key
}

// shared makes the tools once for all tests, in a folder that goes after the last one.
var shared = sync.OnceValues(func() (ts *tools, err error) {
	if folder, err = os.MkdirTemp("", "weir-verify-"); err != nil {
		return nil, err
	}

	return newTools(context.Background(), folder)
})

var folder string

func TestMain(m *testing.M) {
	code := m.Run()

	if folder != "" {
		_ = os.RemoveAll(folder)
	}

	os.Exit(code)
}

func open(t *testing.T) *tools {
	t.Helper()

	ts, err := shared()
	if err != nil {
		t.Fatal(err)
	}

	return ts
}
