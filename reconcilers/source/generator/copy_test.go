package generator

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/weir-dev/weir/api/sourceextensions/v1beta1"
	"github.com/weir-dev/weir/reconcilers/artifact"
	"github.com/weir-dev/weir/reconcilers/ingest"
)

func copyOf(from, to string, exclude ...string) v1beta1.CopyOperation {
	return v1beta1.CopyOperation{From: from, To: to, Exclude: exclude}
}

func strategy(s string, c v1beta1.CopyOperation) v1beta1.CopyOperation {
	c.Strategy = s

	return c
}

// must stops a test that cannot go on.
func must(t testing.TB, err error) {
	t.Helper()

	if err != nil {
		t.Fatal(err)
	}
}

// write makes a directory of the files. Names that end with a slash are directories; content that begins with #! makes a
// file executable.
func write(t testing.TB, files map[string]string) string {
	t.Helper()

	dir := t.TempDir()

	for name, content := range files {
		at := filepath.Join(dir, name)
		must(t, os.MkdirAll(filepath.Dir(at), 0o700))

		if strings.HasSuffix(name, "/") {
			must(t, os.MkdirAll(at, 0o700))

			continue
		}

		mode := os.FileMode(0o600)
		if strings.HasPrefix(content, "#!") {
			mode = 0o700
		}

		must(t, os.WriteFile(at, []byte(content), mode))
	}

	return dir
}

// list returns what is in a directory: a directory as its path, a file as its path and content.
func list(t testing.TB, dir string) map[string]string {
	t.Helper()

	all := map[string]string{}

	must(t, filepath.WalkDir(dir, func(name string, e fs.DirEntry, err error) error {
		rel, _ := filepath.Rel(dir, name)
		if err != nil || rel == "." {
			return err
		}

		if e.IsDir() {
			all[rel+"/"] = ""

			return nil
		}

		content, err := os.ReadFile(name)
		all[rel] = string(content)

		return err
	}))

	return all
}

// planOf plans an artifact of the directories.
func planOf(
	t testing.TB, limits ingest.Limits, dirs map[string]string, copies ...v1beta1.CopyOperation,
) (*plan, error) {
	t.Helper()

	roots := map[string]*os.Root{}

	for alias, dir := range dirs {
		root, err := os.OpenRoot(dir)
		must(t, err)
		t.Cleanup(func() { must(t, root.Close()) })

		roots[alias] = root
	}

	var operations []operation

	for _, c := range copies {
		o, err := parseOperation(c)
		if err != nil {
			return nil, err
		}

		operations = append(operations, o)
	}

	r := &reconciler{Deps{Dir: t.TempDir(), Limits: limits}}

	p, err := r.planned(t.Context(), roots, operations)
	if err == nil {
		t.Cleanup(p.close)
	} else if left := list(t, r.Dir); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}

	return p, err
}

// unpack returns what is in the archive of a plan.
func unpack(t testing.TB, p *plan) map[string]string {
	t.Helper()

	store, err := artifact.NewStore(artifact.StoreOptions{Root: t.TempDir(), Address: "store.test"})
	must(t, err)

	d, release, err := store.Add(t.Context(), p.content(store))
	must(t, err)
	t.Cleanup(release)

	f, err := store.Open(d)
	must(t, err)

	defer f.Close()

	dir := t.TempDir()
	_, err = ingest.Untar(t.Context(), f, dir, ingest.Limits{})
	must(t, err)

	return list(t, dir)
}

// sample is what most tests copy from.
func sample() map[string]string {
	return map[string]string{
		"config.yaml":           "a: 1",
		"README.md":             "read",
		"configs/a.yaml":        "a",
		"configs/b.yaml":        "b",
		"configs/b.md":          "b",
		"configs/run.sh":        "#!run",
		"configs/sub/c.yaml":    "c",
		"configs/sub/d/e.yaml":  "e",
		"configs/testdata/x.md": "x",
		"empty/":                "",
		".hidden/h.yaml":        "h",
	}
}

