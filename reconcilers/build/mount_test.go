package build

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func pathJoin(elements ...string) string { return path.Join(elements...) }

// web is what lies elsewhere: files by their URL, and the files of repositories by URL@version. It counts what is open.
type web struct {
	files map[string]string
	repos map[string]files
	asked []string
	open  int
}

func (w *web) File(_ context.Context, url string, maxBytes int64) ([]byte, error) {
	w.asked = append(w.asked, url)

	content, ok := w.files[url]
	if !ok {
		return nil, errors.New("the server answers \"404 Not Found\"")
	}

	if int64(len(content)) > maxBytes {
		return nil, errors.New("too large")
	}

	return []byte(content), nil
}

func (w *web) Repository(_ context.Context, url, version string) (Files, error) {
	w.asked = append(w.asked, url+"@"+version)

	f, ok := w.repos[url+"@"+version]
	if !ok {
		return nil, errors.New("repository not found")
	}

	w.open++

	return &checkout{f, w}, nil
}

type checkout struct {
	files
	web *web
}

func (c *checkout) Stat(name string) (int64, bool, error) {
	if content, ok := c.files[name]; ok {
		return int64(len(content)), false, nil
	}

	for f := range c.files {
		if name == "." || strings.HasPrefix(f, name+"/") {
			return 0, true, nil
		}
	}

	return 0, false, fs.ErrNotExist
}

func (c *checkout) Open(_ context.Context, name string) (io.ReadCloser, error) {
	return io.NopCloser(bytes.NewReader([]byte(c.files[name]))), nil
}

func (c *checkout) Close() { c.web.open-- }

func resources(refs ...string) string { return "resources: ['" + strings.Join(refs, "', '") + "']\n" }

const component = "apiVersion: kustomize.config.k8s.io/v1alpha1\nkind: Component\n"

