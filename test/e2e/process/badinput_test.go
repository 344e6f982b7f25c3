package process

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/weir-dev/weir/test/e2e/platform"
	"github.com/weir-dev/weir/test/gitserver"
)

// good is part of most sets: it must not be applied, for the set as a whole is not.
const good = `apiVersion: v1
kind: ConfigMap
metadata:
  name: good
data:
  half: applied
`

// verdict is what becomes of a bad input: a condition of the source or of the delivery, which names the file or object and
// the reason.
type verdict struct {
	kind   string // of the object that says it
	reason string
	says   []string
}

// TestBadInput brings bad input in, all at once and next to a healthy fleet, by the way that any input takes.
func TestBadInput(t *testing.T) {
	s := newStage(t)
	hanging := must(s.repos.ServeHTTP(t.Context(), gitserver.HTTPOptions{}))(t)
	t.Cleanup(hanging.Close)
	hanging.Hang(true)

	healthy := s.namespace(t, "healthy")
	repo, revision := s.repository(t, healthy, gitserver.Change{Files: map[string]string{"good.yaml": good}})
	source := s.source(healthy, "fleet", s.git.URL(repo))
	s.apply(t, source, s.delivery(healthy, "fleet", "fleet", "", nil))

	cases := map[string]struct {
		reason string
		change gitserver.Change
		tree   func(t *testing.T, repo *gitserver.Repository) // in place of change
		server *gitserver.HTTP                                // in place of the one that answers
		source map[string]any                                 // more of the source's spec
		spec   map[string]any                                 // more of the delivery's spec
		path   string
		want   verdict
	}{
		"invalid-manifest": {
			reason: "a file that is not YAML stops the build of the set",
			change: files("good.yaml", good, "broken.yaml", "apiVersion: v1\nkind: ConfigMap\n  metadata: [\n"),
			want:   verdict{"Kustomization", "BuildFailed", []string{"broken.yaml", "line 3"}},
		},
		"no-kind": {
			reason: "a document that is no Kubernetes object stops the build of the set",
			change: files("good.yaml", good, "values.yaml", "replicas: 1\n"),
			want:   verdict{"Kustomization", "BuildFailed", []string{"values.yaml", "kind"}},
		},
		"unknown-field": {
			reason: "the API server refuses a field that the kind does not have, before anything is applied",
			change: files("good.yaml", good, "typo.yaml", deployment("typo", "replicsa: 3")),
			want:   verdict{"Kustomization", "ReconciliationFailed", []string{"Deployment/NAMESPACE/typo", "replicsa", `"typo.yaml"`}},
		},
		"unknown-kind": {
			reason: "a kind that is not served stops the set",
			change: files("good.yaml", good, "what.yaml", "apiVersion: example.com/v1\nkind: What\nmetadata:\n  name: what\n"),
			want:   verdict{"Kustomization", "ReconciliationFailed", []string{"What/NAMESPACE/what", "example.com/v1", `"what.yaml"`}},
		},
		"git-timeout": {
			reason: "a server that takes requests and never answers holds nothing up",
			change: files("good.yaml", good),
			server: hanging,
			source: map[string]any{"timeout": "2s"},
			want:   verdict{"GitRepository", "GitOperationFailed", []string{hanging.Addr, "timed out after 2s"}},
		},
		"path-escapes": {
			reason: "a path that leaves the repository leads nowhere",
			change: files("good.yaml", good),
			path:   "../../../../etc",
			want:   verdict{"Kustomization", "ArtifactFailed", []string{"../../../../etc", "outside of the artifact"}},
		},
		"resource-escapes": {
			reason: "a resource outside the repository is not read",
			change: files("good.yaml", good, "kustomization.yaml", "resources: [good.yaml, ../../../../../../etc/hostname]\n"),
			want:   verdict{"Kustomization", "BuildFailed", []string{`"kustomization.yaml"`, "../../../../../../etc/hostname", "outside of the artifact"}},
		},
		"link-escapes": {
			reason: "a symbolic link out of the repository is not followed",
			change: gitserver.Change{
				Files:    files("good.yaml", good, "kustomization.yaml", "resources: [good.yaml, link.yaml]\n").Files,
				Symlinks: map[string]string{"link.yaml": "/etc/hostname"},
			},
			want: verdict{"GitRepository", "ArchiveOperationFailed", []string{"link.yaml", "/etc/hostname", "out of the tree"}},
		},
		"large-file": {
			reason: "a file of 10 GiB that compresses to 10 MB is neither stored nor held in memory",
			tree:   largeFile,
			want:   verdict{"GitRepository", "GitOperationFailed", []string{"large.bin", "limit"}},
		},
		"remote-base": {
			reason: "a build fetches nothing",
			change: files("good.yaml", good, "kustomization.yaml", "resources: [good.yaml, \"https://example.com/base.git//deploy?ref=v1\"]\n"),
			want:   verdict{"Kustomization", "BuildFailed", []string{"kustomization.yaml", "https://example.com/base.git//deploy", "refused"}},
		},
	}

	namespaces := map[string]string{}

	for _, name := range slices.Sorted(maps.Keys(cases)) {
		tc, namespace := cases[name], s.namespace(t, name)
		namespaces[name] = namespace

		repo := must(s.repos.Create(deadline(t, patience), name))(t)
		if tc.tree != nil {
			tc.tree(t, repo)
		} else {
			s.commit(t, repo, tc.change)
		}

		server := s.git
		if tc.server != nil {
			server = tc.server
		}

		source := s.source(namespace, "bad", server.URL(repo))
		maps.Copy(source.Object["spec"].(map[string]any), tc.source) //nolint:forcetypeassert // made so
		s.apply(t, source, s.delivery(namespace, "bad", "bad", tc.path, tc.spec))
	}

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			s.await(t, tc.reason, tc.want.said(namespaces[name]))

			for _, o := range s.list(t, namespaces[name], "v1", "ConfigMap") {
				if o.GetName() == "good" {
					t.Errorf("the set was applied in part: %s", platform.Name(&o))
				}
			}
		})
	}

	s.frugal(t)
	s.await(t, "the healthy fleet is ready", platform.Delivered(revision, [2]string{healthy, "fleet"}))

	revision = s.commit(t, repo, files("good.yaml", good, "more.yaml", strings.ReplaceAll(good, "name: good", "name: more")))
	s.request(t, source)
	s.await(t, "the healthy fleet follows", platform.Delivered(revision, [2]string{healthy, "fleet"}))
}