func TestCopy(t *testing.T) {
	cases := map[string]struct {
		reason string
		copies []v1beta1.CopyOperation

		// cp are the arguments of cp that copy the same, from the directory src to the directory out.
		cp   []string
		want map[string]string
		err  string
	}{
		"FileToPath": {
			reason: "A file gets the name that it is given.",
			copies: []v1beta1.CopyOperation{copyOf("@src/config.yaml", "@artifact/app.yaml")},
			cp:     []string{"cp src/config.yaml out/app.yaml"},
			want:   map[string]string{"app.yaml": "a: 1"},
		},
		"FileToDirectory": {
			reason: "A file keeps its name in a directory.",
			copies: []v1beta1.CopyOperation{copyOf("@src/config.yaml", "@artifact/apps/")},
			cp:     []string{"mkdir out/apps", "cp src/config.yaml out/apps/"},
			want:   map[string]string{"apps/": "", "apps/config.yaml": "a: 1"},
		},
		"FileToRoot": {
			reason: "The root is a directory.",
			copies: []v1beta1.CopyOperation{copyOf("@src/configs/a.yaml", "@artifact/")},
			cp:     []string{"cp src/configs/a.yaml out/"},
			want:   map[string]string{"a.yaml": "a"},
		},
		"FileToDirectoryThatIsThere": {
			reason: "A directory that is there already is one without a slash, too.",
			copies: []v1beta1.CopyOperation{
				copyOf("@src/config.yaml", "@artifact/apps/"), copyOf("@src/README.md", "@artifact/apps"),
			},
			cp:   []string{"mkdir out/apps", "cp src/config.yaml out/apps/", "cp src/README.md out/apps"},
			want: map[string]string{"apps/": "", "apps/config.yaml": "a: 1", "apps/README.md": "read"},
		},
		"Directory": {
			reason: "A directory is copied with its name.",
			copies: []v1beta1.CopyOperation{copyOf("@src/configs/sub", "@artifact/")},
			cp:     []string{"cp -r src/configs/sub out/"},
			want:   map[string]string{"sub/": "", "sub/c.yaml": "c", "sub/d/": "", "sub/d/e.yaml": "e"},
		},
		"DirectoryWithSlash": {
			reason: "A slash after a directory means nothing, as for cp.",
			copies: []v1beta1.CopyOperation{copyOf("@src/configs/sub/", "@artifact/apps/")},
			cp:     []string{"mkdir out/apps", "cp -r src/configs/sub/ out/apps/"},
			want:   map[string]string{"apps/": "", "apps/sub/": "", "apps/sub/c.yaml": "c", "apps/sub/d/": "", "apps/sub/d/e.yaml": "e"},
		},
		"EmptyDirectory": {
			reason: "There is nothing in an empty directory.",
			copies: []v1beta1.CopyOperation{copyOf("@src/empty", "@artifact/")},
			cp:     []string{"cp -r src/empty out/"},
			want:   map[string]string{"empty/": ""},
		},
		"Content": {
			reason: "Two stars are what is in a directory.",
			copies: []v1beta1.CopyOperation{copyOf("@src/configs/sub/**", "@artifact/apps/")},
			cp:     []string{"mkdir out/apps", "cp -r src/configs/sub/. out/apps/"},
			want:   map[string]string{"apps/": "", "apps/c.yaml": "c", "apps/d/": "", "apps/d/e.yaml": "e"},
		},
		"ContentToPath": {
			reason: "Where many files go is a directory, with or without a slash.",
			copies: []v1beta1.CopyOperation{copyOf("@src/configs/sub/**", "@artifact/apps")},
			want:   map[string]string{"apps/": "", "apps/c.yaml": "c", "apps/d/": "", "apps/d/e.yaml": "e"},
		},
		"Root": {
			reason: "The root has no name.",
			copies: []v1beta1.CopyOperation{copyOf("@small/", "@artifact/x/")},
			cp:     []string{"mkdir out/x", "cp -r small/. out/x/"},
			want:   map[string]string{"x/": "", "x/one.yaml": "1", "x/two/": "", "x/two/three.yaml": "3"},
		},
		"Everything": {
			reason: "Two stars are the whole source.",
			copies: []v1beta1.CopyOperation{copyOf("@small/**", "@artifact/")},
			cp:     []string{"cp -r small/. out/"},
			want:   map[string]string{"one.yaml": "1", "two/": "", "two/three.yaml": "3"},
		},
		"Star": {
			reason: "One star is what is in a directory, directories included.",
			copies: []v1beta1.CopyOperation{copyOf("@small/*", "@artifact/")},
			cp:     []string{"cp -r small/* out/"},
			want:   map[string]string{"one.yaml": "1", "two/": "", "two/three.yaml": "3"},
		},
		"Pattern": {
			reason: "Files that match lose the path before the pattern.",
			copies: []v1beta1.CopyOperation{copyOf("@src/configs/*.yaml", "@artifact/apps/")},
			cp:     []string{"mkdir out/apps", "cp src/configs/*.yaml out/apps/"},
			want:   map[string]string{"apps/": "", "apps/a.yaml": "a", "apps/b.yaml": "b"},
		},
		"DeepPattern": {
			reason: "Files that match keep the path within the pattern.",
			copies: []v1beta1.CopyOperation{copyOf("@src/configs/**/*.yaml", "@artifact/")},
			want: map[string]string{
				"a.yaml": "a", "b.yaml": "b", "sub/": "", "sub/c.yaml": "c", "sub/d/": "", "sub/d/e.yaml": "e",
			},
		},
		"Alternatives": {
			reason: "Braces are alternatives.",
			copies: []v1beta1.CopyOperation{copyOf("@src/configs/{a,b}.{yaml,md}", "@artifact/")},
			want:   map[string]string{"a.yaml": "a", "b.yaml": "b", "b.md": "b"},
		},
		"Later": {
			reason: "Operations are carried out in order.",
			copies: []v1beta1.CopyOperation{
				copyOf("@src/config.yaml", "@artifact/x"), copyOf("@src/README.md", "@artifact/x"),
			},
			cp:   []string{"cp src/config.yaml out/x", "cp src/README.md out/x"},
			want: map[string]string{"x": "read"},
		},
		"Sources": {
			reason: "Directories of several sources become one.",
			copies: []v1beta1.CopyOperation{
				copyOf("@src/configs/sub/**", "@artifact/two/"), copyOf("@small/**", "@artifact/"),
			},
			cp: []string{"mkdir out/two", "cp -r src/configs/sub/. out/two", "cp -r small/. out/"},
			want: map[string]string{
				"one.yaml": "1", "two/": "", "two/three.yaml": "3", "two/c.yaml": "c", "two/d/": "", "two/d/e.yaml": "e",
			},
		},
		"ExcludeName": {
			reason: "A pattern without a slash is a name at any depth.",
			copies: []v1beta1.CopyOperation{copyOf("@src/configs/**", "@artifact/", "*.md", "sub", "*.sh")},
			want:   map[string]string{"a.yaml": "a", "b.yaml": "b", "testdata/": ""},
		},
		"ExcludeDirectory": {
			reason: "What is in a directory that is left out is left out too.",
			copies: []v1beta1.CopyOperation{copyOf("@src/configs/", "@artifact/", "**/testdata/**", "**/sub/**", "*.md", "*.sh")},
			want:   map[string]string{"configs/": "", "configs/a.yaml": "a", "configs/b.yaml": "b"},
		},
		"ExcludeFromRoot": {
			reason: "A pattern may begin at the root of the source.",
			copies: []v1beta1.CopyOperation{copyOf("@src/configs/sub/**", "@artifact/", "configs/sub/d/**")},
			want:   map[string]string{"c.yaml": "c"},
		},
		"ExcludeFromPrefix": {
			reason: "A pattern may begin where the pattern of the operation does.",
			copies: []v1beta1.CopyOperation{copyOf("@src/configs/sub/**", "@artifact/", "d/**")},
			want:   map[string]string{"c.yaml": "c"},
		},
		"ExcludeFromSubtree": {
			reason: "A pattern may begin in a directory that is copied as a whole.",
			copies: []v1beta1.CopyOperation{copyOf("@src/con*", "@artifact/", "sub/d/**", "*.md", "*.sh")},
			want: map[string]string{
				"config.yaml": "a: 1", "configs/": "", "configs/a.yaml": "a", "configs/b.yaml": "b",
				"configs/sub/": "", "configs/sub/c.yaml": "c", "configs/testdata/": "",
			},
		},
		"Ignored": {
			reason: "The default ignore rules hold for the artifact.",
			copies: []v1beta1.CopyOperation{
				copyOf("@src/config.yaml", "@artifact/.github/x.yaml"), copyOf("@src/config.yaml", "@artifact/logo.png"),
				copyOf("@src/README.md", "@artifact/"),
			},
			want: map[string]string{"README.md": "read"},
		},
		"Hidden": {
			reason: "Names that begin with a dot are names.",
			copies: []v1beta1.CopyOperation{copyOf("@src/.*/**", "@artifact/")},
			want:   map[string]string{".hidden/": "", ".hidden/h.yaml": "h"},
		},

		"NoFile": {
			reason: "What is not there is an error.",
			copies: []v1beta1.CopyOperation{copyOf("@src/missing.yaml", "@artifact/")},
			err:    "source 'missing.yaml' does not exist",
		},
		"NoMatch": {
			reason: "A pattern that matches nothing is an error.",
			copies: []v1beta1.CopyOperation{copyOf("@src/configs/*.json", "@artifact/")},
			err:    "no files match pattern 'configs/*.json' in source 'src'",
		},
		"NoDirectory": {
			reason: "A pattern below nothing matches nothing.",
			copies: []v1beta1.CopyOperation{copyOf("@src/missing/**", "@artifact/")},
			err:    "no files match pattern",
		},
		"BelowFile": {
			reason: "There is nothing below a file.",
			copies: []v1beta1.CopyOperation{copyOf("@src/config.yaml/**", "@artifact/")},
			err:    "no files match pattern",
		},
		"AllExcluded": {
			reason: "An operation that copies nothing is a mistake.",
			copies: []v1beta1.CopyOperation{copyOf("@src/configs/*.yaml", "@artifact/", "*.yaml")},
			err:    "all files matching 'configs/*.yaml' in source 'src' were excluded",
		},
		"FileExcluded": {
			reason: "So is one file that is left out.",
			copies: []v1beta1.CopyOperation{copyOf("@src/config.yaml", "@artifact/", "config.yaml")},
			err:    "were excluded",
		},
		"DirectoryExcluded": {
			reason: "So is a directory of which nothing is left.",
			copies: []v1beta1.CopyOperation{copyOf("@src/configs/testdata", "@artifact/", "*.md")},
			err:    "were excluded",
		},
		"NoAlias": {
			reason: "Only sources of the generator are copied from.",
			copies: []v1beta1.CopyOperation{copyOf("@other/x", "@artifact/")},
			err:    "source alias 'other' not found",
		},
		"FileOverDirectory": {
			reason: "A directory is not replaced by a file.",
			copies: []v1beta1.CopyOperation{
				copyOf("@src/configs/sub", "@artifact/a/config.yaml/"), copyOf("@src/config.yaml", "@artifact/a/"),
			},
			err: `"a/config.yaml" is a directory already`,
		},
		"DirectoryOverFile": {
			reason: "Nor a file by a directory.",
			copies: []v1beta1.CopyOperation{
				copyOf("@src/config.yaml", "@artifact/x"), copyOf("@src/configs/**", "@artifact/x/"),
			},
			err: `"x" is a file already`,
		},
		"OutOfSource": {
			reason: "No path leads out of the source.",
			copies: []v1beta1.CopyOperation{copyOf("@src/../small/one.yaml", "@artifact/")},
			err:    "leads out of the tree",
		},
		"OutOfArtifact": {
			reason: "Or out of the artifact.",
			copies: []v1beta1.CopyOperation{copyOf("@src/config.yaml", "@artifact/../x")},
			err:    "leads out of the tree",
		},
		"BadExclude": {
			reason: "A pattern that is none is an error.",
			copies: []v1beta1.CopyOperation{copyOf("@src/config.yaml", "@artifact/", "[")},
			err:    "invalid exclude",
		},
	}

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			dirs := map[string]string{
				"src": write(t, sample()), "small": write(t, map[string]string{"one.yaml": "1", "two/three.yaml": "3"}),
			}

			p, err := planOf(t, ingest.Limits{}, dirs, tc.copies...)
			if fmt.Sprint(err) != "<nil>" && tc.err == "" || tc.err != "" && (err == nil || !strings.Contains(err.Error(), tc.err)) {
				t.Fatalf("%s error %v, want %q", tc.reason, err, tc.err)
			}

			if err != nil {
				return
			}

			if diff := cmp.Diff(tc.want, unpack(t, p)); diff != "" {
				t.Errorf("%s -want +got:\n%s", tc.reason, diff)
			}

			if tc.cp != nil {
				if diff := cmp.Diff(tc.want, copied(t, dirs, tc.cp)); diff != "" {
					t.Errorf("cp copies otherwise: -want +got:\n%s", diff)
				}
			}
		})
	}
}

