package kube_test

import (
	"strings"
	"testing"

	"helm.sh/helm/v3/pkg/action"
	"helm.sh/helm/v3/pkg/release"

	"github.com/weir-dev/weir/reconcilers/access"
	"github.com/weir-dev/weir/reconcilers/helm/kube"
)

// TestLifecycle lets Helm's own actions run.
func TestLifecycle(t *testing.T) {
	for name, ssa := range map[string]bool{"on the server's side": true, "by the client": false} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			o := b.options(ssa)
			first := map[string]string{
				"config": config("config", "one"), "old": config("old", "one"), "deployment": deployment,
				"kept":    `{apiVersion: v1, kind: ConfigMap, metadata: {name: kept, annotations: {helm.sh/resource-policy: keep}, L}}`,
				"service": "{apiVersion: v1, kind: Service, metadata: {name: app, L}, spec: {selector: {app: app}, ports: [{port: 80}]}}",
			}
			if _, err := b.install(kube.New(b.ctx(), o), charted(t, first)); err != nil {
				t.Fatal(err)
			}
			operation := map[bool]string{true: "helm-controller Apply", false: "helm-controller Update"}[ssa]
			same(t, "the field manager", []string{operation}, b.managers(b.ref("ConfigMap", "config")))
			same(t, "a Deployment was waited for", true, b.available())

			b.patch(b.ref("ConfigMap", "config"), "", `{"data":{"key":"drifted","other":"added"}}`)
			second := map[string]string{"config": config("config", "two"), "new": config("new", "two"), "deployment": deployment}
			if _, err := b.upgrade(kube.New(b.ctx(), o), charted(t, second), false); err != nil {
				t.Fatal(err)
			}
			same(t, "changed, and what somebody has added is left", map[string]string{"key": "two", "other": "added"}, b.data("config"))
			same(t, "added", map[string]string{"key": "two"}, b.data("new"))
			same(t, "dropped", false, b.exists(b.ref("ConfigMap", "old")))
			same(t, "dropped, but it asks to stay", true, b.exists(b.ref("ConfigMap", "kept")))

			back := action.NewRollback(b.configuration(kube.New(b.ctx(), o)))
			back.Version, back.Wait, back.Timeout = 1, true, patience
			if err := back.Run("app"); err != nil {
				t.Fatal(err)
			}
			same(t, "rolled back", "one", b.data("config")["key"])
			same(t, "what came is gone", false, b.exists(b.ref("ConfigMap", "new")))
			same(t, "what went is back", true, b.exists(b.ref("ConfigMap", "old")))
			same(t, "revisions", map[int]release.Status{1: release.StatusSuperseded, 2: release.StatusSuperseded, 3: release.StatusDeployed}, b.status())

			if err := b.uninstall(kube.New(b.ctx(), o)); err != nil {
				t.Fatal(err)
			}
			for _, ref := range []access.Ref{b.ref("ConfigMap", "config"), b.ref("ConfigMap", "old"), b.ref("Service", "app"), b.ref("Deployment", "app")} {
				same(t, "uninstalled: "+ref.String(), false, b.exists(ref))
			}
			same(t, "uninstalled, but it asks to stay", true, b.exists(b.ref("ConfigMap", "kept")))
		})
	}
}

func (b *bench) available() bool {
	b.t.Helper()
	u, err := b.admin.Get(b.ctx(), b.ref("Deployment", "app"))
	if err != nil {
		b.t.Fatal(err)
	}
	status, _ := u.Object["status"].(map[string]any)
	return status["availableReplicas"] == int64(1)
}

// TestRequests holds that what has not changed costs no write.
func TestRequests(t *testing.T) {
	b := newBench(t)
	o := b.options(true)
	o.TakeOwnership = true
	templates := map[string]string{"a": config("a", "one"), "b": config("b", "one"), "c": config("c", "one")}
	if _, err := b.install(kube.New(b.ctx(), o), charted(t, templates)); err != nil {
		t.Fatal(err)
	}
	same(t, "install", map[string]int{"dry-run": 3, "apply": 3}, b.counter.Take("watch", "list", "discover"))
	templates["a"] = config("a", "two")
	if _, err := b.upgrade(kube.New(b.ctx(), o), charted(t, templates), false); err != nil {
		t.Fatal(err)
	}
	got := b.counter.Take("watch", "list", "discover", "get")
	same(t, "upgrade of one", map[string]int{"apply": 1}, got)
}

// TestInTheWay has objects that exist before the release, or appear after Helm has looked.
func TestInTheWay(t *testing.T) {
	cases := map[string]struct {
		reason  string
		ssa     bool
		take    bool
		refused bool
	}{
		"server, taken":  {reason: "the release takes it over", ssa: true, take: true},
		"client, taken":  {reason: "the release takes it over", take: true},
		"server, theirs": {reason: "it is somebody else's", ssa: true, refused: true},
		"client, theirs": {reason: "it is somebody else's", refused: true},
	}
	const there = `{apiVersion: v1, kind: ConfigMap, metadata: {name: config, namespace: NS}, data: {key: theirs}}`
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			for _, when := range []string{"before", "between"} {
				b := newBench(t)
				o := b.options(c.ssa)
				o.TakeOwnership = c.take
				templates := map[string]string{"config": config("config", "ours"), "other": config("other", "ours")}
				if when == "before" {
					b.create(there)
				} else { // a hook runs after Helm has looked
					templates["hook"] = `{apiVersion: v1, kind: ConfigMap, metadata: {name: hook, annotations: {helm.sh/hook: pre-install}}}`
					b.once(func(path string) bool {
						return strings.HasSuffix(path, "/configmaps") || strings.HasSuffix(path, "/configmaps/hook")
					},
						func() { b.create(there) })
				}
				_, err := b.install(kube.New(b.ctx(), o), charted(t, templates))
				if !c.refused {
					if err != nil {
						t.Fatalf("%s: %v", when, err)
					}
					same(t, when+": "+c.reason, "ours", b.data("config")["key"])
					continue
				}
				failsWith(t, when, err, `ConfigMap "config" in namespace "`+b.namespace+`" exists and cannot be imported into the current release`)
				same(t, when+": "+c.reason, "theirs", b.data("config")["key"])
			}
		})
	}
}

