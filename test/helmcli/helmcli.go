// Package helmcli runs the program helm in tests as people do. It is built once per machine, of the two versions that are in use.
package helmcli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"

	"github.com/weir-dev/weir/test/tool"
)

// Versions returns the programs that are in use, by their names.
func Versions() map[string]tool.Tool {
	return map[string]tool.Tool{"helm3": tool.Helm(), "helm4": tool.Helm4()}
}

// Program is helm with a home of its own: nothing of whoever runs the tests is read.
type Program struct{ path, kubeconfig, home string }

// Open returns the program, which is built if it has to be, for a cluster. Home is a folder that it writes to. Progress goes to log.
func Open(ctx context.Context, t tool.Tool, kubeconfig, home string, log io.Writer) (*Program, error) {
	path, err := t.Build(ctx, log)
	if err != nil {
		return nil, err
	}

	return &Program{path: path, kubeconfig: kubeconfig, home: home}, nil
}

// Run runs the program for a namespace and returns what it printed. An error has what it said of it.
func (p *Program) Run(ctx context.Context, namespace string, args ...string) (string, error) {
	var stdout, stderr bytes.Buffer

	cmd := exec.CommandContext(ctx, p.path, append(args, "--kubeconfig="+p.kubeconfig, "--namespace="+namespace)...) //nolint:gosec // ours
	cmd.Env = []string{"HOME=" + p.home, "NO_PROXY=*", "PATH=" + os.Getenv("PATH")}
	cmd.Stdout, cmd.Stderr = &stdout, &stderr

	if err := cmd.Run(); err != nil {
		return stdout.String(), fmt.Errorf("helm %q: %w: %s", args, err, stderr.String())
	}

	return stdout.String(), nil
}

// Release is what the program tells of a release, or of a revision of it.
type Release struct {
	Name, Namespace, Status, Chart, Description string

	Revision int
}

// List returns the releases of a namespace, in whatever state they are.
func (p *Program) List(ctx context.Context, namespace string) ([]Release, error) {
	return p.releases(ctx, namespace, "list", "--output=json")
}

// History returns the revisions of a release, the oldest first.
func (p *Program) History(ctx context.Context, namespace, name string) ([]Release, error) {
	return p.releases(ctx, namespace, "history", name, "--output=json")
}

func (p *Program) releases(ctx context.Context, namespace string, args ...string) ([]Release, error) {
	out, err := p.Run(ctx, namespace, args...)
	if err != nil {
		return nil, err
	}

	// One command tells revisions as text, the other one as numbers.
	var all []struct {
		Release

		Revision json.RawMessage
	}
	if err := json.Unmarshal([]byte(out), &all); err != nil {
		return nil, fmt.Errorf("helm %q printed no list: %w", args, err)
	}

	list := make([]Release, 0, len(all))

	for _, r := range all {
		if _, err := fmt.Sscan(string(bytes.Trim(r.Revision, `"`)), &r.Release.Revision); err != nil {
			return nil, errors.Join(fmt.Errorf("helm %q printed the revision %s", args, r.Revision), err)
		}

		list = append(list, r.Release)
	}

	return list, nil
}
