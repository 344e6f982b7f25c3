package platform

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
)

// module is this module's path.
const module = "github.com/weir-dev/weir"

// Build builds the manager as a static program for the operating system, on the architecture of this machine, and returns
// its path. It is fast if dir, which is made if needed, has it already. What the compiler says goes to log.
func Build(ctx context.Context, dir, system string, log io.Writer) (string, error) {
	return build(ctx, dir, "manager-"+system+"-"+runtime.GOARCH, log,
		[]string{"CGO_ENABLED=0", "GOOS=" + system, "GOARCH=" + runtime.GOARCH}, "-ldflags=-s -w")
}

// BuildRaced builds the manager for this machine with the detector of data races, which writes what it finds to the log of
// the manager.
func BuildRaced(ctx context.Context, dir string, log io.Writer) (string, error) {
	return build(ctx, dir, "manager-race", log, []string{"CGO_ENABLED=1"}, "-race")
}

func build(ctx context.Context, dir, name string, log io.Writer, env []string, flags ...string) (string, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil { //nolint:gosec // programs are no secret
		return "", err
	}

	out := filepath.Join(dir, name)
	cmd := command(ctx, append(append([]string{"build", "-trimpath", "-buildvcs=false"}, flags...), "-o", out, module+"/cmd/manager")...)
	cmd.Env = append(os.Environ(), env...)
	cmd.Stdout, cmd.Stderr = log, log

	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("build the manager: %w", err)
	}

	return out, nil
}

// Release is an image of the manager in a registry.
type Release struct {
	// Image is its reference, with tag and digest.
	Image string

	// Install is the manifest that installs the operator from the image.
	Install []byte
}

// Push makes the image of the manager, a program for Linux that Build has built, and pushes it to <registry>/weir with the
// tag, which is its version too: with another tag the same program has another digest.
func Push(ctx context.Context, manager, registry, tag string, log io.Writer) (Release, error) {
	dir, err := os.MkdirTemp("", "weir-release-")
	if err != nil {
		return Release{}, err
	}
	defer os.RemoveAll(dir) //nolint:errcheck // a temporary directory

	install, platform := filepath.Join(dir, "install.yaml"), "linux/"+runtime.GOARCH
	cmd := command(ctx, "run", module+"/cmd/image", "--repository="+registry+"/weir", "--tag="+tag,
		"--version="+tag, "--platforms="+platform, "--binary="+platform+"="+manager, "--install="+install)
	cmd.Stderr = log

	reference, err := cmd.Output()
	if err != nil {
		return Release{}, fmt.Errorf("push the image of the manager: %w", err)
	}

	manifest, err := os.ReadFile(install) //nolint:gosec // written by the command above
	if err != nil {
		return Release{}, err
	}

	return Release{Image: strings.TrimSpace(string(reference)), Install: manifest}, nil
}

// command runs the go command. It ends with this process, lest it write to a folder that was removed meanwhile.
func command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.SysProcAttr = dependent()

	return cmd
}
