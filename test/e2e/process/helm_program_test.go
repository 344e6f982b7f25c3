package process

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/types"

	"github.com/weir-dev/weir/test/e2e/platform"
	"github.com/weir-dev/weir/test/helmcli"
	"github.com/weir-dev/weir/test/helmrepo"
)

// taken tells how what somebody has installed with helm is taken over, and how both get along after that.
func taken(version string) func(*testing.T, *story) {
	return func(t *testing.T, s *story) {
		p := must(helmcli.Open(t.Context(), helmcli.Versions()[version], pretended.Start(t).Kubeconfig(), t.TempDir(), t.Output()))(t)
		h := &byHand{story: s, version: version, program: p}
		h.files = helmrepo.WithHooks(version, "1.0.0")
		h.folder = filepath.Join(t.TempDir(), version)

		for path, content := range h.files {
			path = filepath.Join(h.folder, path)
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil { //nolint:gosec // nothing secret
				t.Fatal(err)
			}

			if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
		}

		h.run(t, "install", "app", h.folder, "--set", "value=hand", "--wait")
		uid := h.uid(t)

		s.push(t, version, "1.0.0", h.files)
		s.apply(t, s.chart(s.namespace, version, "1.0.0"), s.release(s.namespace, "app", version, map[string]any{
			"values": map[string]any{"value": "ours"},
		}))
		s.await(t, "taken over", s.became("True UpgradeSucceeded", "app.v2 with chart "+version+"@1.0.0+"), s.value("ours"))

		if got := h.uid(t); got != uid {
			t.Error("the object was deleted and created again")
		}

		h.reads(t, version)
		h.writes(t)
		s.gone(t)
	}
}

// byHand is somebody with the program helm.
type byHand struct {
	*story

	version string
	program *helmcli.Program
	files   map[string]string
	folder  string // of the chart
}

func (h *byHand) run(t *testing.T, args ...string) string {
	t.Helper()

	return must(h.program.Run(deadline(t, patience), h.namespace, args...))(t)
}

func (h *byHand) uid(t *testing.T) types.UID {
	t.Helper()

	o := platform.Object(platform.Core("ConfigMap"), h.namespace, "app")
	if err := h.client.Get(deadline(t, patience), keyOf(o), o); err != nil {
		t.Fatal(err)
	}

	return o.GetUID()
}

// anyway makes version 4 take what is ours: it asks the server before it does.
func (h *byHand) anyway(args ...string) []string {
	if h.version == "helm4" {
		args = append(args, "--force-conflicts")
	}

	return args
}

// reads looks at what was taken over.
func (h *byHand) reads(t *testing.T, chart string) {
	t.Helper()

	list := must(h.program.List(deadline(t, patience), h.namespace))(t)
	if len(list) != 1 || list[0].Name != "app" || list[0].Revision != 2 || list[0].Status != "deployed" ||
		!strings.HasPrefix(list[0].Chart, chart+"-1.0.0+") {
		t.Errorf("helm list: %+v", list)
	}

	h.history(t, "1 superseded Install complete", "2 deployed Upgrade complete")

	for _, say := range []struct {
		args []string
		want string
	}{
		{[]string{"status", "app"}, "STATUS: deployed"},
		{[]string{"get", "values", "app"}, "value: ours"},
		{[]string{"get", "values", "app", "--revision=1"}, "value: hand"},
		{[]string{"get", "manifest", "app"}, "helm.toolkit.fluxcd.io/name: app"},
		{[]string{"get", "hooks", "app"}, "name: app-pre"},
		{[]string{"test", "app"}, "Succeeded"},
	} {
		if out := h.run(t, say.args...); !strings.Contains(out, say.want) {
			t.Errorf("helm %q does not say %q: %s", say.args, say.want, out)
		}
	}
}

func (h *byHand) history(t *testing.T, want ...string) {
	t.Helper()

	var got []string
	for _, r := range must(h.program.History(deadline(t, patience), h.namespace, "app"))(t) {
		got = append(got, strings.TrimSpace(strings.Join([]string{string(rune('0' + r.Revision)), r.Status, r.Description}, " ")))
	}

	expect(t, "helm history", want, got)
}

// writes changes the release by hand. Whoever declared it gets it back when it is looked at.
func (h *byHand) writes(t *testing.T) {
	t.Helper()

	h.ask(t)
	h.await(t, "a test by hand changes nothing", h.became("True UpgradeSucceeded"), h.newest("v2 deployed"))

	h.run(t, h.anyway("rollback", "app", "1", "--wait")...)
	h.await(t, "helm has rolled back", h.value("hand"))
	h.ask(t)
	h.await(t, "it is as declared", h.became("True UpgradeSucceeded"), h.value("ours"), h.newest("v4 deployed"))
	h.history(t, "1 superseded Install complete", "2 superseded Upgrade complete", "3 superseded Rollback to 1", "4 deployed Upgrade complete")

	h.run(t, h.anyway("upgrade", "app", h.folder, "--set", "value=other", "--wait")...)
	h.await(t, "helm has upgraded", h.value("other"))
	h.ask(t)
	h.await(t, "it is as declared again", h.became("True UpgradeSucceeded"), h.value("ours"), h.newest("v6 deployed"))

	h.run(t, "uninstall", "app", "--wait")
	h.await(t, "helm has uninstalled", h.value("absent"))
	h.ask(t)
	h.await(t, "it is installed", h.became("True InstallSucceeded"), h.value("ours"), h.newest("v1 deployed"))
}
