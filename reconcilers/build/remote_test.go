package build

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
)

// witness notices every attempt to reach the network: it serves HTTP and stands in for the git program.
type witness struct {
	url  string
	hits atomic.Int64
	log  string
}

func newWitness(t *testing.T) *witness {
	t.Helper()

	w := &witness{log: filepath.Join(t.TempDir(), "git.log")}

	server := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
		w.hits.Add(1)
		rw.WriteHeader(http.StatusNotFound)
	}))
	t.Cleanup(server.Close)
	w.url = server.URL

	bin := t.TempDir()
	script := "#!/bin/sh\necho \"$@\" >> " + w.log + "\nexit 1\n"

	if err := os.WriteFile(filepath.Join(bin, "git"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}

	t.Setenv("PATH", bin+":/usr/bin:/bin")

	return w
}

// seen tells whether anything was fetched since the last call.
func (w *witness) seen(t *testing.T) bool {
	t.Helper()

	_, err := os.Stat(w.log)
	if err == nil {
		if err := os.Remove(w.log); err != nil {
			t.Fatal(err)
		}
	}

	return w.hits.Swap(0) > 0 || err == nil
}

func TestNothingIsFetched(t *testing.T) {
	w := newWitness(t)
	builtin := func(kind, rest string) string {
		return "apiVersion: builtin\nkind: " + kind + "\nmetadata: {name: p}\n" + rest
	}

	cases := map[string]struct {
		reason string
		files  files
		// fetches says that the library alone would reach out, which shows that the case tests something.
		fetches bool
	}{
		"HTTPResource":      {"A file over HTTP is remote.", files{"kustomization.yaml": "resources: [" + w.url + "/a.yaml]\n"}, true},
		"UpperCaseScheme":   {"Schemes have no case.", files{"kustomization.yaml": "resources: ['" + strings.Replace(w.url, "http", "HTTP", 1) + "/a.yaml']\n"}, true},
		"Bases":             {"Bases are resources.", files{"kustomization.yaml": "bases: [" + w.url + "/org/repo]\n"}, true},
		"Nested":            {"Kustomizations below are checked too.", files{"kustomization.yaml": "resources: [a]\n", "a/Kustomization": "resources: [../b]\n", "b/kustomization.yml": "resources: ['" + w.url + "/x']\n"}, true},
		"Component":         {"Components are cloned.", files{"kustomization.yaml": "components: ['https://127.0.0.1:1/org/repo']\n"}, true},
		"GitHub":            {"The short form is cloned.", files{"kustomization.yaml": "resources: ['github.com/org/repo//path?ref=v1']\n"}, true},
		"GitHubUpperCase":   {"In any case.", files{"kustomization.yaml": "resources: [GitHub.com/org/repo]\n"}, true},
		"GitHubColon":       {"With a colon.", files{"kustomization.yaml": "resources: ['github.com:org/repo']\n"}, true},
		"SCP":               {"user@host:path is cloned.", files{"kustomization.yaml": "resources: ['git@127.0.0.1:org/repo']\n"}, true},
		"SCPSuffix":         {"One segment with .git is enough.", files{"kustomization.yaml": "resources: ['git@127.0.0.1:repo.git']\n"}, true},
		"SCPSlash":          {"A slash separates the host as well.", files{"kustomization.yaml": "resources: ['git@127.0.0.1/org/repo']\n"}, true},
		"SCPEmptyHost":      {"Whatever the host is.", files{"kustomization.yaml": "resources: ['git@/org/repo']\n"}, true},
		"SCPColonHost":      {"Also a colon.", files{"kustomization.yaml": "resources: ['git@:org/repo/x']\n"}, true},
		"SSH":               {"SSH is cloned.", files{"kustomization.yaml": "resources: ['ssh://git@127.0.0.1/org/repo']\n"}, true},
		"File":              {"A repository of this machine is cloned.", files{"kustomization.yaml": "resources: ['file:///tmp/repo']\n"}, true},
		"Forced":            {"git:: is stripped.", files{"kustomization.yaml": "resources: ['git::https://127.0.0.1:1/org/repo']\n"}, true},
		"Patch":             {"A patch may be remote.", files{"kustomization.yaml": "resources: [a.yaml]\npatches: [{path: '" + w.url + "/p'}]\n", "a.yaml": configMap("a")}, true},
		"Patch6902":         {"An old patch too.", files{"kustomization.yaml": "resources: [a.yaml]\npatchesJson6902: [{path: '" + w.url + "/p', target: {version: v1, kind: ConfigMap, name: a}}]\n", "a.yaml": configMap("a")}, true},
		"StrategicMerge":    {"And the other old one.", files{"kustomization.yaml": "resources: [a.yaml]\npatchesStrategicMerge: ['" + w.url + "/p']\n", "a.yaml": configMap("a")}, true},
		"Replacement":       {"A replacement may be remote.", files{"kustomization.yaml": "resources: [a.yaml]\nreplacements: [{path: '" + w.url + "/p'}]\n", "a.yaml": configMap("a")}, true},
		"OpenAPI":           {"A schema may be remote.", files{"kustomization.yaml": "resources: [a.yaml]\nopenapi: {path: '" + w.url + "/p'}\n", "a.yaml": configMap("a")}, true},
		"CRDs":              {"CRDs may be remote.", files{"kustomization.yaml": "resources: [a.yaml]\ncrds: ['" + w.url + "/p']\n", "a.yaml": configMap("a")}, true},
		"Configurations":    {"Configurations may be remote.", files{"kustomization.yaml": "resources: [a.yaml]\nconfigurations: ['" + w.url + "/p']\n", "a.yaml": configMap("a")}, true},
		"GeneratorFile":     {"A generator reads files.", files{"kustomization.yaml": "configMapGenerator: [{name: a, files: ['k=" + w.url + "/p']}]\n"}, true},
		"GeneratorEnv":      {"And environments.", files{"kustomization.yaml": "secretGenerator: [{name: a, env: '" + w.url + "/p'}]\n"}, true},
		"GeneratorEnvs":     {"And several of them.", files{"kustomization.yaml": "secretGenerator: [{name: a, envs: ['" + w.url + "/p']}]\n"}, true},
		"CaseInsensitive":   {"Fields have no case.", files{"kustomization.yaml": "RESOURCES: ['" + w.url + "/p']\n"}, true},
		"Transformers":      {"A list of plugins may be remote.", files{"kustomization.yaml": "resources: [a.yaml]\ntransformers: ['" + w.url + "/p']\n", "a.yaml": configMap("a")}, true},
		"PluginFile":        {"A plugin names files.", files{"kustomization.yaml": "resources: [a.yaml]\ntransformers: [t.yaml]\n", "a.yaml": configMap("a"), "t.yaml": builtin("PatchTransformer", "path: "+w.url+"/p\n")}, true},
		"PluginCase":        {"In any case.", files{"kustomization.yaml": "resources: [a.yaml]\ntransformers: [t.yaml]\n", "a.yaml": configMap("a"), "t.yaml": builtin("PatchTransformer", "PATH: "+w.url+"/p\n")}, true},
		"PluginAlias":       {"By an alias.", files{"kustomization.yaml": "resources: [a.yaml]\ntransformers: [t.yaml]\n", "a.yaml": configMap("a"), "t.yaml": builtin("PatchTransformer", "x: &x "+w.url+"/p\npath: *x\n")}, true},
		"PluginMerge":       {"By a merge.", files{"kustomization.yaml": "resources: [a.yaml]\ntransformers: [t.yaml]\n", "a.yaml": configMap("a"), "t.yaml": builtin("PatchTransformer", "x: &x {path: "+w.url+"/p}\n<<: *x\n")}, true},
		"PluginInline":      {"Inline.", files{"kustomization.yaml": "generators:\n- |\n  apiVersion: builtin\n  kind: ConfigMapGenerator\n  metadata: {name: a}\n  files: ['k=" + w.url + "/p']\n"}, true},
		"PluginInList":      {"In a list.", files{"kustomization.yaml": "generators: [l.yaml]\n", "l.yaml": "apiVersion: v1\nkind: List\nitems:\n- apiVersion: builtin\n  kind: SecretGenerator\n  metadata: {name: a}\n  envs: ['" + w.url + "/p']\n"}, true},
		"PluginDirectory":   {"In a directory.", files{"kustomization.yaml": "resources: [a.yaml]\nvalidators: [d]\n", "a.yaml": configMap("a"), "d/kustomization.yaml": "resources: [e]\n", "d/e/kustomization.yaml": "resources: [t.txt]\n", "d/e/t.txt": builtin("PatchTransformer", "path: "+w.url+"/p\n")}, true},
		"PluginReplacement": {"In a list within.", files{"kustomization.yaml": "resources: [a.yaml]\ntransformers: [t.yaml]\n", "a.yaml": configMap("a"), "t.yaml": builtin("ReplacementTransformer", "replacements: [{path: "+w.url+"/p}]\n")}, true},
		"PluginComposed":    {"Put together by a patch.", files{"kustomization.yaml": "resources: [a.yaml]\ntransformers: [d]\n", "a.yaml": configMap("a"), "d/kustomization.yaml": "resources: [t.yaml]\npatches: [{patch: '[{\"op\": \"add\", \"path\": \"/path\", \"value\": \"" + w.url + "/p\"}]', target: {kind: PatchTransformer}}]\n", "d/t.yaml": builtin("PatchTransformer", "")}, true},
	}

	b := New(Options{})

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			_, err := b.Build(context.Background(), Request{Dir: tc.files.write(t)})

			if w.seen(t) {
				t.Fatalf("%s\nBuild() reached out", tc.reason)
			}

			if refused := new(RefusedError); !errors.As(err, &refused) {
				t.Errorf("%s\nBuild(): error %v, want a *RefusedError", tc.reason, err)
			}

			if got := control(t, w, tc.files); got != tc.fetches {
				t.Errorf("%s\nthe library alone reaches out: %v, want %v", tc.reason, got, tc.fetches)
			}
		})
	}
}

