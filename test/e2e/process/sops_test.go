package process

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/weir-dev/weir/test/e2e/platform"
	"github.com/weir-dev/weir/test/gitserver"
	"github.com/weir-dev/weir/test/sops"
)

// decrypted begins all that only the cluster's Secrets may hold.
const decrypted = "swordfish-"

// TestSOPS delivers encrypted files from a Git repository, turns the keys over, and looks for what was decrypted wherever it must
// not be.
func TestSOPS(t *testing.T) {
	s := newStage(t, "--sops-age-secret=sops-age", "--log-level=trace")
	name := s.namespace(t, "sops")
	tool := must(sops.Open(t.Context(), t.Output()))(t)
	t.Cleanup(tool.Close)

	first, second, own := must(tool.AgeKey())(t), must(tool.AgeKey())(t), must(tool.AgeKey())(t)
	pgp := must(tool.PGPKey(t.Context(), "rsa2048", ""))(t)

	// The key of the process lies in its namespace.
	flux := platform.Object(platform.Core("Namespace"), "", "flux-system")
	s.apply(t, flux, keySecret("flux-system", "sops-age", "own.agekey", own))
	s.apply(t, keySecret(name, "keys", "first.agekey", first))

	files := func(value string, to ...string) map[string]string {
		encrypt := func(content, format string, args ...string) string {
			return string(must(tool.Encrypt(t.Context(), []byte(content), format, append(args, to...)...))(t))
		}

		return map[string]string{
			"app/kustomization.yaml": "resources: [secret.yaml]\ngeneratorOptions: {disableNameSuffixHash: true}\n" +
				"secretGenerator:\n- name: generated\n  files: [key.pem]\n  envs: [vars.env]\n",
			"app/secret.yaml": encrypt("apiVersion: v1\nkind: Secret\nmetadata:\n  name: whole\nstringData:\n  password: "+decrypted+value+"\n",
				"yaml", "--encrypted-regex", "^stringData$"),
			"app/key.pem":  encrypt(decrypted+value+"\n", "binary"),
			"app/vars.env": encrypt("TOKEN="+decrypted+value+"\n", "dotenv"),
		}
	}

	// What the key of the process decrypts, in another path.
	all := files("one", "--age", first.Recipient)
	for path, content := range files("process", "--age", own.Recipient, "--pgp", pgp.Recipient) {
		all[strings.Replace(path, "app/", "own/", 1)] = content
	}

	repo, revision := s.repository(t, name, gitserver.Change{Files: all})
	source := s.source(name, "secrets", s.git.URL(repo))
	byOwn, planned := s.namespace(t, "sops-own"), s.namespace(t, "sops-planned")
	withKeys := map[string]any{"decryption": map[string]any{"provider": "sops", "secretRef": map[string]any{"name": "keys"}}}
	bySecret := s.delivery(name, "app", "secrets", "app", withKeys)
	byProcess := s.delivery(name, "own", "secrets", "own", map[string]any{
		"decryption": map[string]any{"provider": "sops"}, "targetNamespace": byOwn,
	})

	waiting := map[string]any{"plan": "Manual", "targetNamespace": planned}
	maps.Copy(waiting, withKeys)

	s.apply(t, source, bySecret, byProcess, s.delivery(name, "waiting", "secrets", "app", waiting))
	s.await(t, "delivered", platform.Delivered(revision, [2]string{name, "app"}, [2]string{name, "own"}))
	s.wantSecrets(t, name, "one")
	s.wantSecrets(t, byOwn, "process")
	s.await(t, "planned", func(now platform.Snapshot) error {
		if plan := now.Get(platform.Core("ConfigMap"), name, "waiting-plan"); plan == nil {
			return fmt.Errorf("there is no plan")
		}

		return nil
	})

	// A change of the Secret alone starts a run: nothing else would, for an hour.
	s.apply(t, keySecret(name, "keys", "second.agekey", second))
	s.await(t, "refused with another key", reports(name, "app", "False", "BuildFailed", "no key for it in decryption secret '"+name+"/keys'"))
	s.wantSecrets(t, name, "one")
	s.apply(t, keySecret(name, "keys", "first.agekey", first))
	s.await(t, "delivered with the key again", platform.Delivered(revision, [2]string{name, "app"}))

	// The keys are turned over: first the files, then the Secret.
	revision = s.commit(t, repo, gitserver.Change{Files: files("two", "--age", second.Recipient)})
	s.request(t, source)
	s.await(t, "waiting for the key", reports(name, "app", "False", "BuildFailed", "no key for it"))
	s.apply(t, keySecret(name, "keys", "second.agekey", second))
	s.await(t, "turned over", platform.Delivered(revision, [2]string{name, "app"}))
	s.wantSecrets(t, name, "two")

	s.wantDiscretion(t, name, byOwn, planned)
}

