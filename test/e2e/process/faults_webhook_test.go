package process

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/weir-dev/weir/test/e2e/platform"
	"github.com/weir-dev/weir/test/gitserver"
)

const crowd = 50 // ConfigMaps of one Kustomization

func crowdName(i int) string { return fmt.Sprintf("one-%02d", i) }

// TestFaultWebhook has an admission webhook refuse some of fifty objects.
func TestFaultWebhook(t *testing.T) { //nolint:tparallel // its cases share a webhook
	t.Parallel() // each has a manager of its own, and the API server is not disturbed

	s := newFaultStage(t)
	webhook := must(platform.NewWebhook(t.Context()))(t)
	t.Cleanup(func() { _ = webhook.Close() }) //nolint:errcheck // nobody comes any more

	tree := gitserver.Change{Files: map[string]string{}}
	for i := range crowd {
		tree.Files[crowdName(i)+".yaml"] = configMap(crowdName(i), i)
	}

	// What one object is refused with.
	refused := func(how, name, why string) string {
		return "ConfigMap/NAMESPACE/" + name + " " + how + ` failed (Forbidden): admission webhook "` + platform.WebhookName +
			`" denied the request: ` + why
	}

	cases := map[string]struct {
		reason  string
		judge   func(name string, dryRun bool) error
		says    []string
		silent  []string // is not in the message
		partial bool     // the others are applied
	}{
		"one": {
			reason: "a set with one object that is refused is not applied at all, and the error names it",
			judge:  refusing(false, "one-17"),
			says:   []string{refused("dry-run", "one-17", "one-17 is not welcome")},
			silent: []string{"one-16", "one-18", "created"},
		},
		"several": {
			reason: "all that is refused is told of at once",
			judge:  refusing(false, "one-03", "one-17", "one-42"),
			says: []string{
				refused("dry-run", "one-03", "one-03 is not welcome"), refused("dry-run", "one-17", "one-17 is not welcome"),
				refused("dry-run", "one-42", "one-42 is not welcome"),
			},
			silent: []string{"one-04", "created"},
		},
		"late": {
			reason: "what a dry run did not tell leaves a set in part, and the inventory has that part",
			judge:  refusing(true, "one-30"),
			says: []string{
				`ConfigMap/NAMESPACE/one-30 apply failed: admission webhook "` + platform.WebhookName + `" denied the request: one-30 is not welcome`,
				"ConfigMap/NAMESPACE/one-00 created",
			},
			silent:  []string{"one-30 created", "dry-run failed"},
			partial: true,
		},
		"hanging": {
			reason: "a webhook that does not answer refuses",
			judge: func(name string, _ bool) error {
				if name == "one-25" {
					return platform.ErrHang
				}

				return nil
			},
			says:   []string{"ConfigMap/NAMESPACE/one-25 dry-run failed", `failed calling webhook "` + platform.WebhookName + `"`, "deadline exceeded"},
			silent: []string{"one-24", "created"},
		},
	}

	var before holding

	for _, name := range slices.Sorted(maps.Keys(cases)) {
		tc := cases[name]

		t.Run(name, func(t *testing.T) {
			namespace := s.namespace(t, "webhook-"+name)
			s.guard(t, webhook, namespace)

			repo, revision := s.repository(t, namespace, tree)
			webhook.Judge(tc.judge)
			s.apply(t, s.source(namespace, "crowd", s.git.URL(repo)),
				s.delivery(namespace, "crowd", "crowd", "", map[string]any{"retryInterval": "1s"}))
			s.await(t, tc.reason, refusal(namespace, tc.says, tc.silent))
			s.counted(t, namespace, tc.partial)

			webhook.Judge(func(string, bool) error { return nil })
			s.await(t, "the set is applied when it is let in", platform.Delivered(revision, [2]string{namespace, "crowd"}))

			if n := s.counted(t, namespace, true); n != crowd {
				t.Errorf("%d objects are there, not %d", n, crowd)
			}

			if before.watches == nil {
				before = s.idle(t)
			}

			s.leaks(t, before)
		})
	}
}

// refusing is a webhook that does not let the objects in, or does so only when it is not serious.
func refusing(late bool, names ...string) func(string, bool) error {
	return func(name string, dryRun bool) error {
		if slices.Contains(names, name) && (!late || !dryRun) {
			return errors.New(name + " is not welcome")
		}

		return nil
	}
}

// guard puts the webhook in front of the ConfigMaps of a namespace, and returns when it is asked.
func (s *faultStage) guard(t *testing.T, webhook *platform.Webhook, namespace string) {
	t.Helper()

	configuration := webhook.Configuration(namespace, namespace)
	webhook.Judge(refusing(false, "probe"))
	s.apply(t, configuration)
	t.Cleanup(func() {
		_ = s.client.Delete(context.Background(), configuration) //nolint:errcheck // it is about this namespace only
	})

	s.poll(t, "guarded", func(ctx context.Context) error {
		err := s.client.Create(ctx, platform.Object(platform.Core("ConfigMap"), namespace, "probe"), client.DryRunAll)
		if err == nil || !strings.Contains(err.Error(), "not welcome") {
			return fmt.Errorf("the webhook was not asked: %w", err)
		}

		return nil
	})
}

// refusal is a condition: the Kustomization says what it must and nothing that it must not.
func refusal(namespace string, says, silent []string) func(platform.Snapshot) error {
	said := verdict{"Kustomization", "ReconciliationFailed", says}.saidBy(namespace, "crowd")

	return func(now platform.Snapshot) error {
		if err := said(now); err != nil {
			return err
		}

		_, _, message := platform.Condition(now.Get(platform.Kustomization(), namespace, "crowd"), "Ready")
		for _, part := range silent {
			if strings.Contains(message, part) {
				return platform.Stop(fmt.Errorf("the message has %q: %s", part, message))
			}
		}

		return nil
	}
}

// counted returns how many of the objects are there. They are what the inventory says, and none unless some may be.
func (s *faultStage) counted(t *testing.T, namespace string, some bool) int {
	t.Helper()

	var there []string

	for _, o := range s.list(t, namespace, "v1", "ConfigMap") {
		if owner(&o) == "crowd" {
			there = append(there, fmt.Sprintf("%s_%s__ConfigMap", namespace, o.GetName()))
		}
	}

	var books []string

	for _, k := range s.list(t, namespace, "kustomize.toolkit.fluxcd.io/v1", "Kustomization") {
		for id := range inventoryOf(&k) {
			books = append(books, id)
		}
	}

	slices.Sort(books)
	slices.Sort(there)

	if !slices.Equal(there, books) {
		t.Errorf("there are %q and in the inventory %q", there, books)
	}

	if some != (len(there) > 0) {
		t.Errorf("there are %d objects", len(there))
	}

	return len(there)
}