// copied returns what commands copy.
func copied(t *testing.T, dirs map[string]string, commands []string) map[string]string {
	t.Helper()

	dir := t.TempDir()
	out := filepath.Join(dir, "out")
	must(t, os.Mkdir(out, 0o700))

	for alias, at := range dirs {
		must(t, os.Symlink(at, filepath.Join(dir, alias)))
	}

	cmd := exec.CommandContext(t.Context(), "sh", "-ec", strings.Join(commands, "\n"))
	cmd.Dir = dir

	if output, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, output)
	}

	return list(t, out)
}

func TestExecutable(t *testing.T) {
	p, err := planOf(t, ingest.Limits{}, map[string]string{"src": write(t, sample())}, copyOf("@src/configs/*", "@artifact/"))
	must(t, err)

	for _, at := range p.paths {
		if want := at == "run.sh"; p.tree.nodes[at].executable != want {
			t.Errorf("%q is executable: %t", at, !want)
		}
	}
}

// TestHash holds that the hash is that of the content, and of nothing else.
func TestHash(t *testing.T) {
	hash := func(files map[string]string, copies ...v1beta1.CopyOperation) string {
		p, err := planOf(t, ingest.Limits{}, map[string]string{"src": write(t, files)}, copies...)
		must(t, err)

		return p.hash
	}

	all := copyOf("@src/**", "@artifact/")
	first := hash(map[string]string{"a": "1", "b/c": "2"}, all)

	if first != hash(map[string]string{"b/c": "2", "a": "1"}, all) {
		t.Error("the same content has two hashes")
	}

	if first != hash(map[string]string{"x/a": "1", "x/b/c": "2"}, copyOf("@src/x/**", "@artifact/")) {
		t.Error("the same content from elsewhere has another hash")
	}

	seen := map[string]string{first: "first"}

	for name, files := range map[string]map[string]string{
		"Content": {"a": "1", "b/c": "3"}, "Name": {"a": "1", "b/d": "2"}, "Moved": {"a": "2", "b/c": "1"},
		"Mode": {"a": "#!1", "b/c": "2"}, "Directory": {"a": "1", "b/c": "2", "d/": ""}, "Newline": {"a": "1", "b/c\nx": "2"},
	} {
		h := hash(files, all)
		if other, ok := seen[h]; ok {
			t.Errorf("%s has the hash of %s", name, other)
		}

		seen[h] = name
	}
}