// keySecret is a Secret with a private key whose changes are watched.
func keySecret(namespace, name, entry string, key sops.Key) *unstructured.Unstructured {
	o := platform.Object(platform.Core("Secret"), namespace, name)
	o.SetLabels(map[string]string{"reconcile.fluxcd.io/watch": "Enabled"})
	o.Object["data"] = map[string]any{entry: base64.StdEncoding.EncodeToString(key.Private)}

	return o
}

// reports waits for a Kustomization whose Ready condition is as given.
func reports(namespace, name, state, reason, message string) func(platform.Snapshot) error {
	return func(now platform.Snapshot) error {
		o := now.Get(platform.Kustomization(), namespace, name)
		if o == nil {
			return fmt.Errorf("there is no %s", name)
		}

		gotState, gotReason, gotMessage := platform.Condition(o, "Ready")
		if gotState != state || gotReason != reason || !strings.Contains(gotMessage, message) {
			return fmt.Errorf("Ready of %s is %s %s: %s", name, gotState, gotReason, gotMessage)
		}

		return nil
	}
}

// wantSecrets compares the Secrets that were delivered.
func (s *stage) wantSecrets(t *testing.T, namespace, value string) {
	t.Helper()

	want := map[string]map[string]string{
		"whole": {"password": decrypted + value}, "generated": {"key.pem": decrypted + value + "\n", "TOKEN": decrypted + value},
	}

	for _, o := range s.list(t, namespace, "v1", "SecretList") {
		for key, text := range want[o.GetName()] {
			if got := must(base64.StdEncoding.DecodeString(platform.Text(&o, "data", key)))(t); string(got) != text {
				t.Errorf("%s of Secret %s/%s is %q, want %q", key, namespace, o.GetName(), got, text)
			}
		}

		delete(want, o.GetName())
	}

	for name := range want {
		t.Errorf("there is no Secret %s/%s", namespace, name)
	}
}

// wantDiscretion looks for what was decrypted in all objects but Secrets, in the log, and in the folder of the manager.
func (s *stage) wantDiscretion(t *testing.T, namespaces ...string) {
	t.Helper()

	for _, namespace := range namespaces {
		for apiVersion, kind := range map[string]string{
			"v1": "EventList", "events.k8s.io/v1": "EventList", "kustomize.toolkit.fluxcd.io/v1": "KustomizationList", "source.toolkit.fluxcd.io/v1": "GitRepositoryList",
		} {
			s.conceals(t, s.list(t, namespace, apiVersion, kind))
		}

		s.conceals(t, s.list(t, namespace, "v1", "ConfigMapList"))
	}

	if plan := s.list(t, namespaces[0], "v1", "ConfigMapList"); !strings.Contains(fmt.Sprint(plan), "Secret/"+namespaces[2]+"/whole created") {
		t.Errorf("the plan does not tell of the Secret: %v", plan)
	}

	var files int

	walk := func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}

		files++

		content, err := os.ReadFile(path)
		if bytes.Contains(content, []byte(decrypted)) {
			t.Errorf("%s holds what was decrypted", path)
		}

		return err
	}
	if err := filepath.WalkDir(filepath.Dir(s.manager.Log()), walk); err != nil || files < 2 {
		t.Errorf("looked through %d files: %v", files, err)
	}
}

func (s *stage) conceals(t *testing.T, objects []unstructured.Unstructured) {
	t.Helper()

	for _, o := range objects {
		if text := fmt.Sprint(o.Object); strings.Contains(text, decrypted) || strings.Contains(text, base64.StdEncoding.EncodeToString([]byte(decrypted))[:10]) {
			t.Errorf("%s %s shows what was decrypted: %s", o.GetKind(), o.GetName(), text)
		}
	}
}
