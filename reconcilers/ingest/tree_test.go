package ingest_test

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/google/go-cmp/cmp"

	"github.com/weir-dev/weir/reconcilers/ingest"
	"github.com/weir-dev/weir/test/gitserver"
)

// walk returns what Walk visits of the commit, as "path" of directories and "path mode content" of files.
func walk(t *testing.T, r *gitserver.Repository, head plumbing.Hash, o ingest.WalkOptions) ([]string, error) {
	t.Helper()

	p, err := ingest.ReadPack(t.Context(), bytes.NewReader(pack(t, r)), t.TempDir(), head, ingest.PackLimits{})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()

	c, err := p.Commit(t.Context(), head)
	if err != nil {
		t.Fatal(err)
	}

	var got []string
	err = p.Walk(t.Context(), c, o, func(n ingest.Node) error {
		if n.Dir {
			got = append(got, n.Path+"/")

			return nil
		}

		in, err := p.Open(t.Context(), n.Hash)
		if err != nil {
			return err
		}
		defer in.Close()

		content, err := io.ReadAll(in)
		if int64(len(content)) != n.Size {
			t.Errorf("%s has %d bytes, not %d", n.Path, len(content), n.Size)
		}

		mode := "rw"
		if n.Executable {
			mode = "rwx"
		}

		got = append(got, fmt.Sprintf("%s %s %s", n.Path, mode, content))

		return err
	})

	return got, err
}

func TestWalk(t *testing.T) {
	r := newRepository(t)
	head := commit(t, r, gitserver.Change{
		Files:       map[string]string{"a.yaml": "a", "apps/one/x.yaml": "x", "apps/two/y.yaml": "y", "docs/z.md": "z"},
		Executables: map[string]string{"apps/run.sh": "#!"},
		Symlinks:    map[string]string{"apps/link": "../a.yaml", "dangling": "nowhere/at/all"},
		Submodules:  map[string]string{"vendor": strings.Repeat("1", 40)},
	})
	apps := []string{
		"apps/", "apps/one/", "apps/one/x.yaml rw x", "apps/run.sh rwx #!", "apps/two/", "apps/two/y.yaml rw y",
	}

	cases := map[string]struct {
		reason  string
		options ingest.WalkOptions
		want    []string
		err     error
	}{
		"All": {
			reason: "Files and directories come out, links that stay inside and sub-modules do not.",
			want:   slices.Concat([]string{"a.yaml rw a"}, apps, []string{"docs/", "docs/z.md rw z"}),
		},
		"Under": {
			reason:  "Only what lies in the directories named comes out.",
			options: ingest.WalkOptions{Under: []string{"./apps/two/", "docs"}},
			want:    []string{"apps/two/", "apps/two/y.yaml rw y", "docs/", "docs/z.md rw z"},
		},
		"UnderRoot": {
			reason:  "The root holds all.",
			options: ingest.WalkOptions{Under: []string{"docs", "."}},
			want:    slices.Concat([]string{"a.yaml rw a"}, apps, []string{"docs/", "docs/z.md rw z"}),
		},
		"UnderMissing": {
			reason:  "A directory that is not there is an error.",
			options: ingest.WalkOptions{Under: []string{"apps", "ap"}},
			want:    apps,
			err:     ingest.ErrNoDirectory,
		},
		"UnderFile": {
			reason:  "A file is no directory.",
			options: ingest.WalkOptions{Under: []string{"a.yaml"}},
			err:     ingest.ErrNoDirectory,
		},
		"Skip": {
			reason: "What is in a directory that is left out may be wanted all the same.",
			options: ingest.WalkOptions{Skip: func(e []string, _ bool) bool {
				return !slices.Equal(e, []string{"apps", "two", "y.yaml"})
			}},
			want: []string{"apps/two/y.yaml rw y"},
		},
		"Prune": {
			reason: "If it is said so, nothing in it is wanted.",
			options: ingest.WalkOptions{Prune: true, Skip: func(e []string, _ bool) bool {
				return e[0] == "apps" && len(e) == 1 || e[0] == "docs"
			}},
			want: []string{"a.yaml rw a"},
		},
	}

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got, err := walk(t, r, head, tc.options)
			if !errors.Is(err, tc.err) {
				t.Errorf("%s\nerror: %v", tc.reason, err)
			}

			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("%s\n-want +got:\n%s", tc.reason, diff)
			}
		})
	}
}

