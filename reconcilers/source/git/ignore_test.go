package git_test

import (
	"maps"
	"testing"

	"github.com/google/go-cmp/cmp"

	sourcev1 "github.com/weir-dev/weir/api/source/v1"
	"github.com/weir-dev/weir/test/gitserver"
)

func TestIgnore(t *testing.T) {
	all := map[string]string{
		"a.yaml": "", "logo.png": "", ".gitignore": "", ".github/workflow.yaml": "", ".sops.yaml": "",
		"deploy/prod/x.yaml": "", "deploy/dev/y.yaml": "", "docs/z.md": "",
	}
	with := func(path, text string) map[string]string {
		files := map[string]string{path: text}
		maps.Copy(files, all)

		return files
	}

	cases := map[string]struct {
		reason string
		files  map[string]string
		ignore *string
		sparse []string
		want   []string
	}{
		"Default": {
			reason: "Without rules the default ones are used.",
			files:  all,
			want: []string{
				"a.yaml", "deploy/", "deploy/dev/", "deploy/dev/y.yaml", "deploy/prod/", "deploy/prod/x.yaml", "docs/", "docs/z.md",
			},
		},
		"Spec": {
			reason: "With rules, only Git's own files are left out beside them.",
			files:  all, ignore: new("# rules\n*.md\n/deploy/dev/\n"),
			want: []string{
				".github/", ".github/workflow.yaml", ".sops.yaml", "a.yaml", "deploy/", "deploy/prod/", "deploy/prod/x.yaml",
				"docs/", "logo.png",
			},
		},
		"EmptySpec": {
			reason: "Rules that say nothing are none.",
			files:  all, ignore: new("# nothing\n"),
			want: []string{
				"a.yaml", "deploy/", "deploy/dev/", "deploy/dev/y.yaml", "deploy/prod/", "deploy/prod/x.yaml", "docs/", "docs/z.md",
			},
		},
		"AllowList": {
			reason: "All can be left out but some, also deep inside.",
			files:  all, ignore: new("/*\n!/deploy/prod\n"),
			want: []string{"deploy/prod/", "deploy/prod/x.yaml"},
		},
		"File": {
			reason: "Rules in the repository hold in their directory.",
			files:  with("deploy/.sourceignore", "*.yaml\n!x.yaml\n"),
			want: []string{
				".github/", ".github/workflow.yaml", ".sops.yaml", "a.yaml", "deploy/", "deploy/.sourceignore", "deploy/dev/",
				"deploy/prod/", "deploy/prod/x.yaml", "docs/", "docs/z.md", "logo.png",
			},
		},
		"SpecAfterFile": {
			reason: "The rules of the object win.",
			files:  with(".sourceignore", "docs\n"), ignore: new("!docs\n*.yaml\n.sourceignore\n"),
			want: []string{".github/", "deploy/", "deploy/dev/", "deploy/prod/", "docs/", "docs/z.md", "logo.png"},
		},
		"Sparse": {
			reason: "Rules outside of the directories that are wanted do not count.",
			files:  with(".sourceignore", "*.md\n"), sparse: []string{"./docs", "deploy/prod/"},
			want: []string{"deploy/prod/", "deploy/prod/x.yaml", "docs/", "docs/z.md"},
		},
	}

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			r, err := w.Create(t.Context(), "app")
			check(t, err)
			commit(t, r, "main", gitserver.Change{Files: tc.files})

			obj := object("app", w.serve(t, gitserver.HTTPOptions{}).URL(r), func(s *sourcev1.GitRepositorySpec) {
				s.Ignore, s.SparseCheckout = tc.ignore, tc.sparse
			})

			a := w.bench(t, obj).run(t, obj).Object.Status.Artifact
			if diff := cmp.Diff(tc.want, w.entries(t, a)); diff != "" {
				t.Errorf("%s\n-want +got:\n%s", tc.reason, diff)
			}
		})
	}
}
