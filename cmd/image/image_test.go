package main

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/validate"
)

// TestRun pushes a multi-platform image to a registry and reads back what a container runtime would.
func TestRun(t *testing.T) {
	server := httptest.NewServer(registry.New())
	t.Cleanup(server.Close)
	repository := strings.TrimPrefix(server.URL, "http://") + "/weir-dev/weir"
	dir := t.TempDir()
	args := []string{
		"--repository", repository, "--tag", "v0.1.0", "--version", "v0.1.0", "--revision", "abc",
		"--binary", "linux/amd64=" + program(t, dir, "amd64"), "--binary", "linux/arm64=" + program(t, dir, "arm64"),
		"--layout", filepath.Join(dir, "layout"), "--tarball", filepath.Join(dir, "weir.tar"),
		"--install", filepath.Join(dir, "install.yaml"),
	}
	var stdout bytes.Buffer
	if err := run(t.Context(), args, &stdout, io.Discard); err != nil {
		t.Fatal(err)
	}

	printed := strings.TrimSpace(stdout.String())
	tagged, err := remote.Index(mustTag(t, repository+":v0.1.0"))
	if err != nil {
		t.Fatal(err)
	}
	if err := validate.Index(tagged); err != nil {
		t.Errorf("pushed index: %v", err)
	}
	digest, err := tagged.Digest()
	if err != nil {
		t.Fatal(err)
	}
	if want := repository + ":v0.1.0@" + digest.String(); printed != want {
		t.Errorf("printed %q, want %q", printed, want)
	}
	for _, arch := range []string{"amd64", "arm64"} {
		img, err := remote.Image(mustTag(t, repository+":v0.1.0"), remote.WithPlatform(v1.Platform{OS: "linux", Architecture: arch}))
		if err != nil {
			t.Fatal(err)
		}
		checkImage(t, img, arch)
	}
	checkLayout(t, filepath.Join(dir, "layout"), digest)
	checkTarball(t, filepath.Join(dir, "weir.tar"), digest)

	install, err := os.ReadFile(filepath.Join(dir, "install.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"image: " + printed + "\n", "- --image=" + printed + "\n"} {
		if !strings.Contains(string(install), want) {
			t.Errorf("the install manifest lacks %q", want)
		}
	}
}

// TestReproducible shows that the digest depends on nothing but the program and what the image says of itself.
func TestReproducible(t *testing.T) {
	digest := func(dir string, about metadata) string {
		idx, err := index([]binary{{Platform: v1.Platform{OS: "linux", Architecture: "amd64"}, Path: program(t, dir, "amd64")}}, about)
		if err != nil {
			t.Fatal(err)
		}
		d, err := idx.Digest()
		if err != nil {
			t.Fatal(err)
		}
		return d.String()
	}
	first := digest(t.TempDir(), metadata{Version: "v1"})
	if second := digest(t.TempDir(), metadata{Version: "v1"}); second != first {
		t.Errorf("the same program gives %s and %s", first, second)
	}
	if other := digest(t.TempDir(), metadata{Version: "v2"}); other == first {
		t.Error("another version has the same digest")
	}
}

// TestCompile builds a real program for both platforms. It is a small one: that the flags make any program static and
// reproducible does not depend on its size.
func TestCompile(t *testing.T) {
	src := t.TempDir()
	write(t, filepath.Join(src, "go.mod"), "module example.com/hello\n\ngo 1.26\n")
	write(t, filepath.Join(src, "main.go"), "package main\n\nvar version string\n\nfunc main() { println(version) }\n")
	t.Chdir(src)
	var sums []string
	for range 2 {
		built, err := compile(t.Context(), ".", "v1", t.TempDir(), v1.Platform{OS: "linux", Architecture: runtime.GOARCH})
		if err != nil {
			t.Fatal(err)
		}
		content, err := os.ReadFile(built.Path)
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(content, []byte(src)) {
			t.Error("the program holds the path it was built in")
		}
		sums = append(sums, string(content))
	}
	if sums[0] != sums[1] {
		t.Error("two builds of the same source differ")
	}
	if _, err := compile(t.Context(), "./missing", "", t.TempDir(), v1.Platform{OS: "linux", Architecture: "arm64"}); err == nil ||
		!strings.HasPrefix(err.Error(), `build "./missing" for linux/arm64: `) {
		t.Errorf("error of a missing package: %v", err)
	}
}

func TestRunErrors(t *testing.T) {
	tests := map[string]struct {
		reason string
		args   []string
		want   string
	}{
		"NoRepository": {
			reason: "There is no repository that everybody may push to.",
			want:   "--repository is required",
		},
		"Argument": {
			reason: "A flag whose dashes were forgotten is not ignored.",
			args:   []string{"--repository=localhost:1/weir", "tag=v1"},
			want:   `unexpected argument "tag=v1"`,
		},
		"BinaryOfNoPlatform": {
			reason: "A program for a platform that is not built would be left out in silence.",
			args:   []string{"--repository=localhost:1/weir", "--platforms=linux/amd64", "--binary=linux/amd64=/dev/null", "--binary=linux/s390x=/dev/null"},
			want:   `binary for "linux/s390x", which is not among the platforms ["linux/amd64"]`,
		},
		"NoProgram": {
			reason: "The image is not pushed without its program.",
			args:   []string{"--repository=localhost:1/weir", "--platforms=linux/amd64", "--binary=linux/amd64=/does/not/exist"},
			want:   "image for linux/amd64: open /does/not/exist: no such file or directory",
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			err := run(context.Background(), tc.args, io.Discard, io.Discard)
			if diff := cmp.Diff(tc.want, fmt.Sprint(err)); diff != "" {
				t.Errorf("%s\n(-want +got):\n%s", tc.reason, diff)
			}
		})
	}
}