func TestWalkLimits(t *testing.T) {
	r := newRepository(t)
	head := commit(t, r, gitserver.Change{Files: map[string]string{
		"a": strings.Repeat("a", 100), "d/e/f/g": strings.Repeat("b", 100), "long-name": "",
	}})

	cases := map[string]struct {
		reason string
		limits ingest.Limits
		want   string
	}{
		"Bytes":   {"All files together are limited.", ingest.Limits{Bytes: 150}, `"d/e/f/g": the limit of 150 bytes in all files is exceeded`},
		"File":    {"One file is limited.", ingest.Limits{FileBytes: 99}, `"a": the limit of 99 bytes per file is exceeded`},
		"Entries": {"Directories count.", ingest.Limits{Entries: 3}, `"d/e/f": the limit of 3 entries is exceeded`},
		"Depth":   {"The depth is limited.", ingest.Limits{Depth: 3}, `"d/e/f/g": the limit of 3 path elements is exceeded`},
		"Path":    {"The path is limited.", ingest.Limits{PathBytes: 8}, `"long-name": the limit of 8 bytes per path is exceeded`},
	}

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			_, err := walk(t, r, head, ingest.WalkOptions{Limits: tc.limits})
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("%s\ngot:  %v\nwant: %s", tc.reason, err, tc.want)
			}
		})
	}
}

// A tree that holds itself over and over in few objects is not walked to its end.
func TestWalkBomb(t *testing.T) {
	r := newRepository(t)

	hash, err := r.WriteObject(t.Context(), "blob", []byte("x"))
	if err != nil {
		t.Fatal(err)
	}

	tree := rawTree(t, r, map[string]string{"100644 f": hash})
	for range 20 {
		entries := map[string]string{}
		for i := range 10 {
			entries[fmt.Sprintf("40000 d%d", i)] = tree
		}

		tree = rawTree(t, r, entries)
	}

	head := commitTree(t, r, tree)
	skip := func([]string, bool) bool { return true }

	_, err = walk(t, r, head, ingest.WalkOptions{Skip: skip, Limits: ingest.Limits{Entries: 1000}})
	if over := (*ingest.LimitError)(nil); !errors.As(err, &over) {
		t.Errorf("unexpected error: %v", err)
	}
}

// A tree that holds a large one on each level, the large ones being deltas of each other, is not held in memory level by level.
func TestWalkCountsWholeTrees(t *testing.T) {
	r := newRepository(t)

	hash, err := r.WriteObject(t.Context(), "blob", []byte("x"))
	if err != nil {
		t.Fatal(err)
	}

	small := rawTree(t, r, map[string]string{"100644 f": hash})
	tree := small

	for range 20 {
		entries := map[string]string{"40000 a": tree}
		for i := range 1000 {
			entries[fmt.Sprintf("40000 d%d", i)] = small
		}

		tree = rawTree(t, r, entries)
	}

	visited := 0
	_, err = walk(t, r, commitTree(t, r, tree), ingest.WalkOptions{
		Limits: ingest.Limits{Entries: 1000},
		Skip:   func([]string, bool) bool { visited++; return true },
	})

	if over := (*ingest.LimitError)(nil); !errors.As(err, &over) {
		t.Errorf("unexpected error: %v", err)
	}

	if visited > 10 {
		t.Errorf("%d entries were looked at before those of the trees were counted", visited)
	}
}

// A walk over entries that are all left out ends with its context too.
func TestWalkEndsWithItsContext(t *testing.T) {
	r := newRepository(t)
	head := commit(t, r, gitserver.Change{Files: map[string]string{"a": "", "b": "", "c": ""}})

	p, err := ingest.ReadPack(t.Context(), bytes.NewReader(pack(t, r)), t.TempDir(), head, ingest.PackLimits{})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()

	c, err := p.Commit(t.Context(), head)
	if err != nil {
		t.Fatal(err)
	}

	ctx, cancel := context.WithCancel(t.Context())
	visited := 0

	err = p.Walk(ctx, c, ingest.WalkOptions{Skip: func([]string, bool) bool {
		visited++
		cancel()

		return true
	}}, nil)
	if !errors.Is(err, context.Canceled) || visited != 1 {
		t.Errorf("error %v after %d entries", err, visited)
	}
}