// TestForce replaces an object instead of merging it.
func TestForce(t *testing.T) {
	b := newBench(t)
	o := b.options(false)
	if _, err := b.install(kube.New(b.ctx(), o), charted(t, map[string]string{"config": config("config", "one")})); err != nil {
		t.Fatal(err)
	}
	b.patch(b.ref("ConfigMap", "config"), "", `{"data":{"other":"added"}}`)
	if _, err := b.upgrade(kube.New(b.ctx(), o), charted(t, map[string]string{"config": config("config", "two")}), true); err != nil {
		t.Fatal(err)
	}
	same(t, "nothing is left of what others have added", map[string]string{"key": "two"}, b.data("config"))
}

// TestRefusal refuses a set before anything of it is written.
func TestRefusal(t *testing.T) {
	b := newBench(t)
	bad := strings.ReplaceAll(deployment, "image: app", "image: app, ports: [{containerPort: 99999999}]")
	_, err := b.install(kube.New(b.ctx(), b.options(true)), charted(t, map[string]string{"config": config("config", "one"), "bad": bad}))
	failsWith(t, "a value that is not valid", err, "Deployment", "containerPort")
	same(t, "nothing was written", false, b.exists(b.ref("ConfigMap", "config")))
}

// TestMovesBetweenModes changes how a release is applied.
func TestMovesBetweenModes(t *testing.T) {
	b := newBench(t)
	two := map[string]string{"a": config("a", "one"), "b": config("b", "one")}
	if _, err := b.install(kube.New(b.ctx(), b.options(false)), charted(t, two)); err != nil {
		t.Fatal(err)
	}
	one := map[string]string{"a": strings.ReplaceAll(config("a", "two"), "key", "other")}
	if _, err := b.upgrade(kube.New(b.ctx(), b.options(true)), charted(t, one), false); err != nil {
		t.Fatal(err)
	}
	same(t, "what the client had set is known to be ours", map[string]string{"other": "two"}, b.data("a"))
	same(t, "dropped", false, b.exists(b.ref("ConfigMap", "b")))
	if _, err := b.upgrade(kube.New(b.ctx(), b.options(false)), charted(t, two), false); err != nil {
		t.Fatal(err)
	}
	same(t, "and back", map[string]string{"key": "one"}, b.data("a"))
}

// TestAnotherRelease leaves alone what another release has by now.
func TestAnotherRelease(t *testing.T) {
	b := newBench(t)
	o := b.options(true)
	if _, err := b.install(kube.New(b.ctx(), o), charted(t, map[string]string{"a": config("a", "one"), "b": config("b", "one"), "c": config("c", "one")})); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"a", "b"} {
		b.patch(b.ref("ConfigMap", name), "", `{"metadata":{"annotations":{"meta.helm.sh/release-name":"other"}}}`)
	}
	if _, err := b.upgrade(kube.New(b.ctx(), o), charted(t, map[string]string{"c": config("c", "two")}), false); err != nil {
		t.Fatal(err)
	}
	same(t, "dropped, but another's", true, b.exists(b.ref("ConfigMap", "a")))
	b.patch(b.ref("ConfigMap", "c"), "", `{"metadata":{"annotations":{"meta.helm.sh/release-name":"other"}}}`)
	if err := b.uninstall(kube.New(b.ctx(), o)); err != nil {
		t.Fatal(err)
	}
	same(t, "uninstalled, but another's", true, b.exists(b.ref("ConfigMap", "c")))
}

const definition = `
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: things.GROUP, L}
spec:
  group: GROUP
  scope: Namespaced
  names: {kind: Thing, plural: things}
  versions: [{name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}}]
`

// TestDefinition installs a definition together with an object of it, and uninstalls after the definition has gone.
func TestDefinition(t *testing.T) {
	b := newBench(t)
	o := b.options(true)
	group := b.namespace + ".example"
	templates := map[string]string{
		"crd":    strings.ReplaceAll(definition, "GROUP", group),
		"thing":  "{apiVersion: " + group + "/v1, kind: Thing, metadata: {name: thing, L}}",
		"config": config("config", "one"),
	}
	if _, err := b.install(kube.New(b.ctx(), o), charted(t, templates)); err != nil {
		t.Fatal(err)
	}
	crd := access.Ref{ID: access.ID{Group: "apiextensions.k8s.io", Kind: "CustomResourceDefinition", Name: "things." + group}}
	if err := b.admin.Delete(b.ctx(), crd, access.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	b.eventually("the definition is gone", func() bool { return !b.exists(crd) })
	if err := b.uninstall(kube.New(b.ctx(), o)); err != nil {
		t.Fatal(err)
	}
	same(t, "the rest is gone", false, b.exists(b.ref("ConfigMap", "config")))

	_, err := b.install(kube.New(b.ctx(), b.options(true)), charted(t, map[string]string{"thing": templates["thing"]}))
	failsWith(t, "a kind that is not served", err, "no matches for kind \"Thing\"", "ensure CRDs are installed first")
}