// TestHostileTrees shows that nothing leads out of a source, although no source should be like that.
func TestHostileTrees(t *testing.T) {
	outside := write(t, map[string]string{"secret": "secret", "dir/secret": "secret"})

	cases := map[string]struct {
		reason string
		copy   v1beta1.CopyOperation
		err    string
		want   map[string]string
	}{
		"Content":   {reason: "Links are passed over.", copy: copyOf("@src/**", "@artifact/"), want: map[string]string{"ok": "ok", "in/": "", "in/ok": "ok"}},
		"Directory": {reason: "Also in directories.", copy: copyOf("@src/in", "@artifact/"), want: map[string]string{"in/": "", "in/ok": "ok"}},
		"File":      {reason: "A link is no file.", copy: copyOf("@src/file", "@artifact/"), err: "no regular file"},
		"Through":   {reason: "Nothing is copied through a link.", copy: copyOf("@src/dir/secret", "@artifact/"), err: "no regular file"},
		"Inside":    {reason: "Not even if it stays inside.", copy: copyOf("@src/inside/ok", "@artifact/"), err: "no regular file"},
		"Pattern":   {reason: "Nor by a pattern.", copy: copyOf("@src/dir/*", "@artifact/"), err: "no regular file"},
		"Name":      {reason: "A pattern does not match a link.", copy: copyOf("@src/fi*", "@artifact/"), err: "no files match"},
		"Archive":   {reason: "A link is no archive.", copy: strategy("Extract", copyOf("@src/x.tgz", "@artifact/")), err: "no regular file"},
		"Pipe":      {reason: "A device would never end.", copy: copyOf("@src/pipe", "@artifact/"), err: "no regular file"},
	}

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			dir := write(t, map[string]string{"ok": "ok", "in/ok": "ok"})
			for link, target := range map[string]string{
				"file": filepath.Join(outside, "secret"), "dir": filepath.Join(outside, "dir"), "inside": "in",
				"in/up": "../../../../../../../etc/passwd", "x.tgz": filepath.Join(outside, "secret"),
			} {
				must(t, os.Symlink(target, filepath.Join(dir, link)))
			}

			out, err := exec.CommandContext(t.Context(), "mkfifo", filepath.Join(dir, "pipe")).CombinedOutput()
			if err != nil {
				t.Fatalf("%v: %s", err, out)
			}

			p, err := planOf(t, ingest.Limits{}, map[string]string{"src": dir}, tc.copy)
			if tc.err != "" {
				if err == nil || !strings.Contains(err.Error(), tc.err) {
					t.Errorf("%s error %v, want %q", tc.reason, err, tc.err)
				}

				return
			}

			must(t, err)

			if diff := cmp.Diff(tc.want, unpack(t, p)); diff != "" {
				t.Errorf("%s -want +got:\n%s", tc.reason, diff)
			}
		})
	}
}

