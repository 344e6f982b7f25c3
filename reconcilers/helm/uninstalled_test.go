package helm_test

import (
	"testing"

	"github.com/weir-dev/weir/api/meta"
	"github.com/weir-dev/weir/reconcilers/engine"
)

// TestUninstalledUnnoticed finds a release gone that has failed and is not tried again, as after a kill at the end of its remediation.
func TestUninstalledUnnoticed(t *testing.T) {
	e := newEnv(t)
	e.publish("1.0.0", map[string]string{"config": broken})
	e.declare(nil)
	e.once()

	_, err := e.helm().Delete("app", 1)
	must(t, err)

	obj := e.once()
	e.wantReady(obj, "False UninstallSucceeded: Release NS/app.v1 with chart app@1.0.0+abababababab was not found, assuming it is uninstalled")
	same(t, "stalled", true, engine.IsTrue(obj, meta.StalledCondition))
}
