package kustomize_test

import (
	"errors"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/weir-dev/weir/api/meta"
	"github.com/weir-dev/weir/reconcilers/kustomize"
)

// TestFight holds that an object which somebody else keeps changing back is put back a few times, then slowed down and told
// of, in an event and in the status, and that this ends.
func TestFight(t *testing.T) {
	e := newEnv(t)
	fake := clocktesting.NewFakeClock(time.Now().Add(time.Hour))
	e.applierClock = fake
	e.restart()
	e.publish("repo", "main@sha1:1", map[string]string{"a.yaml": configMap("a", "1")})
	e.kustomization("app", nil)
	e.ready("app")
	e.told()
	e.calm()

	edit := func() {
		obj := &corev1.ConfigMap{}
		if !e.fetch(obj, "a") {
			t.Fatal("a is not there")
		}

		obj.Data["key"] = "mine"
		must(t, e.c.Update(t.Context(), obj, client.FieldOwner("rival")))
	}

	const put = "Normal Progressing Apply: ConfigMap/NS/a configured\nConfigMap/NS/a drift corrected: .data.key, changed by \"rival\""

	for range 4 {
		edit()
		e.awaken("app", "drift")
		e.ready("app")
		e.wantEvents(put)
	}

	edit()
	e.awaken("app", "drift")
	obj := e.ready("app")
	fight := `ConfigMap/NS/a is changed back by "rival" again and again (.data.key): corrections are slowed down`
	e.wantEvents("Warning DriftContested Apply: "+fight, put)

	if got := says(obj, kustomize.ContestedCondition); got != "True DriftContested: "+fight {
		t.Errorf("Contested is %q", got)
	}

	if got := says(obj, meta.ReadyCondition); got != "True ReconciliationSucceeded: Applied revision: main@sha1:1" {
		t.Errorf("Ready is %q", got)
	}

	e.costs()
	edit()
	e.ready("app")
	e.wantEvents()
	e.eventually("the timer of the next correction runs", func() error {
		if !fake.HasWaiters() {
			return errors.New("not yet")
		}

		return nil
	})

	if e.data("a")["key"] != "mine" {
		t.Error("a is put back before it is time")
	}

	fake.Step(10 * time.Second)
	e.awaken("app", "it is time")
	e.ready("app")
	e.wantEvents(put)

	if e.data("a")["key"] != "1" {
		t.Error("a is not put back when it is time")
	}

	fake.Step(time.Hour)

	obj, _ = e.once("app")
	if got := says(obj, kustomize.ContestedCondition); got != "" {
		t.Errorf("nobody changes it any more, but Contested is %q", got)
	}
}