func TestLimits(t *testing.T) {
	cases := map[string]struct {
		limits ingest.Limits
		copies []v1beta1.CopyOperation
		ok     bool
	}{
		"Bytes":   {limits: ingest.Limits{Bytes: 5}},
		"File":    {limits: ingest.Limits{FileBytes: 2}},
		"Entries": {limits: ingest.Limits{Entries: 3}},
		"Depth":   {limits: ingest.Limits{Depth: 2}},
		"Path":    {limits: ingest.Limits{PathBytes: 5}},
		"Exactly": {limits: ingest.Limits{Bytes: 6, FileBytes: 3, Entries: 4, Depth: 3, PathBytes: 6}, ok: true},
		"Replaced": {
			limits: ingest.Limits{Bytes: 6},
			copies: []v1beta1.CopyOperation{copyOf("@src/**", "@artifact/"), copyOf("@src/**", "@artifact/")}, ok: true,
		},
	}

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if tc.copies == nil {
				tc.copies = []v1beta1.CopyOperation{copyOf("@src/**", "@artifact/")}
			}

			_, err := planOf(t, tc.limits, map[string]string{"src": write(t, map[string]string{"a": "aaa", "b/c/dd": "bbb"})}, tc.copies...)

			_, over := errors.AsType[*ingest.LimitError](err)
			if over == tc.ok || err != nil && !over {
				t.Errorf("error %v", err)
			}
		})
	}
}