func checkImage(t *testing.T, img v1.Image, arch string) {
	t.Helper()
	config, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"linux", arch, "65532:65532", "/manager"},
		[]string{config.OS, config.Architecture, config.Config.User, strings.Join(config.Config.Entrypoint, " ")}); diff != "" {
		t.Errorf("config (-want +got):\n%s", diff)
	}
	got := map[string]string{}
	flat := mutate.Extract(img)
	defer func() { _ = flat.Close() }()
	for r := tar.NewReader(flat); ; {
		header, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		got[header.Name] = fmt.Sprintf("%o %s", header.Mode, content)
	}
	want := map[string]string{
		"data":       "755 ",
		"etc":        "755 ",
		"etc/group":  "644 root:x:0:\nweir:x:65532:\n",
		"etc/passwd": "644 root:x:0:0:root:/root:/sbin/nologin\nweir:x:65532:65532:weir:/tmp:/sbin/nologin\n",
		"manager":    "755 program for " + arch,
		"tmp":        "1777 ",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
}

func checkLayout(t *testing.T, dir string, want v1.Hash) {
	t.Helper()
	idx, err := layout.ImageIndexFromPath(dir)
	if err != nil {
		t.Fatal(err)
	}
	manifest, err := idx.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	if len(manifest.Manifests) != 1 || manifest.Manifests[0].Digest != want {
		t.Errorf("the layout holds %+v, want only %s", manifest.Manifests, want)
	}
	if err := validate.Index(idx); err != nil {
		t.Errorf("layout: %v", err)
	}
}

func checkTarball(t *testing.T, file string, want v1.Hash) {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	names := map[string]bool{}
	for r := tar.NewReader(f); ; {
		header, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		names[header.Name] = true
	}
	for _, name := range []string{"oci-layout", "index.json", "blobs/sha256/" + want.Hex} {
		if !names[name] {
			t.Errorf("the tarball lacks %q", name)
		}
	}
}

func program(t *testing.T, dir, arch string) string {
	t.Helper()
	path := filepath.Join(dir, "manager-"+arch)
	write(t, path, "program for "+arch)
	return path
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

func mustTag(t *testing.T, reference string) name.Tag {
	t.Helper()
	tag, err := name.NewTag(reference)
	if err != nil {
		t.Fatal(err)
	}
	return tag
}
