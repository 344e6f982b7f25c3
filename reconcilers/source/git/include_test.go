package git_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/weir-dev/weir/api/meta"
	sourcev1 "github.com/weir-dev/weir/api/source/v1"
	"github.com/weir-dev/weir/reconcilers/source/git"
	"github.com/weir-dev/weir/test/gitserver"
)

// withInclude includes parts of other objects, each given as "name from to".
func withInclude(parts ...string) func(*sourcev1.GitRepositorySpec) {
	return func(s *sourcev1.GitRepositorySpec) {
		s.Include = nil

		for _, p := range parts {
			f := append(strings.Split(p, " "), "", "")
			s.Include = append(s.Include, sourcev1.GitRepositoryInclude{
				GitRepositoryRef: meta.LocalObjectReference{Name: f[0]}, FromPath: f[1], ToPath: f[2],
			})
		}
	}
}

func TestInclude(t *testing.T) {
	files := map[string]string{"a.yaml": "a", "deploy/prod/x.yaml": "x", "deploy/.sourceignore": "*.md\n", "deploy/y.md": "y"}

	cases := map[string]struct {
		reason  string
		include []string
		change  func(*sourcev1.GitRepositorySpec)
		want    []string
		typ     string // of the condition that fails
		err     string
	}{
		"Default": {
			reason: "All goes into a directory with the name of the other.", include: []string{"other"},
			want: []string{
				"app.yaml 600 a: 1\n", "other/", "other/a.yaml 600 a", "other/app.yaml 600 a: 1\n", "other/deploy/",
				"other/deploy/.sourceignore 600 *.md\n", "other/deploy/prod/", "other/deploy/prod/x.yaml 600 x", "other/run 700 #!",
			},
		},
		"Paths": {
			reason: "A part goes where it is said.", include: []string{"other deploy/prod/ ./env/prod"},
			want: []string{"app.yaml 600 a: 1\n", "env/", "env/prod/", "env/prod/x.yaml 600 x"},
		},
		"Absolute": {
			reason: "The root is that of the artifact.", include: []string{"other /deploy/prod /env"},
			want: []string{"app.yaml 600 a: 1\n", "env/", "env/x.yaml 600 x"},
		},
		"File": {
			reason: "A part may be a file.", include: []string{"other run bin/run"},
			want: []string{"app.yaml 600 a: 1\n", "bin/", "bin/run 700 #!"},
		},
		"Root": {
			reason: "It may lie beside the own files.", include: []string{"other deploy ."},
			want: []string{".sourceignore 600 *.md\n", "app.yaml 600 a: 1\n", "prod/", "prod/x.yaml 600 x"},
		},
		"Several": {
			reason: "Directories are merged.", include: []string{"other deploy/prod env", "other run env/bin/run"},
			want: []string{"app.yaml 600 a: 1\n", "env/", "env/bin/", "env/bin/run 700 #!", "env/x.yaml 600 x"},
		},
		"Ignore": {
			reason: "The ignore rules hold for all.", include: []string{"other"},
			change: func(s *sourcev1.GitRepositorySpec) { s.Ignore = new("/other/deploy\na.yaml\n/app.yaml\n") },
			want:   []string{"other/", "other/app.yaml 600 a: 1\n", "other/run 700 #!"},
		},
		"AllowList": {
			reason: "All can be left out but some.", include: []string{"other"},
			change: func(s *sourcev1.GitRepositorySpec) { s.Ignore = new("/*\n!/other\n/other/*\n!/other/deploy\n") },
			want: []string{
				"other/", "other/deploy/", "other/deploy/.sourceignore 600 *.md\n", "other/deploy/prod/", "other/deploy/prod/x.yaml 600 x",
			},
		},
		"OwnTree": {
			reason: "A directory of its own is its own.", include: []string{"other"},
			change: func(s *sourcev1.GitRepositorySpec) { s.SparseCheckout = []string{"./"} },
			want: []string{
				"app.yaml 600 a: 1\n", "other/", "other/a.yaml 600 a", "other/app.yaml 600 a: 1\n", "other/deploy/",
				"other/deploy/.sourceignore 600 *.md\n", "other/deploy/prod/", "other/deploy/prod/x.yaml 600 x", "other/run 700 #!",
			},
		},
		"Out": {
			reason: "Nothing goes out of the artifact.", include: []string{"other deploy ../../etc"},
			typ: meta.StorageOperationFailedCondition,
			err: `True IllegalPath: path calculation for include 'other' failed: toPath "../../etc": it leads out of the tree`,
		},
		"OutOfOther": {
			reason: "Nothing comes from outside of the other artifact.", include: []string{"other x/../../etc env"},
			typ: meta.StorageOperationFailedCondition,
			err: `True IllegalPath: path calculation for include 'other' failed: fromPath "x/../../etc": it leads out of the tree`,
		},
		"Nothing": {
			reason: "What is included has to be there.", include: []string{"other nowhere env"},
			typ: meta.StorageOperationFailedCondition, err: "True CopyFailure: failed to copy 'other' include from nowhere to env: ",
		},
		"Clash": {
			reason: "No file takes the place of another.", include: []string{"other app.yaml ./app.yaml"},
			typ: meta.StorageOperationFailedCondition,
			err: `True CopyFailure: failed to copy 'other' include from app.yaml to app.yaml: "app.yaml" is there already`,
		},
		"FileAsDirectory": {
			reason: "A file is no directory.", include: []string{"other deploy app.yaml/x"},
			typ: meta.StorageOperationFailedCondition,
			err: `True CopyFailure: failed to copy 'other' include from deploy to app.yaml/x: "app.yaml" is a file already`,
		},
		"NotFound": {
			reason: "The other has to be there.", include: []string{"other", "gone"},
			typ: meta.IncludeUnavailableCondition, err: "True NotFound: could not get resource for include 'gone': ",
		},
		"NoArtifact": {
			reason: "The other has to have an artifact.", include: []string{"empty"},
			typ: meta.IncludeUnavailableCondition, err: "True NoArtifact: no artifact available for include 'empty'",
		},
		"Itself": {
			reason: "Nothing can be a part of itself.", include: []string{"app"},
			typ: meta.IncludeUnavailableCondition, err: "True NoArtifact: no artifact available for include 'app'",
		},
	}

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			s := w.serve(t, gitserver.HTTPOptions{})
			r := w.repository(t, "other")
			commit(t, r, "main", gitserver.Change{Files: files, Executables: map[string]string{"run": "#!"}})

			other, empty := object("other", s.URL(r)), object("empty", s.URL(r))
			obj := object("app", s.URL(w.repository(t, "app")), withInclude(tc.include...))
			if tc.change != nil {
				tc.change(&obj.Spec)
			}

			b := w.bench(t, other, empty, obj)
			included := b.run(t, other).Object.Status.Artifact
			got := b.run(t, obj)

			if tc.err != "" {
				expect(t, got.Object, tc.typ, tc.err)
				expect(t, got.Object, meta.ReadyCondition, strings.Replace(tc.err, "True", "False", 1))

				_, message, _ := strings.Cut(tc.err, ": ")
				expect(t, got.Object, meta.ReconcilingCondition, "True ProgressingWithRetry: "+message)

				if waits := tc.typ == meta.IncludeUnavailableCondition; waits && got.Result.RequeueAfter != 30*time.Second || got.Object.Status.Artifact != nil {
					t.Errorf("%s\nresult %+v, artifact %+v", tc.reason, got.Result, got.Object.Status.Artifact)
				}

				return
			}

			expect(t, got.Object, meta.ReadyCondition, "True Succeeded: stored artifact for revision 'main@sha1:")

			if diff := cmp.Diff(tc.want, w.files(t, got.Object.Status.Artifact)); diff != "" {
				t.Errorf("%s\n-want +got:\n%s", tc.reason, diff)
			}

			if diff := cmp.Diff(included, got.Object.Status.IncludedArtifacts[0]); diff != "" {
				t.Errorf("%s\n-want +got:\n%s", tc.reason, diff)
			}

			if diff := cmp.Diff(obj.Spec.Include, got.Object.Status.ObservedInclude); diff != "" {
				t.Errorf("%s\n-want +got:\n%s", tc.reason, diff)
			}
		})
	}
}

