package kube_test

import (
	"errors"
	"testing"
	"time"

	"github.com/fluxcd/cli-utils/pkg/kstatus/status"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/weir-dev/weir/reconcilers/health"
	"github.com/weir-dev/weir/reconcilers/helm/kube"
)

// TestInterrupted gives up a wait that is of no use any more.
func TestInterrupted(t *testing.T) {
	b := newBench(t)
	why := errors.New("something else is wanted")
	o := b.options(true)
	o.Interrupted = func() error { return why }
	g := b.start(kube.New(b.ctx(), o), charted(t, map[string]string{"deployment": unready}), time.Hour)
	if err := b.end(g); !errors.Is(err, why) {
		t.Errorf("want the cause, got %v", err)
	}
}

// TestLegacy waits for what Helm 3 has waited for, and for nothing else.
func TestLegacy(t *testing.T) {
	b := newBench(t)
	o := b.options(true)
	o.Legacy = true
	o.Rules = map[schema.GroupKind]health.Rule{{Kind: "ConfigMap"}: {Key: "never", Evaluate: func(map[string]any) (status.Status, string) {
		return status.InProgressStatus, "never"
	}}}
	g := b.start(kube.New(b.ctx(), o), charted(t, map[string]string{"a": config("a", "one")}), time.Minute)
	if err := b.end(g); err != nil {
		t.Error(err)
	}
}