// Names of what is missing are looked for in a hostile tree too: one that is as deep as there are objects.
func TestMissingIsBounded(t *testing.T) {
	r := newRepository(t)

	const absent = "1111111111111111111111111111111111111111"

	tree := rawTree(t, r, map[string]string{"100644 f": absent})
	for range 100 {
		tree = rawTree(t, r, map[string]string{"40000 d": tree})
	}

	head := commitTree(t, r, tree)
	out := git(t, r, "rev-list", "--objects", "--missing=allow-any", "main")
	raw := packOf(t, r, out)

	p, err := ingest.ReadPack(t.Context(), bytes.NewReader(raw), t.TempDir(), head, ingest.PackLimits{})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()

	if names := p.Missing(t.Context(), head); len(names) > 0 {
		t.Errorf("what is missing 100 directories down was looked for: %d names", len(names))
	}
}

// A name may be as long as its tree, and a path is made for each file below it: a directory with a name of megabytes, and a thousand
// files, would take gigabytes.
func TestLongNames(t *testing.T) {
	r := newRepository(t)
	absent := map[string]string{}

	for i := range 100 {
		absent[fmt.Sprintf("100644 f%d", i)] = fmt.Sprintf("%040x", i+1)
	}

	long := strings.Repeat("d", 4096)
	head := commitTree(t, r, rawTree(t, r, map[string]string{"40000 " + long: rawTree(t, r, absent)}))
	raw := packOf(t, r, git(t, r, "rev-list", "--objects", "--missing=allow-any", "main"))

	p, err := ingest.ReadPack(t.Context(), bytes.NewReader(raw), t.TempDir(), head, ingest.PackLimits{})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()

	if names := p.Missing(t.Context(), head); len(names) > 0 {
		t.Errorf("what is missing below a name of %d bytes was named: %d names", len(long), len(names))
	}

	c, err := p.Commit(t.Context(), head)
	if err != nil {
		t.Fatal(err)
	}

	everything := ingest.WalkOptions{Skip: func([]string, bool) bool { return true }}

	err = p.Walk(t.Context(), c, everything, func(ingest.Node) error { return nil })
	if want := `"/…": the limit of 4096 bytes per path is exceeded`; err == nil || !strings.HasSuffix(err.Error(), want) {
		t.Errorf("error %.200v, want %s", err, want)
	}
}

// packOf makes a pack of the objects that rev-list has listed, those that are not there left out.
func packOf(t *testing.T, r *gitserver.Repository, listed string) []byte {
	t.Helper()

	var in strings.Builder

	for line := range strings.Lines(listed) {
		hash, _, _ := strings.Cut(strings.TrimSpace(line), " ")
		if exec.CommandContext(t.Context(), "git", "-C", r.Dir, "cat-file", "-e", hash).Run() == nil {
			fmt.Fprintln(&in, hash)
		}
	}

	c := exec.CommandContext(t.Context(), "git", "-C", r.Dir, "pack-objects", "--stdout", "--quiet")
	c.Stdin = strings.NewReader(in.String())

	out, err := c.Output()
	if err != nil {
		t.Fatal(err)
	}

	return out
}

