package process

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/weir-dev/weir/test/e2e/platform"
	"github.com/weir-dev/weir/test/helmrepo"
)

const (
	killReleases = 100
	killPhases   = 3 // installs, upgrades, uninstalls
)

// fate is what becomes of a release, phase by phase: how it ends, and the value that its object has then.
type fate struct {
	chart string
	spec  map[string]any
	// later are the values of the second phase.
	later string
	ends  [2][]string
	value [2]string
}

// fates are what releases live through. Whatever is killed on the way, each ends so.
func fates() []fate {
	last := func(more map[string]any) map[string]any {
		more["remediation"] = map[string]any{"retries": int64(0), "remediateLastFailure": true}

		return more
	}
	done := []string{"True InstallSucceeded", "True UpgradeSucceeded"}
	tested := []string{"True TestSucceeded"}
	back := []string{"False RollbackSucceeded, stalled RetriesExceeded"}
	broken := map[string]any{"value": map[string]any{"not": "text"}}

	return []fate{
		{chart: "plain", later: `{"value":"two"}`, ends: [2][]string{done, done}, value: [2]string{"one", "two"}},
		{
			chart: "plain", spec: map[string]any{"upgrade": last(map[string]any{})}, later: `{"value":{"not":"text"}}`,
			ends: [2][]string{done, back}, value: [2]string{"one", "one"},
		},
		{
			chart: "plain", spec: map[string]any{"install": last(map[string]any{}), "upgrade": last(map[string]any{}), "values": broken},
			later: `{"value":"two"}`,
			ends:  [2][]string{{"False UninstallSucceeded, stalled RetriesExceeded"}, done}, value: [2]string{"absent", "two"},
		},
		{
			chart: "hooks", spec: map[string]any{"test": map[string]any{"enable": true}}, later: `{"value":"two"}`,
			ends: [2][]string{tested, tested}, value: [2]string{"none", "two"},
		},
		{
			chart: "hooks", spec: map[string]any{"upgrade": last(map[string]any{})}, later: failingPost,
			ends: [2][]string{done, back}, value: [2]string{"none", "none"},
		},
	}
}

// TestHelmKill takes a hundred releases from an install over an upgrade to an uninstall, some of which fail and are remediated, while
// the manager is killed again and again, at random points. Each release ends as it would in peace. WEIR_SEED repeats a run, and
// WEIR_KILLS makes it kill more often.
func TestHelmKill(t *testing.T) {
	t.Parallel()

	seed := uint64(time.Now().UnixNano())
	if s, err := strconv.ParseUint(os.Getenv("WEIR_SEED"), 10, 64); err == nil {
		seed = s
	}

	kills := 4
	if n, err := strconv.Atoi(os.Getenv("WEIR_KILLS")); err == nil {
		kills = n
	}

	t.Logf("WEIR_SEED=%d", seed)

	s := newHelmStage(t)
	s.track(t, platform.Core("Secret"))

	r := &killedReleases{
		helmStage: s, namespace: s.namespace(t, "helm-kill"),
		random: rand.New(rand.NewPCG(seed, 0)), //nolint:gosec // no secret: it is to be repeated
	}
	s.push(t, "plain", "1.0.0", plainChart())
	s.push(t, "hooks", "1.0.0", helmrepo.WithHooks("hooks", "1.0.0"))
	s.apply(t, s.chart(r.namespace, "plain", "1.0.0"), s.chart(r.namespace, "hooks", "1.0.0"))

	for phase := range killPhases {
		r.begin(t, phase)

		for range kills {
			r.changes(t, r.random.IntN(2*killReleases), phase)
			r.interrupted += len(r.pending(s.view.Now()))
			s.kill(t, false)
		}

		s.await(t, fmt.Sprintf("phase %d is over", phase), r.settled(phase))
		r.check(t, phase)
	}

	t.Logf("%d releases were pending when the manager was killed", r.interrupted)

	if r.interrupted == 0 {
		t.Errorf("WEIR_SEED=%d: no release was interrupted", seed)
	}
}

// plainChart has objects that nothing has to be waited for. A value that is no text makes the API server refuse one of them.
func plainChart() map[string]string {
	files := helmrepo.WithFamily("plain", "1.0.0")
	files["values.yaml"] = "global: {team: none}\nvalue: one\nstore: {enabled: true, size: small}\n"
	files["templates/account.yaml"] = "apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: '{{ .Release.Name }}'}\n"
	files["templates/service.yaml"] = "apiVersion: v1\nkind: Service\nmetadata: {name: '{{ .Release.Name }}'}\nspec: {ports: [{port: 80}]}\n"
	files["templates/config.yaml"] = strings.ReplaceAll(files["templates/config.yaml"], "value: {{ .Values.value | quote }}",
		"value: {{ .Values.value | toJson }}")

	return files
}

