package process

import (
	"os"
	"strings"
	"testing"

	"github.com/weir-dev/weir/test/helmrepo"
	"github.com/weir-dev/weir/test/tool"
)

// fluxReleases uses the program flux for a release.
func fluxReleases(t *testing.T, s *story) {
	program := must(tool.Flux().Build(t.Context(), os.Stderr))(t)
	f := &flux{program: program, kubeconfig: pretended.Start(t).Kubeconfig(), home: t.TempDir()}

	s.push(t, "flux", "1.0.0", helmrepo.WithHooks("flux", "1.0.0"))
	s.push(t, "flux", "1.1.0", helmrepo.WithHooks("flux", "1.1.0"))
	s.apply(t, s.chart(s.namespace, "flux", "1.0.0"))

	for _, step := range []struct {
		reason string
		before func()
		args   []string
		code   int
		want   []string
		never  []string
	}{
		{
			reason: "It is made, and awaited.",
			args:   []string{"create", "helmrelease", "app", "--chart-ref=OCIRepository/flux", "--interval=1h", "--label=" + setLabel + "=" + s.set},
			want:   []string{"✔ HelmRelease created", "✔ HelmRelease app is ready", "✔ applied revision 1.0.0+"},
		},
		{
			reason: "It is listed.", args: []string{"get", "helmreleases"},
			want: []string{
				"NAME", "REVISION", "SUSPENDED", "READY", "MESSAGE", "app", "1.0.0+", "False", "True",
				"Helm install succeeded for release " + s.namespace + "/app.v1 with chart flux@1.0.0+",
			},
		},
		{
			reason: "It is asked for together with its source.", args: []string{"reconcile", "helmrelease", "app", "--with-source"},
			want: []string{
				"► annotating OCIRepository flux in " + s.namespace + " namespace", "✔ OCIRepository annotated",
				"► annotating HelmRelease app in " + s.namespace + " namespace", "✔ HelmRelease annotated", "✔ applied revision 1.0.0+",
			},
		},
		{
			reason: "It is released by force.", args: []string{"reconcile", "helmrelease", "app", "--force"},
			want: []string{"✔ HelmRelease annotated", "✔ applied revision 1.0.0+"},
		},
		{reason: "A release more.", args: []string{"get", "helmreleases", "app"}, want: []string{"Helm upgrade succeeded for release " + s.namespace + "/app.v2"}},
		{
			reason: "Its failures are reset.", args: []string{"reconcile", "helmrelease", "app", "--reset"},
			want: []string{"✔ HelmRelease annotated", "✔ applied revision 1.0.0+"},
		},
		{
			reason: "It is stopped.", args: []string{"suspend", "helmrelease", "app"},
			want: []string{"► suspending helmrelease app in " + s.namespace + " namespace", "✔ helmrelease suspended"},
		},
		{
			reason: "What is stopped is not asked for anything.", args: []string{"reconcile", "helmrelease", "app"}, code: 1,
			want: []string{"✗ resource is suspended"},
		},
		{
			reason: "It goes on, with what has changed meanwhile.",
			before: func() { s.tag(t, s.namespace, "flux", "1.1.0"); s.values(t, `{"value":"flux"}`) },
			args:   []string{"resume", "helmrelease", "app", "--wait"},
			want:   []string{"✔ helmrelease resumed", "✔ HelmRelease app reconciliation completed", "✔ applied revision 1."},
		},
		{
			reason: "An object leads to what manages it.", args: []string{"trace", "configmap", "app"},
			before: func() { s.await(t, "the other chart is there", s.became("True UpgradeSucceeded", "flux@1.1.0+")) },
			want:   []string{"Managed by Flux", "HelmRelease: app"}, never: []string{"not managed"},
		},
		{reason: "Its values are shown.", args: []string{"debug", "helmrelease", "app", "--show-values"}, want: []string{"value: flux"}},
		{
			reason: "And its past.", args: []string{"debug", "helmrelease", "app", "--show-history"},
			want: []string{"action: upgrade", "chartVersion: 1.1.0+", "status: deployed", "status: superseded"},
		},
		{
			reason: "Events are told.", args: []string{"events"},
			want:  []string{"Normal", "InstallSucceeded", "HelmRelease/app", "UpgradeSucceeded", "Helm upgrade succeeded for release"},
			never: []string{"Warning"},
		},
		{
			reason: "It is deleted.", args: []string{"delete", "helmrelease", "app", "--silent"},
			want: []string{"► deleting helmrelease app in " + s.namespace + " namespace", "✔ helmrelease deleted"},
		},
	} {
		if step.before != nil {
			step.before()
		}

		out, code := f.run(t, s.namespace, step.args...)
		words := strings.Join(strings.Fields(out), " ")

		if code != step.code {
			t.Fatalf("%s\nflux %q ends with %d, want %d:\n%s", step.reason, step.args, code, step.code, out)
		}

		for _, part := range step.want {
			if !strings.Contains(words, part) {
				t.Errorf("%s\nflux %q does not say %q:\n%s", step.reason, step.args, part, out)
			}
		}

		for _, part := range step.never {
			if strings.Contains(out, part) {
				t.Errorf("%s\nflux %q says %q:\n%s", step.reason, step.args, part, out)
			}
		}
	}

	s.await(t, "everything is gone", s.became("absent"), s.value("absent"))
	expect(t, "records", map[string]string{}, s.records(t))
}