func TestWalkRefuses(t *testing.T) {
	cases := map[string]struct {
		reason string
		entry  string // mode and name
		target string // of a symbolic link
		want   string
	}{
		"AbsoluteLink": {
			reason: "An absolute link leads out of the tree.",
			entry:  "120000 passwd", target: "/etc/passwd",
			want: `"passwd": the symbolic link leads out of the tree: "/etc/passwd"`,
		},
		"ClimbingLink": {
			reason: "A link may not climb over the root.",
			entry:  "120000 up", target: "a/../../x",
			want: `"up": the symbolic link leads out of the tree: "a/../../x"`,
		},
		"BackslashLink": {
			reason: "Nor with backslashes.",
			entry:  "120000 up", target: `a\..\..\x`,
			want: `"up": the symbolic link leads out of the tree: "a\\..\\..\\x"`,
		},
		"Parent":    {reason: "Names are no paths.", entry: "100644 ..", want: `the name leads out of the tree`},
		"Slash":     {reason: "Names are no paths.", entry: "100644 a/../../b", want: `the name is no file name`},
		"Dot":       {reason: "Names are no paths.", entry: "100644 .", want: `the name is no file name`},
		"Backslash": {reason: "Names are no paths, on Windows either.", entry: `100644 a\..\..\b`, want: `the name leads out of the tree`},
		"DotGit":    {reason: "Git's own directory is no content.", entry: "100644 .git", want: `".git": the name means .git`},
		"DotGitCase": {
			reason: "Some file systems ignore case.",
			entry:  "40000 .GiT", want: `the name means .git`,
		},
		"DotGitShort": {reason: "NTFS has short names.", entry: "100644 GIT~1", want: `the name means .git`},
		"DotGitStream": {
			reason: "NTFS has streams.",
			entry:  "100644 .git::$INDEX_ALLOCATION", want: `the name means .git`,
		},
		"DotGitIgnorable": {
			reason: "HFS+ ignores some characters.",
			entry:  "100644 .g\u200cit", want: `the name means .git`,
		},
		"DotGitBackslash": {reason: "Names may be paths on Windows.", entry: `100644 .git\config`, want: `the name means .git`},
	}

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			r := newRepository(t)

			hash, err := r.WriteObject(t.Context(), "blob", []byte(tc.target))
			if err != nil {
				t.Fatal(err)
			}

			if strings.HasPrefix(tc.entry, "40000") {
				hash = rawTree(t, r, nil)
			}

			head := commitTree(t, r, rawTree(t, r, map[string]string{tc.entry: hash}))

			_, err = walk(t, r, head, ingest.WalkOptions{})
			if refused := (*ingest.RefusedError)(nil); !errors.As(err, &refused) || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("%s\ngot:  %v\nwant: %s", tc.reason, err, tc.want)
			}
		})
	}
}

func TestWalkAllowsOddNames(t *testing.T) {
	r := newRepository(t)
	names := []string{`dev-disk\x2duuid.swap`, "...", ".gitignore", "..a", "ü", "new\nline"}

	files := map[string]string{}
	for _, n := range names {
		files[n] = "x"
	}

	head := commit(t, r, gitserver.Change{Files: files, Symlinks: map[string]string{`a\x2db`: `dev-disk\x2duuid.swap`}})

	got, err := walk(t, r, head, ingest.WalkOptions{})
	if err != nil || len(got) != len(names) {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestWalkSkipsRefused(t *testing.T) {
	r := newRepository(t)
	head := commit(t, r, gitserver.Change{
		Files: map[string]string{"a": "a"}, Symlinks: map[string]string{"out": "/etc"},
	})

	got, err := walk(t, r, head, ingest.WalkOptions{Skip: func(e []string, _ bool) bool { return e[0] == "out" }})
	if err != nil || len(got) != 1 {
		t.Errorf("a link that is left out is an error: %q, %v", got, err)
	}
}

// rawTree writes a tree of entries, "mode name" to hash, that Git itself would not make.
func rawTree(t *testing.T, r *gitserver.Repository, entries map[string]string) string {
	t.Helper()

	var b bytes.Buffer
	keys := make([]string, 0, len(entries))
	for k := range entries {
		keys = append(keys, k)
	}

	slices.Sort(keys)

	for _, k := range keys {
		raw, err := hex.DecodeString(entries[k])
		if err != nil {
			t.Fatal(err)
		}

		fmt.Fprintf(&b, "%s\x00%s", k, raw)
	}

	hash, err := r.WriteObject(t.Context(), "tree", b.Bytes())
	if err != nil {
		t.Fatal(err)
	}

	return hash
}

func commitTree(t *testing.T, r *gitserver.Repository, tree string) plumbing.Hash {
	t.Helper()

	hash, err := r.CommitTree(t.Context(), "main", "Odd", tree)
	if err != nil {
		t.Fatal(err)
	}

	return plumbing.NewHash(hash)
}
