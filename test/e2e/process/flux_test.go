package process

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/weir-dev/weir/test/e2e/platform"
	"github.com/weir-dev/weir/test/gitserver"
	"github.com/weir-dev/weir/test/tool"
)

// flux is the command line program that people use, with a home of its own.
type flux struct{ program, kubeconfig, home string }

// run runs the program for a namespace, and returns what it printed and how it ended.
func (f *flux) run(t *testing.T, namespace string, args ...string) (output string, code int) {
	t.Helper()

	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()

	cmd := exec.CommandContext(ctx, f.program, append(args, "--kubeconfig="+f.kubeconfig, "--namespace="+namespace)...) //nolint:gosec // ours
	cmd.Env = []string{"HOME=" + f.home, "NO_PROXY=*", "PATH=" + os.Getenv("PATH")}

	out, err := cmd.CombinedOutput()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return string(out), exit.ExitCode()
	}

	if err != nil {
		t.Fatalf("flux %q: %v", args, err)
	}

	return string(out), 0
}

// TestFlux uses the program flux as people do: what it makes, asks for, shows, stops and deletes, and what it says when something
// fails, is as with the controllers that it was written for.
func TestFlux(t *testing.T) {
	program, err := tool.Flux().Build(t.Context(), os.Stderr)
	if err != nil {
		t.Fatal(err)
	}

	s := newStage(t)
	namespace := s.namespace(t, "flux")
	f := &flux{program: program, kubeconfig: shared.Start(t).Kubeconfig(), home: t.TempDir()}
	web := deployment("web", "paused: false")
	repo, revision := s.repository(t, "flux", files("apps/good.yaml", good, "apps/web.yaml", web))
	folder := t.TempDir()

	local := func(name, content string) {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	commit := func(c gitserver.Change) { revision = s.commit(t, repo, c) }

	failed := func(now platform.Snapshot) error {
		if _, reason, message := platform.Condition(now.Get(platform.Kustomization(), namespace, "fleet"), "Ready"); reason != "BuildFailed" {
			return errors.New("Ready is " + reason + ": " + message)
		}

		return nil
	}

	for _, step := range []struct {
		reason string
		before func()
		args   []string
		code   int
		want   []string // parts of what is printed; <rev> is the latest revision, as the program shortens it
		never  []string
	}{
		{
			reason: "A source is made, and awaited.",
			args: []string{
				"create", "source", "git", "fleet", "--url=" + s.git.URL(repo), "--branch=main", "--interval=1h", "--label=" + setLabel + "=" + s.set,
			},
			want: []string{"✔ GitRepository source created", "✔ GitRepository source reconciliation completed", "✔ fetched revision: <rev>"},
		},
		{
			reason: "So is a Kustomization.",
			args: []string{
				"create", "kustomization", "fleet", "--source=GitRepository/fleet", "--path=./apps", "--prune", "--interval=1h",
				"--target-namespace=" + namespace, "--label=" + setLabel + "=" + s.set,
			},
			want: []string{"✔ Kustomization created", "✔ Kustomization fleet is ready", "✔ applied revision <rev>"},
		},
		{
			reason: "It is listed with its revision.", args: []string{"get", "kustomizations"},
			want: []string{"NAME", "REVISION", "SUSPENDED", "READY", "MESSAGE", "fleet", "<rev>", "False", "True", "Applied revision: <rev>"},
		},
		{reason: "So is the source.", args: []string{"get", "sources", "git"}, want: []string{"fleet", "<rev>", "True", "stored artifact for revision '<rev>'"}},
		{
			reason: "A new commit is applied when somebody asks, its source first.",
			before: func() { commit(files("apps/more.yaml", strings.ReplaceAll(good, "good", "more"))) },
			args:   []string{"reconcile", "kustomization", "fleet", "--with-source"},
			want: []string{
				"► annotating GitRepository fleet in " + namespace + " namespace", "✔ GitRepository annotated", "✔ fetched revision <rev>",
				"► annotating Kustomization fleet in " + namespace + " namespace", "✔ Kustomization annotated", "✔ applied revision <rev>",
			},
		},
		{reason: "Asked again, nothing changes, and there is an answer.", args: []string{"reconcile", "kustomization", "fleet"}, want: []string{"✔ applied revision <rev>"}},
		{
			reason: "The inventory is a tree.", args: []string{"tree", "kustomization", "fleet"},
			want: []string{
				"Kustomization/" + namespace + "/fleet", "ConfigMap/" + namespace + "/good", "ConfigMap/" + namespace + "/more", "Deployment/" + namespace + "/web",
			},
		},
		{
			reason: "An object leads to what manages it.", args: []string{"trace", "deployment", "web"},
			want: []string{
				"Object:", "Deployment/web", "Status:", "Managed by Flux", "Kustomization: fleet", "Path:", "./apps", "Revision:", "<rev>", "GitRepository: fleet",
			},
			never: []string{"not managed"},
		},
		{
			reason: "Events are told.", args: []string{"events", "--for=Kustomization/fleet"},
			want: []string{
				"LAST SEEN", "Normal", "ReconciliationSucceeded", "Kustomization/fleet", "Reconciliation finished in", "next run in 1h0m0s",
				"Progressing", "ConfigMap/" + namespace + "/more created",
			},
			never: []string{"Warning"},
		},
		{
			reason: "What is stopped says so.", args: []string{"suspend", "kustomization", "fleet"},
			want: []string{"► suspending kustomization fleet in " + namespace + " namespace", "✔ kustomization suspended"},
		},
		{reason: "It stays as it was.", args: []string{"get", "kustomizations", "fleet"}, want: []string{"<rev>", "True", "Applied revision: <rev>"}},
		{
			reason: "It is not asked for anything.", args: []string{"reconcile", "kustomization", "fleet"}, code: 1,
			want: []string{"✗ resource is suspended"},
		},
		{
			reason: "It goes on.", args: []string{"resume", "kustomization", "fleet", "--wait"},
			want: []string{"✔ kustomization resumed", "◎ waiting for Kustomization reconciliation", "✔ Kustomization fleet reconciliation completed", "✔ applied revision <rev>"},
		},
		{
			reason: "A folder that is the same makes no difference.",
			before: func() {
				local("good.yaml", good)
				local("more.yaml", strings.ReplaceAll(good, "good", "more"))
				local("web.yaml", web)
			},
			args: []string{"diff", "kustomization", "fleet", "--path=" + folder, "--progress-bar=false"},
		},
		{
			reason: "One that is another one does.",
			before: func() { local("good.yaml", strings.Replace(good, "half: applied", "half: changed", 1)) },
			args:   []string{"diff", "kustomization", "fleet", "--path=" + folder, "--progress-bar=false"}, code: 1,
			want: []string{"► ConfigMap/" + namespace + "/good drifted", "half", "applied", "changed"}, never: []string{"web"},
		},
		{
			reason: "It can be built as the controller would.", args: []string{"build", "kustomization", "fleet", "--path=" + folder},
			want: []string{"half: changed", "kustomize.toolkit.fluxcd.io/name: fleet", "namespace: " + namespace},
		},
		{
			reason: "It can be taken elsewhere.", args: []string{"export", "kustomization", "fleet"},
			want: []string{"kind: Kustomization", "path: ./apps", "interval: 1h0m0s"}, never: []string{"status"},
		},
		{
			reason: "A source is asked by itself.",
			before: func() { commit(files("apps/bad.yaml", "replicas: 1\n")) },
			args:   []string{"reconcile", "source", "git", "fleet"}, want: []string{"✔ GitRepository annotated", "✔ fetched revision <rev>"},
		},
		{
			reason: "Who waits for what fails waits on, for it is tried again.",
			args:   []string{"reconcile", "kustomization", "fleet", "--timeout=3s"}, code: 1,
			want: []string{"◎ waiting for Kustomization reconciliation", "✗ context deadline exceeded"},
		},
		{
			reason: "Who looks is told why.",
			before: func() { s.await(t, "the build fails", failed) },
			args:   []string{"get", "kustomizations", "--status-selector=ready=false"},
			want:   []string{"fleet", "False", "failed to decode Kubernetes YAML from apps/bad.yaml: an object has no kind"},
		},
		{
			reason: "And who reads the events.", args: []string{"events", "--for=Kustomization/fleet", "--types=Warning"},
			want: []string{"Warning", "BuildFailed", "failed to decode Kubernetes YAML"}, never: []string{"Normal"},
		},
		{
			reason: "It is mended.",
			before: func() { commit(gitserver.Change{Remove: []string{"apps/bad.yaml"}}) },
			args:   []string{"reconcile", "kustomization", "fleet", "--with-source"}, want: []string{"✔ applied revision <rev>"},
		},
		{reason: "All is counted.", args: []string{"stats"}, want: []string{"GitRepository", "Kustomization"}},
		{
			reason: "It is deleted.", args: []string{"delete", "kustomization", "fleet", "--silent"},
			want: []string{"► deleting kustomization fleet in " + namespace + " namespace", "✔ kustomization deleted"},
		},
	} {
		if step.before != nil {
			step.before()
		}

		// The program shortens a revision to eight digits where it lists it.
		short := revision[:len("main@sha1:")+8]
		out, code := f.run(t, namespace, step.args...)
		words := strings.Join(strings.Fields(out), " ")

		if code != step.code {
			t.Fatalf("%s\nflux %q ends with %d, want %d:\n%s", step.reason, step.args, code, step.code, out)
		}

		for _, part := range step.want {
			if !strings.Contains(words, strings.ReplaceAll(part, "<rev>", short)) && !strings.Contains(words, strings.ReplaceAll(part, "<rev>", revision)) {
				t.Errorf("%s\nflux %q (revision %s) does not say %q:\n%s", step.reason, step.args, revision, part, out)
			}
		}

		for _, part := range step.never {
			if strings.Contains(out, part) {
				t.Errorf("%s\nflux %q says %q:\n%s", step.reason, step.args, part, out)
			}
		}
	}

	// What was applied goes with it.
	s.await(t, "everything is gone", func(now platform.Snapshot) error {
		if now.Get(platform.Kustomization(), namespace, "fleet") != nil || now.Get(platform.Deployment(), namespace, "web") != nil ||
			now.Get(platform.Core("ConfigMap"), namespace, "good") != nil {
			return errors.New("something is left")
		}

		return nil
	})
}