// control runs the library without the tree and tells whether it reached out.
func control(t *testing.T, w *witness, f files) bool {
	t.Helper()

	disk := filesys.MakeFsInMemory()
	for name, content := range f {
		if err := disk.WriteFile("/a/"+name, []byte(content)); err != nil {
			t.Fatal(err)
		}
	}

	if _, err := krusty.MakeKustomizer(options()).Run(disk, "/a"); err != nil {
		t.Logf("the library alone: %v", err)
	}

	return w.seen(t)
}

func TestLooksRemoteButIsLocal(t *testing.T) {
	f := files{
		"kustomization.yaml":    "resources: ['me@home/a.yaml', github.com.yaml, 'a@b.yaml', http.yaml]\nconfigMapGenerator: [{name: g, literals: ['url=https://example.org/org/repo'], options: {disableNameSuffixHash: true}}]\n",
		"me@home/a.yaml":        configMap("a"),
		"github.com.yaml":       configMap("b"),
		"a@b.yaml":              configMap("c"),
		"http.yaml":             configMap("d"),
		"values/unrelated.yaml": "url: https://example.org\n",
	}

	set, err := New(Options{}).Build(context.Background(), Request{Dir: f.write(t)})
	if err != nil {
		t.Fatal(err)
	}

	if got := len(set.Objects); got != 5 {
		t.Errorf("Build(): %d objects, want 5", got)
	}
}

func TestRefusedErrorHidesCredentials(t *testing.T) {
	for ref, want := range map[string]string{
		"https://user:s3cret@example.org/a?token=s3cret": "https://example.org/a",
		"https://s3cret@example.org":                     "https://example.org",
		"git@github.com:org/repo":                        "git@github.com:org/repo",
		"github.com/org/repo?ref=v1":                     "github.com/org/repo",
	} {
		got := remoteError("a/kustomization.yaml", ref).Error()
		if !strings.Contains(got, `"`+want+`"`) || strings.Contains(got, "s3cret") || !strings.Contains(got, `"a/kustomization.yaml"`) {
			t.Errorf("remoteError(%q): %s", ref, got)
		}
	}
}