func TestRemoteBases(t *testing.T) {
	const repo = "https://example.org/org/repo"

	cases := map[string]struct {
		reason string
		files  files
		path   string
		spec   Spec
		web    web
		want   string
		asked  []string
		err    []string
	}{
		"File": {
			reason: "A file of a server is a resource.",
			files:  files{"kustomization.yaml": "namePrefix: x-\n" + resources("a.yaml", "https://example.org/b.yaml"), "a.yaml": configMap("a")},
			web:    web{files: map[string]string{"https://example.org/b.yaml": configMap("b")}},
			want:   configMap("x-a") + "---\n" + configMap("x-b"), asked: []string{"https://example.org/b.yaml"},
		},
		"Repository": {
			reason: "A base in a repository is built with the bases and files that it names there.",
			files:  files{"app/kustomization.yaml": "nameSuffix: -s\n" + resources(repo+"/over?ref=v1")},
			path:   "app",
			web: web{repos: map[string]files{repo + "@v1": {
				"over/kustomization.yaml": "namePrefix: o-\n" + resources("../base", "o.yaml"), "over/o.yaml": configMap("o"),
				"base/kustomization.yaml": resources("b.yaml"), "base/b.yaml": configMap("b"),
			}}},
			want: configMap("o-b-s") + "---\n" + configMap("o-o-s"), asked: []string{repo + "@v1"},
		},
		"Bases": {
			reason: "The old field counts too, and components of repositories.",
			files:  files{"kustomization.yaml": "bases: ['" + repo + "//b']\ncomponents: ['" + repo + "//c']\n"},
			web: web{repos: map[string]files{repo + "@": {
				"b/kustomization.yml": resources("b.yaml"), "b/b.yaml": configMap("b"), "c/Kustomization": component + "namePrefix: c-\n",
			}}},
			want: configMap("c-b"), asked: []string{repo + "@", repo + "@"},
		},
		"Nested": {
			reason: "What was fetched may name more; the same is fetched once.",
			files: files{
				"kustomization.yaml":     resources("one", "https://example.org/a/b?ref=1"),
				"one/kustomization.yaml": "namePrefix: one-\n" + resources("https://example.org/x.yaml"),
			},
			web: web{
				files: map[string]string{"https://example.org/x.yaml": configMap("x")},
				repos: map[string]files{
					"https://example.org/a/b@1": {"kustomization.yaml": "namePrefix: b-\n" + resources("https://example.org/x.yaml", "https://example.org/c/d//e?ref=2")},
					"https://example.org/c/d@2": {"e/kustomization.yaml": resources("y.yaml"), "e/y.yaml": configMap("y")},
				},
			},
			want:  configMap("one-x") + "---\n" + configMap("b-x") + "---\n" + configMap("b-y"),
			asked: []string{"https://example.org/a/b@1", "https://example.org/x.yaml", "https://example.org/c/d@2"},
		},
		"Page": {
			reason: "What is no file of objects is taken for a repository.",
			files:  files{"kustomization.yaml": resources(repo)},
			web: web{
				files: map[string]string{repo: "<!doctype html>\n<html>"},
				repos: map[string]files{repo + "@": {"kustomization.yaml": resources("a.yaml"), "a.yaml": configMap("a")}},
			},
			want: configMap("a"), asked: []string{repo, repo + "@"},
		},
		"Schema": {
			reason: "A base elsewhere may bring a schema.",
			files:  files{"kustomization.yaml": resources(repo + "?ref=v1")},
			web:    web{repos: map[string]files{repo + "@v1": ownSchema}},
			asked:  []string{repo + "@v1"},
			want:   "-",
		},
		"Origins": {
			reason: "Annotations tell where an object comes from.",
			files:  files{"app/kustomization.yaml": resources(repo+"/b?ref=v1", "https://example.org/x.yaml", "../own")},
			path:   "app",
			spec:   Spec{BuildMetadata: []string{"originAnnotations"}},
			web: web{
				files: map[string]string{"https://example.org/x.yaml": configMap("x")},
				repos: map[string]files{repo + "@v1": {"b/kustomization.yaml": resources("b.yaml"), "b/b.yaml": configMap("b")}},
			},
			asked: []string{repo + "@v1", "https://example.org/x.yaml"},
			want:  "-",
		},
		"Missing": {
			reason: "An error names the file and the reference, without what may be secret.",
			files:  files{"app/kustomization.yaml": resources(repo + "?ref=v1&token=s3cret")}, path: "app",
			asked: []string{repo + "@v1"},
			err:   []string{`"app/kustomization.yaml": get "` + repo + `": repository not found`},
		},
		"MissingDirectory": {
			reason: "The path has to be in the repository.",
			files:  files{"kustomization.yaml": resources(repo + "//dir")},
			web:    web{repos: map[string]files{repo + "@": {"a.yaml": configMap("a")}}},
			asked:  []string{repo + "@"}, err: []string{`"dir" in the repository: file does not exist`},
		},
		"BrokenBase": {
			reason: "What is wrong in a repository is told with its URL.",
			files:  files{"kustomization.yaml": resources(repo + "//dir")},
			web:    web{repos: map[string]files{repo + "@": {"dir/kustomization.yaml": resources("gone.yaml")}}},
			asked:  []string{repo + "@"}, err: []string{repo + "/dir/gone.yaml"},
		},
		"Escape": {
			reason: "A base elsewhere must not read the artifact.",
			files:  files{"kustomization.yaml": resources(repo + "//dir"), "secret.yaml": configMap("secret")},
			web:    web{repos: map[string]files{repo + "@": {"dir/kustomization.yaml": resources("../../../artifact/secret.yaml")}}},
			asked:  []string{repo + "@"}, err: []string{"path", "leads out of the repository"},
		},
		"EscapeGenerator": {
			reason: "Not by a generator either.",
			files:  files{"kustomization.yaml": resources(repo + "//dir"), "secret.txt": "s3cret"},
			web: web{repos: map[string]files{repo + "@": {
				"dir/kustomization.yaml": "configMapGenerator: [{name: a, files: [k=../../../artifact/secret.txt]}]\n",
			}}},
			asked: []string{repo + "@"}, err: []string{"leads out of the repository"},
		},
		"EscapePlugin": {
			reason: "Nor by the configuration of a plugin.",
			files:  files{"kustomization.yaml": resources(repo + "//dir"), "secret.txt": "s3cret"},
			web: web{repos: map[string]files{repo + "@": {
				"dir/kustomization.yaml": "generators: [g.yaml]\n",
				"dir/g.yaml":             "apiVersion: builtin\nkind: ConfigMapGenerator\nmetadata: {name: a}\nfiles: [k=../../../artifact/secret.txt]\n",
			}}},
			asked: []string{repo + "@"}, err: []string{"leads out of the repository"},
		},
		"Intrusion": {
			reason: "The artifact reads what was fetched by its URL only.",
			files:  files{"kustomization.yaml": resources(repo+"//dir", "../.fetched/0/other.yaml")},
			web:    web{repos: map[string]files{repo + "@": {"dir/kustomization.yaml": resources("x.yaml"), "dir/x.yaml": configMap("x"), "other.yaml": configMap("other")}}},
			err:    []string{"leads out of the repository"},
		},
		"OtherFields": {
			reason: "Only resources, bases and components may lie elsewhere.",
			files:  files{"kustomization.yaml": "crds: ['https://example.org/x.yaml']\n" + resources("a.yaml"), "a.yaml": configMap("a")},
			err:    []string{`remote reference "https://example.org/x.yaml" in "kustomization.yaml" is refused`},
		},
		"SpecComponent": {
			reason: "Components of the spec are local.",
			files:  files{"a.yaml": configMap("a")}, spec: Spec{Components: []string{repo}},
			err: []string{"component path '" + repo + "' must be local and relative"},
		},
		"SSH": {
			reason: "Nothing is fetched with credentials.",
			files:  files{"kustomization.yaml": resources("git@github.com:org/repo")},
			err:    []string{`"kustomization.yaml": get "git@github.com:org/repo": nothing is fetched over SSH`},
		},
		"Cycle": {
			reason: "A base that names itself is an error.",
			files:  files{"kustomization.yaml": resources(repo + "//dir")},
			web:    web{repos: map[string]files{repo + "@": {"dir/kustomization.yaml": resources(repo + "//dir")}}},
			asked:  []string{repo + "@"}, err: []string{"cycle detected"},
		},
		"TooMany": {
			reason: "There is an end to it.",
			files:  files{"kustomization.yaml": resources(urls(maxFetched + 1)...)},
			web:    web{files: contents(maxFetched + 1)},
			asked:  urls(maxFetched), err: []string{"more than 32 remote references"},
		},
	}

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			b := New(Options{Fetcher: &tc.web})

			set, err := b.Build(context.Background(), Request{
				Dir:  tc.files.with("own/kustomization.yaml", resources("o.yaml")).with("own/o.yaml", configMap("own")).write(t),
				Path: tc.path, Spec: tc.spec, Digest: "sha256:1",
			})

			if diff := cmp.Diff(tc.asked, tc.web.asked); diff != "" {
				t.Errorf("%s\nasked for: -want, +got:\n%s", tc.reason, diff)
			}

			if tc.web.open != 0 {
				t.Errorf("%s\n%d repositories are left open", tc.reason, tc.web.open)
			}

			if tc.err != nil {
				wantError(t, tc.reason, err, tc.err...)

				if strings.Contains(err.Error(), "s3cret") || strings.Contains(err.Error(), ".fetched/") && name != "Intrusion" {
					t.Errorf("%s\nBuild(): error %v", tc.reason, err)
				}

				return
			}

			if err != nil {
				t.Fatalf("%s\nBuild(): %v", tc.reason, err)
			}

			if got := set.stream(t); tc.want != "-" && got != tc.want {
				t.Errorf("%s\nBuild(): -want, +got:\n%s", tc.reason, cmp.Diff(tc.want, got))
			}

			if name == "Origins" {
				wantOrigins(t, set)
			}

			if again, _ := b.Lookup(Request{Digest: "sha256:1", Path: tc.path, Spec: tc.spec}); again != nil || !set.Fetched {
				t.Errorf("%s\nkept %v, fetched %v: what was fetched may change", tc.reason, again != nil, set.Fetched)
			}
		})
	}
}

func wantOrigins(t *testing.T, set *Set) {
	t.Helper()

	want := []string{
		"path: b/b.yaml\nrepo: https://example.org/org/repo\nref: v1\n", "path: https://example.org/x.yaml\n", "path: ../own/o.yaml\n",
	}

	var got []string
	for _, u := range set.Objects {
		got = append(got, u.GetAnnotations()[originAnnotation])
	}

	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("origins: -want, +got:\n%s", diff)
	}
}

func (f files) with(name, content string) files { return with(f, name, content) }

func urls(n int) []string {
	var all []string
	for i := range n {
		all = append(all, fmt.Sprintf("https://example.org/%d.yaml", i))
	}

	return all
}

func contents(n int) map[string]string {
	all := map[string]string{}
	for i, u := range urls(n) {
		all[u] = configMap(fmt.Sprint("a", i))
	}

	return all
}