// killedReleases are the releases of one namespace.
type killedReleases struct {
	*helmStage

	namespace   string
	random      *rand.Rand
	interrupted int
}

func (r *killedReleases) each(fn func(name string, f fate)) {
	all := fates()
	for i := range killReleases {
		fn(fmt.Sprintf("app-%d", i), all[i%len(all)])
	}
}

// begin asks for all of a phase at once.
func (r *killedReleases) begin(t *testing.T, phase int) {
	t.Helper()

	r.each(func(name string, f fate) {
		switch phase {
		case 0:
			r.apply(t, r.release(r.namespace, name, f.chart, f.spec))
		case 1:
			r.edit(t, helmRelease(), r.namespace, name, `{"spec":{"values":`+f.later+`}}`)
		default:
			if err := r.client.Delete(deadline(t, patience), platform.Object(helmRelease(), r.namespace, name)); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// settled is a condition: all releases have come to the end of a phase.
func (r *killedReleases) settled(phase int) func(platform.Snapshot) error {
	return func(now platform.Snapshot) error {
		var left []error

		r.each(func(name string, f fate) {
			words, value := []string{"absent"}, "absent"
			if phase < len(f.ends) {
				words, value = f.ends[phase], f.value[phase]
			}

			if err := r.ended(now, name, words, value); err != nil {
				left = append(left, err)
			}
		})

		if len(left) == 0 {
			return nil
		}

		return fmt.Errorf("%d releases have not ended, such as %w", len(left), errors.Join(left[:min(len(left), 10)]...))
	}
}

func (r *killedReleases) ended(now platform.Snapshot, name string, words []string, value string) error {
	o := now.Get(helmRelease(), r.namespace, name)
	if got, over := releaseState(o); !over || !slices.Contains(words, got) {
		return fmt.Errorf("%s is %s, not %q%s", name, got, words, told(o))
	}

	return valueOf(r.namespace, name, "value", value)(now)
}

// changes lets the manager work until the cluster has changed n times, or all is done.
func (r *killedReleases) changes(t *testing.T, n, phase int) {
	t.Helper()

	ctx := deadline(t, patience)

	for range n {
		changed := r.view.Changed()

		if r.settled(phase)(r.view.Now()) == nil {
			return
		}

		select {
		case <-changed:
		case <-ctx.Done():
			r.fail(t, "going on", r.settled(phase)(r.view.Now()))
		}
	}
}

// pending returns the records that are in the middle of something.
func (r *killedReleases) pending(now platform.Snapshot) []string {
	var found []string

	for _, o := range now.List(platform.Core("Secret"), r.namespace) {
		if l := o.GetLabels(); l["owner"] == "helm" && (strings.HasPrefix(l["status"], "pending") || l["status"] == "uninstalling") {
			found = append(found, o.GetName()+" is "+l["status"])
		}
	}

	return found
}

// check looks at what Helm has stored at the end of a phase.
func (r *killedReleases) check(t *testing.T, phase int) {
	t.Helper()

	latest, status := map[string]int{}, map[string]string{}

	for _, o := range r.list(t, r.namespace, "v1", "Secret") {
		l := o.GetLabels()
		if l["owner"] != "helm" {
			continue
		}

		if strings.HasPrefix(l["status"], "pending") || l["status"] == "uninstalling" {
			t.Errorf("phase %d: %s is %s", phase, o.GetName(), l["status"])
		}

		if version := must(strconv.Atoi(l["version"]))(t); version > latest[l["name"]] {
			latest[l["name"]], status[l["name"]] = version, l["status"]
		}
	}

	r.each(func(name string, f fate) {
		want := "deployed"
		if phase >= len(f.value) || f.value[phase] == "absent" {
			want = ""
		}

		if status[name] != want {
			t.Errorf("phase %d: the latest release of %s is v%d %q, want %q", phase, name, latest[name], status[name], want)
		}

		if o := r.view.Now().Get(helmRelease(), r.namespace, name); o != nil && want != "" {
			r.recorded(t, o, latest[name])
		}
	})
}

// recorded checks that the history is that of the release.
func (r *killedReleases) recorded(t *testing.T, o *unstructured.Unstructured, latest int) {
	t.Helper()

	if got, want := history(o), fmt.Sprintf("v%d deployed", latest); len(got) == 0 || got[0] != want {
		t.Errorf("the history of %s is %q, and its latest release is v%d", o.GetName(), got, latest)
	}
}
