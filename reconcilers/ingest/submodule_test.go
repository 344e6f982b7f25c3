package ingest_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/object"
	"github.com/google/go-cmp/cmp"

	"github.com/weir-dev/weir/reconcilers/ingest"
	"github.com/weir-dev/weir/test/gitserver"
)

// opened returns the pack of all that is in the repository, and the commit in it.
func opened(t *testing.T, r *gitserver.Repository, head plumbing.Hash) (*ingest.Pack, *object.Commit) {
	t.Helper()

	p, err := ingest.ReadPack(t.Context(), bytes.NewReader(pack(t, r)), t.TempDir(), head, ingest.PackLimits{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)

	c, err := p.Commit(t.Context(), head)
	if err != nil {
		t.Fatal(err)
	}

	return p, c
}

func TestWalkSubmodules(t *testing.T) {
	inner, outer := newRepository(t), newRepository(t)
	module := commit(t, inner, gitserver.Change{
		Files:    map[string]string{"x.yaml": "x", "deploy/y.yaml": "y"},
		Symlinks: map[string]string{"up": "../../a.yaml"},
	})
	head := commit(t, outer, gitserver.Change{
		Files:      map[string]string{"a.yaml": "a"},
		Submodules: map[string]string{"libs/one": module.String(), "other": module.String()},
	})

	p, c := opened(t, outer, head)
	q, d := opened(t, inner, module)

	cases := map[string]struct {
		reason  string
		options ingest.WalkOptions
		want    []string
		err     bool
	}{
		"All": {
			reason: "A submodule that is known stands in the place that its commit has in the tree; others are passed over.",
			want:   []string{"a.yaml a", "libs/", "libs/one/", "libs/one/deploy/", "libs/one/deploy/y.yaml y", "libs/one/x.yaml x"},
		},
		"Under": {
			reason:  "A directory that is wanted may be in a submodule.",
			options: ingest.WalkOptions{Under: []string{"libs/one/deploy"}},
			want:    []string{"libs/one/deploy/", "libs/one/deploy/y.yaml y"},
		},
		"Elsewhere": {
			reason:  "A submodule in which nothing is wanted is not asked for.",
			options: ingest.WalkOptions{Under: []string{"libs/two"}},
			err:     true,
		},
		"Skip": {
			reason: "Rules see the path in the whole.",
			options: ingest.WalkOptions{Skip: func(elements []string, dir bool) bool {
				return len(elements) > 2 && elements[2] == "x.yaml" || !dir && len(elements) == 1
			}},
			want: []string{"libs/", "libs/one/", "libs/one/deploy/", "libs/one/deploy/y.yaml y"},
		},
		"Prune": {
			reason: "A submodule that is left out is not asked for.",
			options: ingest.WalkOptions{Prune: true, Skip: func(elements []string, _ bool) bool {
				return elements[0] == "libs"
			}},
			want: []string{"a.yaml a"},
		},
		"Limit": {
			reason:  "All trees together have to be within the limits.",
			options: ingest.WalkOptions{Limits: ingest.Limits{Bytes: 2}},
			want:    []string{"a.yaml a", "libs/", "libs/one/", "libs/one/deploy/", "libs/one/deploy/y.yaml y"},
			err:     true,
		},
		"Tally": {
			reason:  "What was counted before counts.",
			options: ingest.WalkOptions{Tally: ingest.NewTally(ingest.Limits{Entries: 2})},
			want:    []string{"a.yaml a", "libs/"},
			err:     true,
		},
	}

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			tc.options.Submodule = func(_ context.Context, path string, hash plumbing.Hash) (*ingest.Pack, *object.Commit, error) {
				if name == "Prune" && path == "libs/one" || name == "Elsewhere" {
					t.Errorf("%s\nasked for %q", tc.reason, path)
				}

				if path != "libs/one" || hash != module {
					return nil, nil, nil
				}

				return q, d, nil
			}

			var got []string

			err := p.Walk(t.Context(), c, tc.options, func(n ingest.Node) error {
				if n.Dir {
					got = append(got, n.Path+"/")

					return nil
				}

				in, err := n.Open(t.Context())
				if err != nil {
					return err
				}
				defer in.Close()

				content, err := io.ReadAll(in)
				got = append(got, fmt.Sprintf("%s %s", n.Path, content))

				return err
			})
			if (err != nil) != tc.err {
				t.Errorf("%s\nerror: %v", tc.reason, err)
			}

			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("%s\n-want +got:\n%s", tc.reason, diff)
			}
		})
	}
}

