package helm_test

import (
	"fmt"
	"testing"

	v2 "github.com/weir-dev/weir/api/helm/v2"
)

// TestCost holds a budget of requests for a release of four objects.
func TestCost(t *testing.T) {
	t.Parallel()

	e := newEnv(t)

	files := map[string]string{}
	for i := range 4 {
		files[fmt.Sprintf("config%d", i)] = fmt.Sprintf(
			"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: config%d}\ndata: {key: '{{ .Values.key | default \"none\" }}'}\n", i)
	}

	e.publish("1.0.0", files)
	e.declare(nil)
	e.counter.Take()
	e.once()
	same(t, "install", map[string]int{"list": 1, "create": 1, "dry-run": 4, "apply": 4, "patch": 1}, e.releaseCost())
	e.once()
	same(t, "in sync", map[string]int{"list": 1, "get": 1}, e.releaseCost())
	e.edit(func(obj *v2.HelmRelease) { obj.Spec.Values = inline(`{"key":"set"}`) })
	e.once()
	same(t, "upgrade", map[string]int{"list": 1, "get": 1, "create": 1, "dry-run": 4, "apply": 4, "patch": 2}, e.releaseCost())
}

// releaseCost returns the requests since the last time, without those that are shared by all releases: what is served, and the watch of
// the objects, which begins with one list.
func (e *env) releaseCost() map[string]int {
	cost := e.counter.Take("discover", "watch")
	if cost["list"] > 1 {
		cost["list"] = 1
	}

	return cost
}