// frugal checks that nothing of the large file is kept: there is far more of it than of everything else.
func (s *stage) frugal(t *testing.T) {
	t.Helper()

	const enough = 512 << 20

	if peak, ok := s.manager.PeakMemory(); ok && peak > enough {
		t.Errorf("the manager took %d MB of memory", peak>>20)
	}

	stored := int64(0)
	err := filepath.WalkDir(s.manager.Storage(), func(_ string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) || err == nil && d.IsDir() {
			return nil
		}

		if err != nil {
			return err
		}

		if info, err := d.Info(); err == nil { // it may be gone already
			stored += info.Size()
		}

		return nil
	})

	if err != nil || stored > enough {
		t.Errorf("the manager has stored %d MB, error %v", stored>>20, err)
	}
}

// said is a condition: the object says no, and why.
func (v verdict) said(namespace string) func(platform.Snapshot) error {
	return v.saidBy(namespace, "bad")
}

func (v verdict) saidBy(namespace, name string) func(platform.Snapshot) error {
	kind := platform.Kustomization()
	if v.kind == "GitRepository" {
		kind = platform.GitRepository()
	}

	return func(s platform.Snapshot) error {
		o := s.Get(kind, namespace, name)
		if o == nil {
			return errors.New("the object is not there")
		}

		state, reason, message := platform.Condition(o, "Ready")
		for _, part := range v.says {
			part = strings.ReplaceAll(part, "NAMESPACE", namespace)
			if !strings.Contains(message, part) {
				return fmt.Errorf("%s is Ready=%s %s without %q: %s", platform.Name(o), state, reason, part, message)
			}
		}

		if state != "False" || reason != v.reason {
			return fmt.Errorf("%s is Ready=%s %s, not False %s: %s", platform.Name(o), state, reason, v.reason, message)
		}

		return nil
	}
}

// files makes a change of pairs of path and content.
func files(pairs ...string) gitserver.Change {
	c := gitserver.Change{Files: map[string]string{}}
	for pair := range slices.Chunk(pairs, 2) {
		c.Files[pair[0]] = pair[1]
	}

	return c
}

// deployment is one that runs nothing, with a line more in its spec.
func deployment(name, line string) string {
	return fmt.Sprintf(`apiVersion: apps/v1
kind: Deployment
metadata:
  name: %[1]s
spec:
  %[2]s
  replicas: 0
  selector:
    matchLabels:
      app: %[1]s
  template:
    metadata:
      labels:
        app: %[1]s
    spec:
      containers:
        - name: web
          image: example.com/web:1
`, name, line)
}

// largeFile commits a manifest beside the file of 10 GiB.
func largeFile(t *testing.T, repo *gitserver.Repository) {
	t.Helper()
	addSparse(t, repo)

	ctx := deadline(t, patience)
	manifest := must(repo.WriteObject(ctx, "blob", []byte(good)))(t)
	tree := must(repo.WriteObject(ctx, "tree", slices.Concat(
		treeEntry(t, "good.yaml", manifest), treeEntry(t, "large.bin", sparseID),
	)))(t)
	must(repo.CommitTree(ctx, "main", "Add a large file", tree))(t)
}
