package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
)

// The versions of what a cluster is made of. Those of Kubernetes and CoreDNS
// stand in their nested modules' go.mod files too, which pin all they need.
const (
	kubernetesVersion = "v1.37.1"
	corednsVersion    = "v1.15.0"
	containerdVersion = "v2.4.2"
	runcVersion       = "v1.5.2"
	cniVersion        = "v1.9.1"
	nodeVersion       = "v1"
)

// tool is a set of programs that are built together.
type tool struct {
	name, version string
	source        string   // folder of the nested module; empty: packages are PATH@VERSION
	packages      []string // what to build
	flags, env    []string
	links         map[string]string // other names of the programs
	needs         []debian          // what the build takes besides Go
	takes         string            // for people: how long it takes
}

// args are the go command's arguments that put the tool into a folder.
func (t tool) args(dir string) []string {
	args := []string{"install", "-trimpath"}
	if t.source != "" {
		args = []string{"build", "-trimpath", "-o", dir + "/"}
	}
	return append(append(args, t.flags...), t.packages...)
}

// kubernetes is etcd, Kubernetes' own programs and kubectl, as one executable.
func kubernetes() tool {
	const pkg = "k8s.io/component-base/version."
	major, minor := "1", strings.Split(kubernetesVersion, ".")[1]
	return tool{
		name: "kubernetes", version: kubernetesVersion, source: "kubernetes", packages: []string{"."},
		env: []string{"CGO_ENABLED=0"},
		flags: []string{"-ldflags", "-s -w -X " + pkg + "gitVersion=" + kubernetesVersion +
			" -X " + pkg + "gitMajor=" + major + " -X " + pkg + "gitMinor=" + minor},
		links: map[string]string{
			"etcd": "kubernetes", "kube-apiserver": "kubernetes", "kube-controller-manager": "kubernetes",
			"kube-scheduler": "kubernetes", "kubelet": "kubernetes", "kube-proxy": "kubernetes", "kubectl": "kubernetes",
		},
		takes: "5 to 10 minutes, once",
	}
}

// nodeTools is what a node has besides Kubernetes.
func nodeTools() []tool {
	small := []string{"-ldflags", "-s -w"}
	return []tool{
		{
			name: "node", version: nodeVersion, source: "node", packages: []string{"./..."},
			env: []string{"CGO_ENABLED=0"}, flags: small, takes: "seconds",
		},
		{
			name: "cni", version: cniVersion, packages: versioned(
				"github.com/containernetworking/plugins/plugins/", cniVersion,
				"main/bridge", "main/loopback", "main/ptp", "ipam/host-local", "meta/portmap"),
			env: []string{"CGO_ENABLED=0"}, flags: small, takes: "up to a minute, once",
		},
		{
			name: "runc", version: runcVersion, packages: versioned("github.com/opencontainers/runc", runcVersion, ""),
			// Seccomp needs C; a static executable does not need the library where it runs.
			env: []string{"CGO_ENABLED=1"},
			flags: []string{"-tags", "seccomp,netgo,osusergo", "-ldflags",
				"-s -w -linkmode external -extldflags -static -X main.version=" + runcVersion[1:]},
			needs: []debian{
				{"gcc", "gcc", ""}, {"libc6-dev", "", "/usr/include/stdio.h"},
				{"pkg-config", "pkg-config", ""}, {"libseccomp-dev", "", "/usr/include/seccomp.h"},
			},
			takes: "up to a minute, once",
		},
		{
			name: "containerd", version: containerdVersion, packages: versioned(
				"github.com/containerd/containerd/v2/cmd/", containerdVersion,
				"containerd", "containerd-shim-runc-v2", "ctr"),
			env: []string{"CGO_ENABLED=0"},
			flags: []string{"-tags", "no_btrfs,no_zfs,no_devmapper", "-ldflags",
				"-s -w -X github.com/containerd/containerd/v2/version.Version=" + containerdVersion[1:]},
			takes: "1 to 3 minutes, once",
		},
		{
			name: "coredns", version: corednsVersion, source: "coredns", packages: []string{"."},
			env: []string{"CGO_ENABLED=0"}, flags: small, takes: "1 to 3 minutes, once",
		},
	}
}

func versioned(prefix, version string, names ...string) []string {
	paths := make([]string, 0, len(names))
	for _, n := range names {
		paths = append(paths, prefix+n+"@"+version)
	}
	return paths
}

// debian is a package of the distribution and the program or file that it is wanted for.
type debian struct{ name, program, file string }

func (d debian) installed() bool {
	if d.program != "" {
		_, err := exec.LookPath(d.program)
		return err == nil
	}
	return exists(d.file)
}

// runtimePackages are what a node calls when it runs.
func runtimePackages() []debian {
	return []debian{{"nftables", "nft", ""}, {"iproute2", "ip", ""}}
}

// missing are the names of the packages that are not there. It is an error if they cannot be installed.
func missing(packages []debian) ([]string, error) {
	var names []string
	for _, p := range packages {
		if !p.installed() {
			names = append(names, p.name)
		}
	}
	if len(names) == 0 {
		return nil, nil
	}
	if _, err := exec.LookPath("apt-get"); err != nil || os.Geteuid() != 0 {
		return nil, fmt.Errorf("missing packages, please install them: %s", strings.Join(names, " "))
	}
	return names, nil
}

// install sees to it that the packages are there, with apt-get when it may use it.
func install(ctx context.Context, log io.Writer, packages []debian) error {
	names, err := missing(packages)
	if err != nil || len(names) == 0 {
		return err
	}
	list := strings.Join(names, " ")
	fmt.Fprintf(log, "installing %s\n", list)
	args := append([]string{"install", "-y", "--no-install-recommends", "-o", "DPkg::Lock::Timeout=300"}, names...)
	if apt(ctx, args...) == nil {
		return nil
	}
	stale := apt(ctx, "update")
	if err := apt(ctx, args...); err != nil {
		return fmt.Errorf("install %s: %w", list, errors.Join(err, stale))
	}
	return nil
}

func apt(ctx context.Context, args ...string) error {
	cmd := exec.CommandContext(ctx, "apt-get", args...)
	cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("apt-get %s: %w\n%s", args[0], err, tail(out))
	}
	return nil
}
