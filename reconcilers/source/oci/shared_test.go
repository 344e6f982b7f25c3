package oci_test

import (
	"net/http"
	"strings"
	"sync"
	"testing"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/weir-dev/weir/api/meta"
	sourcev1 "github.com/weir-dev/weir/api/source/v1"
	"github.com/weir-dev/weir/reconcilers/engine"
	server "github.com/weir-dev/weir/test/registry"
)

// TestShared shows that objects of one repository share lookups, downloads and content.
func TestShared(t *testing.T) {
	w := newWorld(t)
	s := serve(t, server.Options{Username: "u", Password: "p", Tokens: true})
	push(t, s, "latest", "a: 1\n")
	push(t, s, "other", "a: 1\n")
	w.pullSecret("pull", s, "u", "p")

	withSecret := func(s *sourcev1.OCIRepositorySpec) { s.SecretRef = &meta.LocalObjectReference{Name: "pull"} }
	all := make([]*sourcev1.OCIRepository, 0, 40)

	for i := range cap(all) {
		all = append(all, object("app-"+string(rune('a'+i%26))+string(rune('a'+i/26)), s, withSecret))
	}

	tagged := object("tagged", s, withSecret, withRef(sourcev1.OCIRepositoryRef{Tag: "other"}))
	stranger := object("stranger", s)
	b := w.bench(t, append(all, tagged, stranger)...)

	var running sync.WaitGroup

	for _, obj := range all {
		running.Go(func() { b.run(t, obj) })
	}

	running.Wait()

	if got := s.Counts(); got.Pings != 1 || got.Tokens != 1 || got.Manifests+got.Heads > 2 || got.Blobs != 1 {
		t.Errorf("requests %+v", got)
	}

	before := s.Counts()

	got := b.run(t, tagged).Object
	if c := s.Counts().Since(before); c.Blobs != 0 || got.Status.Artifact == nil {
		t.Errorf("the same layer under another tag was fetched again: %+v", c)
	}

	expect(t, b.run(t, stranger).Object, meta.ReadyCondition,
		"False OCIArtifactPullFailed: failed to determine artifact digest: ")

	// They are all ready, and their content is stored once.
	seen := map[string]bool{}

	for _, obj := range all {
		check(t, b.api.Get(t.Context(), client.ObjectKeyFromObject(obj), obj))

		if !engine.IsTrue(obj, meta.ReadyCondition) {
			t.Errorf("%s: %+v", obj.Name, obj.Status)
		}

		seen[obj.Status.Artifact.Digest] = true
	}

	if len(seen) != 1 {
		t.Errorf("%d contents", len(seen))
	}
}

// The digest of a layer opens nothing: who serves a manifest that names it has to serve it, too.
func TestLayerDigestOpensNothing(t *testing.T) {
	w := newWorld(t)
	private := serve(t, server.Options{})
	push(t, private, "latest", "secret: 1\n")

	img, err := server.Flux(map[string]string{"app.yaml": "secret: 1\n"}, nil)
	check(t, err)

	public := serve(t, server.Options{Wrap: func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			if strings.Contains(req.URL.Path, "/blobs/") {
				w.WriteHeader(http.StatusNotFound)

				return
			}

			h.ServeHTTP(w, req)
		})
	}})
	pushImage(t, public, "latest", img)

	owner, thief := object("owner", private), object("thief", public)
	b := w.bench(t, owner, thief)
	expect(t, b.run(t, owner).Object, meta.ReadyCondition, "True Succeeded: ")

	got := b.run(t, thief).Object
	expect(t, got, meta.ReadyCondition, "False OCIArtifactPullFailed: failed to pull artifact from '")

	if got.Status.Artifact != nil {
		t.Errorf("the artifact of somebody else was given away: %v", w.files(t, got.Status.Artifact))
	}
}

// What the status says is no reason to touch the artifact of somebody else: people may write statuses.
func TestArtifactOfSomebodyElse(t *testing.T) {
	w := newWorld(t)
	s := serve(t, server.Options{})
	push(t, s, "latest", "a: 1\n")

	owner, thief := object("owner", s), object("thief", s)
	b := w.bench(t, owner, thief)
	artifact := b.run(t, owner).Object.Status.Artifact

	check(t, b.api.Get(t.Context(), client.ObjectKeyFromObject(thief), thief))
	thief.Status.Artifact = artifact.DeepCopy()
	check(t, b.api.Status().Update(t.Context(), thief))

	got := b.run(t, thief).Object
	if !strings.HasPrefix(got.Status.Artifact.Path, "ocirepository/apps/thief/") {
		t.Errorf("artifact %+v", got.Status.Artifact)
	}

	check(t, w.store.Verify(artifact))
}
