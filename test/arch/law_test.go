package arch

import (
	"slices"
	"strings"
)

// rule forbids imports.
type rule struct {
	name string

	// from selects the importing packages, by their path within the module.
	from func(path string) bool

	// forbids selects the imports, by their path, within the module if they are of it.
	forbids func(from, path string) bool

	// why is what the failure says.
	why string
}

// law is the order of imports: cmd → controllers → kinds → shared packages → api.
func law() []rule {
	return []rule{
		{
			name: "api imports nothing of ours but api",
			from: in("api"), forbids: ours(in("api")),
			why: "clients import the types, and behaviour would come along",
		},
		{
			name: "config imports nothing of ours",
			from: in("config"), forbids: ours(in("config")),
			why: "manifests are data, which anything may embed",
		},
		{
			name: "reconcilers import no controllers, no cmd and no test",
			from: in("reconcilers"), forbids: ours(either(in("api"), in("config"), in("reconcilers"))),
			why: "reconcilers say what happens and controllers when: a reconciler has to run without any of them",
		},
		{
			name: "reconcilers never see a Manager",
			from: in("reconcilers"), forbids: whoever(either(
				in(controllerRuntime+"manager"), in(controllerRuntime+"builder"), in(controllerRuntime+"cluster"),
				in(controllerRuntime+"source"), in(controllerRuntime+"handler"), in(controllerRuntime+"predicate"),
				is(controllerRuntime+"controller"),
			)),
			why: "which event makes which object run is decided in package controllers alone",
		},
		{
			name: "kinds never import kinds",
			from: isKind, forbids: func(from, path string) bool { return isKind(path) && kindOf(from) != kindOf(path) },
			why: "what two kinds need is a shared package; else none can change without the other",
		},
		{
			name: "shared packages never import kinds",
			from: isShared, forbids: whoever(isKind),
			why: "what all kinds stand on must not know one of them",
		},
		{
			name: "the engine knows no other part",
			from: is("reconcilers/engine"), forbids: ours(in("api")),
			why: "it runs every kind, also those that apply and fetch nothing",
		},
		{
			name: "ingest and access stand alone",
			from: either(in("reconcilers/ingest"), in("reconcilers/access")), forbids: ours(
				either(in("api"), in("reconcilers/ingest"), in("reconcilers/access"))),
			why: "they guard what comes in and who acts; what they guard must not be below them",
		},
		{
			name: "nobody imports cmd",
			from: everything, forbids: ours(func(path string) bool { return !in("cmd")(path) }),
			why: "a program is no library",
		},
		{
			name: "products import no test code",
			from: func(path string) bool { return !isTest(path) }, forbids: whoever(either(
				isTest, in("testing"), in("net/http/httptest"), in(controllerRuntime+"envtest"), in(controllerRuntime+"client/fake"))),
			why: "what ships must not hold doubles, nor a second way for tests",
		},
		{
			name: "only access makes Kubernetes clients",
			from: func(path string) bool {
				return either(in("reconcilers"), in("controllers"), in("cmd"))(path) && !in("reconcilers/access")(path) && !isTest(path)
			},
			forbids: whoever(either(
				in("k8s.io/client-go/dynamic"), in("k8s.io/client-go/kubernetes"), in("k8s.io/client-go/metadata"),
				in("k8s.io/client-go/discovery"))),
			why: "one factory sees to it that an identity is never empty: a client made elsewhere acts as the controller itself",
		},
		{
			name: "kinds and shared packages get their clients",
			from: func(path string) bool {
				return in("reconcilers")(path) && !in("reconcilers/access")(path) && !isTest(path)
			},
			forbids: whoever(either(in("k8s.io/client-go/rest"), in("k8s.io/client-go/tools/clientcmd"))),
			why:     "what has no configuration cannot make a client of its own, see the rule about access",
		},
		{
			name: "only ingest unpacks",
			from: func(path string) bool {
				return either(in("reconcilers"), in("controllers"))(path) && !in("reconcilers/ingest")(path) &&
					path != "reconcilers/artifact" // it writes archives, and reads them through ingest
			},
			forbids: whoever(either(in("archive"), in("compress"), in("github.com/klauspost/compress"))),
			why:     "foreign bytes come in by one path that bounds sizes, names and links; every other one is a way around it",
		},
		{
			name: "nothing of Flux but its small libraries",
			from: everything,
			forbids: whoever(func(path string) bool {
				return either(in("github.com/fluxcd"), in("github.com/controlplaneio-fluxcd"))(path) && !either(
					in("github.com/fluxcd/pkg/auth"), in("github.com/fluxcd/pkg/envsubst"), in("github.com/fluxcd/pkg/sourceignore"),
					in("github.com/fluxcd/cli-utils"))(path)
			}),
			why: "the types, the engine and the reconcilers are what this module exists for",
		},
	}
}

const controllerRuntime = "sigs.k8s.io/controller-runtime/pkg/"

// shared are the packages under reconcilers that kinds stand on. Every other package there belongs to a kind.
func shared() []string {
	return []string{
		"access", "apply", "approval", "artifact", "build", "charts", "cloud", "decryption", "distribution", "engine", "events", "expression",
		"flight", "health", "ingest", "maintenance", "migration", "operator", "registry", "release", "remote", "secrets", "verify",
	}
}

// isShared tells whether kinds stand on a package. What the kinds of sources share lies right above them.
func isShared(path string) bool {
	rest, ok := strings.CutPrefix(path, "reconcilers/")

	return ok && (rest == "source" || slices.Contains(shared(), first(rest)))
}

func isKind(path string) bool {
	return in("reconcilers")(path) && path != "reconcilers" && !isShared(path)
}

// kindOf returns the kind that a package belongs to: reconcilers/helm, or reconcilers/source/git.
func kindOf(path string) string {
	parts := strings.Split(path, "/")
	if depth := map[string]int{"source": 3, "image": 3, "notification": 3}[parts[1]]; depth > 0 && len(parts) > depth {
		return strings.Join(parts[:depth], "/")
	} else if depth > 0 {
		return path
	}

	return strings.Join(parts[:2], "/")
}

// isTest tells whether a package of ours is for tests: those under test, and the benches that packages ship.
func isTest(path string) bool {
	parts := strings.Split(path, "/")

	return path == "test" || in("test")(path) || in("reconcilers")(path) && strings.HasSuffix(parts[len(parts)-1], "test")
}

func everything(string) bool { return true }

// in selects a path and everything below it.
func in(folder string) func(string) bool {
	return func(path string) bool {
		return path == folder || strings.HasPrefix(path, strings.TrimSuffix(folder, "/")+"/")
	}
}

func is(want string) func(string) bool { return func(path string) bool { return path == want } }

func either(selectors ...func(string) bool) func(string) bool {
	return func(path string) bool {
		return slices.ContainsFunc(selectors, func(s func(string) bool) bool { return s(path) })
	}
}

// whoever forbids what is selected to all importing packages.
func whoever(forbidden func(string) bool) func(from, path string) bool {
	return func(_, path string) bool { return forbidden(path) }
}

// ours forbids all packages of this module but the selected ones.
func ours(allowed func(string) bool) func(from, path string) bool {
	own := either(in("api"), in("cmd"), in("config"), in("controllers"), in("reconcilers"), in("test"), in("bundle"), in("olm"))

	return func(_, path string) bool { return own(path) && !allowed(path) }
}

func first(path string) string {
	name, _, _ := strings.Cut(path, "/")

	return name
}