func TestWalkSubmoduleFails(t *testing.T) {
	r := newRepository(t)
	p, c := opened(t, r, commit(t, r, gitserver.Change{Submodules: map[string]string{"lib": plumbing.NewHash("11").String()}}))
	failed := errors.New("server is down")

	err := p.Walk(t.Context(), c, ingest.WalkOptions{
		Submodule: func(context.Context, string, plumbing.Hash) (*ingest.Pack, *object.Commit, error) {
			return nil, nil, failed
		},
	}, func(ingest.Node) error { return nil })
	if !errors.Is(err, failed) {
		t.Errorf("error: %v", err)
	}
}

// What people sign is what the hash is of, byte for byte.
func TestRaw(t *testing.T) {
	r := newRepository(t)
	head := commit(t, r, gitserver.Change{Files: map[string]string{"a": "1"}})

	// No program writes such a commit, and it has to come out as it is.
	odd := "tree " + git(t, r, "rev-parse", head.String()+"^{tree}") + "\nauthor  <> 1 +0000\ncommitter A <b> 1 +0000\n" +
		"gpgsig x\n y\nodd  header \n\n\n message \r\n\n"
	hash, err := r.WriteObject(t.Context(), "commit", []byte(odd))
	if err != nil {
		t.Fatal(err)
	}

	if err := r.Tag(t.Context(), "v1", hash, "Release"); err != nil {
		t.Fatal(err)
	}

	p, _ := opened(t, r, head)

	for name, tc := range map[string]struct {
		kind plumbing.ObjectType
		want string
	}{
		hash:                         {kind: plumbing.CommitObject, want: odd},
		git(t, r, "rev-parse", "v1"): {kind: plumbing.TagObject, want: git(t, r, "cat-file", "tag", "v1") + "\n"},
	} {
		kind, raw, err := p.Raw(t.Context(), plumbing.NewHash(name))
		if err != nil || kind != tc.kind || string(raw) != tc.want {
			t.Errorf("%s: %s %q, %v; want %s %q", name, kind, raw, err, tc.kind, tc.want)
		}
	}

	for _, other := range []string{"HEAD^{tree}", "HEAD:a"} {
		if _, _, err := p.Raw(t.Context(), plumbing.NewHash(git(t, r, "rev-parse", other))); !errors.Is(err, ingest.ErrNotFound) {
			t.Errorf("%s: %v", other, err)
		}
	}
}

// A commit or a tag that is looked at is held in memory, and its message costs nothing in a pack.
func TestLongMessages(t *testing.T) {
	r := newRepository(t)
	head := commit(t, r, gitserver.Change{Files: map[string]string{"a": "1"}})
	long := strings.Repeat("x", 1<<20)

	hash, err := r.WriteObject(t.Context(), "commit", []byte("tree "+git(t, r, "rev-parse", head.String()+"^{tree}")+
		"\nauthor A <b> 1 +0000\ncommitter A <b> 1 +0000\n\n"+long))
	if err != nil {
		t.Fatal(err)
	}

	tag, err := r.WriteObject(t.Context(), "tag", []byte("object "+head.String()+"\ntype commit\ntag v1\ntagger A <b> 1 +0000\n\n"+long))
	if err != nil {
		t.Fatal(err)
	}

	git(t, r, "update-ref", "refs/tags/long", hash)
	git(t, r, "update-ref", "refs/tags/v1", tag)

	p, _ := opened(t, r, head)

	for _, object := range []string{hash, tag} {
		want := `"` + object + `": the limit of 1048576 bytes per commit or tag is exceeded`

		if _, _, err := p.Raw(t.Context(), plumbing.NewHash(object)); err == nil || !strings.HasSuffix(err.Error(), want) {
			t.Errorf("error %v, want %s", err, want)
		}

		if _, err := p.Commit(t.Context(), plumbing.NewHash(object)); err == nil || !strings.HasSuffix(err.Error(), want) {
			t.Errorf("error %v, want %s", err, want)
		}
	}
}