// TestIncludeChange follows what changes in an object that is included.
func TestIncludeChange(t *testing.T) {
	w := newWorld(t)
	s := w.serve(t, gitserver.HTTPOptions{})
	r := w.repository(t, "other")
	other, obj := object("other", s.URL(r)), object("app", s.URL(w.repository(t, "app")), withInclude("other"))
	b := w.bench(t, other, obj)
	b.run(t, other)
	first := b.run(t, obj).Object

	w.clock.Advance(time.Minute)

	if again := b.run(t, obj); len(again.Patches)+len(again.Events) > 0 {
		t.Errorf("nothing changed: %d patches, events %q", len(again.Patches), reasons(again.Events))
	}

	commit(t, r, "main", gitserver.Change{Files: map[string]string{"new.yaml": "new"}})
	b.run(t, other)
	w.clock.Advance(time.Minute)

	got := b.run(t, obj)
	if st := got.Object.Status; st.Artifact.Revision != first.Status.Artifact.Revision || st.Artifact.Digest == first.Status.Artifact.Digest {
		t.Errorf("artifact %+v, before %+v", st.Artifact, first.Status.Artifact)
	}

	want := []string{"NewArtifact: stored artifact for commit 'Change the files'"}
	if diff := cmp.Diff(want, reasons(got.Events)); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}

	// While it cannot be made, the old one stays, and the conditions say why there is to be another.
	commit(t, r, "main", gitserver.Change{Files: map[string]string{"app.yaml/x": "now a directory"}, Remove: []string{"app.yaml"}})
	b.update(t, obj, withInclude("other app.yaml ./app.yaml"))
	b.run(t, other)
	w.clock.Advance(time.Minute)

	failed := b.run(t, obj).Object
	expect(t, failed, meta.ArtifactOutdatedCondition, "True IncludeChange: included artifacts differ from last observed includes")
	expect(t, failed, meta.StorageOperationFailedCondition, "True CopyFailure: ")

	if diff := cmp.Diff(got.Object.Status.Artifact, failed.Status.Artifact); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}

	b.update(t, obj, func(s *sourcev1.GitRepositorySpec) { s.Include = nil })

	alone := b.run(t, obj).Object
	if diff := cmp.Diff([]string{"app.yaml 600 a: 1\n"}, w.files(t, alone.Status.Artifact)); diff != "" || len(alone.Status.IncludedArtifacts) > 0 {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// Two that include each other would make new artifacts for ever.
func TestIncludeRound(t *testing.T) {
	w := newWorld(t)
	s := w.serve(t, gitserver.HTTPOptions{})
	url := s.URL(w.repository(t, "app"))
	a, b, c := object("a", url), object("b", url, withInclude("a")), object("c", url, withInclude("b"))
	cluster := w.bench(t, a, b, c)

	for _, obj := range []*sourcev1.GitRepository{a, b, c} {
		expect(t, cluster.run(t, obj).Object, meta.ReadyCondition, "True ")
	}

	cluster.update(t, a, withInclude("c"))

	for obj, want := range map[*sourcev1.GitRepository]string{a: "include 'c' includes 'a' in turn", b: "include 'a' includes 'b' in turn"} {
		got := cluster.run(t, obj).Object
		expect(t, got, meta.IncludeUnavailableCondition, "True NoArtifact: "+want)
	}
}

// What a status says of an artifact counts only if it is one of that object.
func TestIncludeOfSomebodyElse(t *testing.T) {
	cases := map[string]func(a, of *meta.Artifact){
		"Path":   func(a, of *meta.Artifact) { *a = *of },
		"Digest": func(a, of *meta.Artifact) { a.Digest = of.Digest },
	}

	for name, forge := range cases {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			s := w.serve(t, gitserver.HTTPOptions{})
			secret := w.repository(t, "secret")
			commit(t, secret, "main", gitserver.Change{Files: map[string]string{"secret": "x"}})

			owner, forged := object("owner", s.URL(secret)), object("forged", s.URL(w.repository(t, "b")))
			thief := object("thief", s.URL(w.repository(t, "c")), withInclude("forged"))
			b := w.bench(t, owner, forged, thief)
			of := b.run(t, owner).Object.Status.Artifact
			b.run(t, forged)

			current := &sourcev1.GitRepository{}
			check(t, b.api.Get(t.Context(), client.ObjectKeyFromObject(forged), current))
			forge(current.Status.Artifact, of)
			check(t, b.api.Status().Update(t.Context(), current))

			got := b.run(t, thief).Object
			expect(t, got, meta.IncludeUnavailableCondition, "True NoArtifact: ")
		})
	}
}

func TestIncludeKeys(t *testing.T) {
	var got []string
	for _, key := range git.IncludeKeys(object("app", "", withInclude("a", "b x y"))) {
		got = append(got, key.String())
	}

	if diff := cmp.Diff([]string{"apps/a", "apps/b"}, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}
