package git_test

import (
	"strings"
	"testing"

	"github.com/weir-dev/weir/api/meta"
	sourcev1 "github.com/weir-dev/weir/api/source/v1"
	"github.com/weir-dev/weir/test/gitserver"
)

// TestReference runs every kind of reference against a repository in which they all mean something else.
func TestReference(t *testing.T) {
	w := newWorld(t)
	r, err := w.Create(t.Context(), "app")
	check(t, err)

	hashes := map[string]string{}
	add := func(name, branch string) {
		hashes[name] = commit(t, r, branch, gitserver.Change{Files: map[string]string{"who": name}})
	}
	git := func(args ...string) {
		_, err := r.Git(t.Context(), args...)
		check(t, err)
	}
	tag := func(name, of, message string) { check(t, r.Tag(t.Context(), name, hashes[of], message)) }

	add("old", "main")
	add("light", "main")
	tag("v1.0.0", "light", "")
	add("annotated", "main")
	tag("v1.2.0", "annotated", "Release")
	add("build1", "main")
	tag("v1.1.0+b", "build1", "")
	add("build2", "main")
	tag("v1.1.0+a", "build2", "Younger")
	add("pre", "main")
	tag("v2.0.0-rc.1", "pre", "Candidate")
	tag("nightly", "pre", "")
	add("main", "main")
	git("branch", "feature/x", hashes["old"])
	add("feature", "feature/x")
	git("branch", "master", hashes["old"])
	add("master", "master")
	check(t, r.SetRef(t.Context(), "refs/pull/1/head", hashes["feature"]))

	ref := func(r sourcev1.GitRepositoryRef) *sourcev1.GitRepositoryRef { return &r }

	cases := map[string]struct {
		reason string
		ref    *sourcev1.GitRepositoryRef
		want   string // name in the revision
		commit string
		err    string
	}{
		"None":       {reason: "The default branch is master.", want: "master", commit: "master"},
		"Empty":      {reason: "The default branch is master.", ref: ref(sourcev1.GitRepositoryRef{}), want: "master", commit: "master"},
		"Branch":     {reason: "A branch may have a slash.", ref: ref(sourcev1.GitRepositoryRef{Branch: "feature/x"}), want: "feature/x", commit: "feature"},
		"NoBranch":   {reason: "A branch has to be there.", ref: ref(sourcev1.GitRepositoryRef{Branch: "feature"}), err: `couldn't find remote ref "refs/heads/feature"`},
		"Tag":        {reason: "A tag may be light.", ref: ref(sourcev1.GitRepositoryRef{Tag: "v1.0.0"}), want: "v1.0.0", commit: "light"},
		"Annotated":  {reason: "An annotated tag means its commit.", ref: ref(sourcev1.GitRepositoryRef{Tag: "v1.2.0"}), want: "v1.2.0", commit: "annotated"},
		"NoTag":      {reason: "A tag has to be there.", ref: ref(sourcev1.GitRepositoryRef{Tag: "main"}), err: `couldn't find remote ref "refs/tags/main"`},
		"SemVer":     {reason: "The highest version counts.", ref: ref(sourcev1.GitRepositoryRef{SemVer: ">=1.0.0"}), want: "v1.2.0", commit: "annotated"},
		"SemVerPre":  {reason: "Candidates count if asked for.", ref: ref(sourcev1.GitRepositoryRef{SemVer: ">=1.0.0-0"}), want: "v2.0.0-rc.1", commit: "pre"},
		"SemVerTie":  {reason: "Of equal versions the youngest counts.", ref: ref(sourcev1.GitRepositoryRef{SemVer: "~1.1"}), want: "v1.1.0+a", commit: "build2"},
		"SemVerNone": {reason: "Some tag has to be in the range.", ref: ref(sourcev1.GitRepositoryRef{SemVer: "3.x"}), err: "no match found for semver: 3.x"},
		"SemVerBad":  {reason: "A range has to be one.", ref: ref(sourcev1.GitRepositoryRef{SemVer: "latest"}), err: `semver "latest"`},
		"Name":       {reason: "A full reference may be any.", ref: ref(sourcev1.GitRepositoryRef{Name: "refs/pull/1/head"}), want: "refs/pull/1/head", commit: "feature"},
		"NamePeeled": {reason: "A full reference may be peeled.", ref: ref(sourcev1.GitRepositoryRef{Name: "refs/tags/v1.2.0^{}"}), want: "refs/tags/v1.2.0^{}", commit: "annotated"},
		"NameHead":   {reason: "HEAD is a reference.", ref: ref(sourcev1.GitRepositoryRef{Name: "HEAD"}), want: "HEAD", commit: "main"},
		"Commit":     {reason: "A commit is looked for in the default branch.", ref: ref(sourcev1.GitRepositoryRef{Commit: hashes["old"]}), commit: "old"},
		"CommitTip":  {reason: "A commit may be the tip of another branch.", ref: ref(sourcev1.GitRepositoryRef{Commit: hashes["feature"]}), commit: "feature"},
		"CommitIn":   {reason: "A commit may be on a branch.", ref: ref(sourcev1.GitRepositoryRef{Branch: "main", Commit: hashes["light"]}), want: "main", commit: "light"},
		"CommitNotIn": {
			reason: "A commit has to be on the branch that is named.",
			ref:    ref(sourcev1.GitRepositoryRef{Branch: "master", Commit: hashes["light"]}),
			err:    `is not in branch "master"`,
		},
		"CommitNot": {
			reason: "A commit has to be there.",
			ref:    ref(sourcev1.GitRepositoryRef{Commit: strings.Repeat("1", 40)}), err: "is not in the default branch",
		},
		"CommitBad": {
			reason: "A commit is a whole hash.",
			ref:    ref(sourcev1.GitRepositoryRef{Commit: "abc"}), err: "40 hexadecimal digits",
		},
		"CommitBeforeName": {
			reason: "The first of commit, name, tag, semver and branch counts.",
			ref: ref(sourcev1.GitRepositoryRef{
				Commit: hashes["feature"], Name: "HEAD", Tag: "v1.0.0", SemVer: "1.x",
			}),
			commit: "feature",
		},
		"NameBeforeTag": {
			reason: "The first of commit, name, tag, semver and branch counts.",
			ref:    ref(sourcev1.GitRepositoryRef{Name: "HEAD", Tag: "v1.0.0", SemVer: "1.x", Branch: "master"}),
			want:   "HEAD", commit: "main",
		},
		"TagBeforeSemVer": {
			reason: "The first of commit, name, tag, semver and branch counts.",
			ref:    ref(sourcev1.GitRepositoryRef{Tag: "v1.0.0", SemVer: "1.x", Branch: "master"}),
			want:   "v1.0.0", commit: "light",
		},
		"SemVerBeforeBranch": {
			reason: "The first of commit, name, tag, semver and branch counts.",
			ref:    ref(sourcev1.GitRepositoryRef{SemVer: "1.2.x", Branch: "master"}),
			want:   "v1.2.0", commit: "annotated",
		},
	}

	// A server may give away any commit, and leave out what it is told to; or nothing but tips.
	for _, server := range []string{"Plain", "Generous"} {
		if server == "Generous" {
			check(t, r.Configure(t.Context(), "uploadpack.allowFilter", "true"))
			check(t, r.Configure(t.Context(), "uploadpack.allowReachableSHA1InWant", "true"))
		}

		for name, tc := range cases {
			t.Run(name+server, func(t *testing.T) {
				s := w.serve(t, gitserver.HTTPOptions{})
				obj := object("app", s.URL(r), func(s *sourcev1.GitRepositorySpec) { s.Reference = tc.ref })

				got := w.bench(t, obj).run(t, obj).Object
				if tc.err != "" {
					message := condition(got, meta.FetchFailedCondition)
					if server == "Generous" && name == "CommitNot" {
						tc.err = "the server says" // that it is no commit of its own
					}

					if !strings.Contains(message, tc.err) {
						t.Errorf("%s\ngot:  %s\nwant: %s", tc.reason, message, tc.err)
					}

					return
				}

				revision := "sha1:" + hashes[tc.commit]
				if tc.want != "" {
					revision = tc.want + "@" + revision
				}

				expect(t, got, meta.ReadyCondition, "True Succeeded: stored artifact for revision '"+revision+"'")

				if !got.Status.Artifact.HasRevision(revision) ||
					!strings.HasSuffix(got.Status.Artifact.Path, "/"+hashes[tc.commit]+".tar.gz") {
					t.Errorf("%s\nartifact %+v", tc.reason, got.Status.Artifact)
				}

				if files := w.files(t, got.Status.Artifact); len(files) != 1 || files[0] != "who 600 "+tc.commit {
					t.Errorf("%s\nfiles %q", tc.reason, files)
				}
			})
		}
	}
}
