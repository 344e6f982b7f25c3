package cluster

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
)

// kwokVersion is the version of what pretends to be a kubelet.
const kwokVersion = "v0.8.0"

const fakeNode = "fake"

// stages say what kwok makes of nodes and pods.
//
//go:embed fakenode.yaml
var stages []byte

// buildKWOK returns the folder of kwok.
func buildKWOK(ctx context.Context, o Options) (string, error) {
	w, err := newWorkshop(ctx, o.Cache, o.Log)
	if err != nil {
		return "", err
	}
	return w.get(ctx, tool{
		name: "kwok", version: kwokVersion, packages: versioned("sigs.k8s.io/kwok/cmd/kwok", kwokVersion, ""),
		env: []string{"CGO_ENABLED=0"}, flags: []string{"-ldflags", "-s -w"}, takes: "1 to 3 minutes, once",
	})
}

// startFakeNode makes a node and returns when kwok has made it Ready.
func (c *Cluster) startFakeNode(ctx context.Context) error {
	node := `{"metadata":{"name":"` + fakeNode + `","labels":{"kubernetes.io/hostname":"` + fakeNode + `","kubernetes.io/os":"linux"}}}`
	if err := c.client.do(ctx, http.MethodPost, c.client.base+"/api/v1/nodes", "application/json", strings.NewReader(node), nil); err != nil {
		return fmt.Errorf("create node: %w", err)
	}
	config := c.file("kwok.yaml")
	if err := os.WriteFile(config, stages, 0o644); err != nil { //nolint:gosec // nothing secret
		return err
	}
	return c.runAll(ctx, program{
		name: "kwok", path: filepath.Join(c.tools["kwok"], "kwok"),
		// Leases, lest the node be taken for dead.
		args: []string{
			"--kubeconfig=" + c.Kubeconfig(), "--config=" + config, "--manage-single-node=" + fakeNode,
			"--cidr=" + c.slot.pods().String(), "--node-lease-duration-seconds=40",
		},
	})
}

// fakeNodeReady tells whether kwok has taken the node over.
func (c *Cluster) fakeNodeReady(ctx context.Context) error {
	var node struct {
		Status struct {
			Conditions []struct{ Type, Status string }
		}
	}
	if err := c.client.get(ctx, "/api/v1/nodes/"+fakeNode, &node); err != nil {
		return err
	}
	for _, condition := range node.Status.Conditions {
		if condition.Type == "Ready" && condition.Status == "True" {
			return nil
		}
	}
	return errors.New("the node is not ready")
}