// TestScratchLimits holds that what is merged and extracted counts, though it replaces what was there: the disk is that of all.
func TestScratchLimits(t *testing.T) {
	dir := write(t, map[string]string{"in/a": "aaa", "in/b": "bbb", "a.yaml": "a: 1", "b.yaml": "b: 2"})

	out, err := exec.CommandContext(t.Context(), "tar", "-C", filepath.Join(dir, "in"), "-czf", filepath.Join(dir, "x.tgz"), "a", "b").CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}

	extract := strategy(v1beta1.CopyExtract, copyOf("@src/x.tgz", "@artifact/"))
	merge := strategy(v1beta1.CopyMerge, copyOf("@src/b.yaml", "@artifact/a.yaml"))

	for name, tc := range map[string]struct {
		limits ingest.Limits
		copies []v1beta1.CopyOperation
		ok     bool
	}{
		"Once":      {limits: ingest.Limits{Bytes: 6}, copies: []v1beta1.CopyOperation{extract}, ok: true},
		"Twice":     {limits: ingest.Limits{Bytes: 12, Entries: 4}, copies: []v1beta1.CopyOperation{extract, extract}, ok: true},
		"Bytes":     {limits: ingest.Limits{Bytes: 12}, copies: []v1beta1.CopyOperation{extract, extract, extract}},
		"Entries":   {limits: ingest.Limits{Entries: 4}, copies: []v1beta1.CopyOperation{extract, extract, extract}},
		"Merged":    {limits: ingest.Limits{Bytes: 20}, copies: []v1beta1.CopyOperation{copyOf("@src/a.yaml", "@artifact/"), merge, merge}, ok: true},
		"MuchMerge": {limits: ingest.Limits{Bytes: 20}, copies: []v1beta1.CopyOperation{copyOf("@src/a.yaml", "@artifact/"), merge, merge, merge}},
		"ManyMerge": {limits: ingest.Limits{Entries: 2}, copies: []v1beta1.CopyOperation{copyOf("@src/a.yaml", "@artifact/"), merge, merge, merge}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := planOf(t, tc.limits, map[string]string{"src": dir}, tc.copies...)

			_, over := errors.AsType[*ingest.LimitError](err)
			if over == tc.ok || err != nil && !over {
				t.Errorf("error %v", err)
			}
		})
	}
}

func TestCancelled(t *testing.T) {
	root, err := os.OpenRoot(write(t, sample()))
	must(t, err)

	defer root.Close()

	o, err := parseOperation(copyOf("@src/**", "@artifact/"))
	must(t, err)

	ctx, cancel := context.WithCancel(t.Context())
	cancel()

	r := &reconciler{Deps{Dir: t.TempDir()}}
	if _, err := r.planned(ctx, map[string]*os.Root{"src": root}, []operation{o}); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}
