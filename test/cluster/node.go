package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
)

// NodeName is the name of the node, if the cluster has one.
const NodeName = "node"

// Folders inside the node. Everything under /run is the node's own.
const (
	nodeRun = "/run/weir"
	nodeEtc = nodeRun + "/etc"
)

// node is the process that is the parent of all others of the node, and the pipe that it takes orders from.
type node struct {
	*process
	orders io.WriteCloser
	encode *json.Encoder
}

// setup, mount and order are the messages of tools/node/init.
type setup struct {
	Hostname string
	Mounts   []mount
	Masks    map[string]string
	Network  []string
	Values   map[string]string
}

type mount struct{ Source, Target string }

type order struct {
	Name, Path string
	Args, Env  []string
	Log        string
	Socket     string
}

// startNode makes the node's namespaces, links them to the host, and starts
// containerd there, which needs no API server.
func (c *Cluster) startNode(ctx context.Context) error {
	if err := install(ctx, c.log, runtimePackages()); err != nil {
		return err
	}
	if err := errors.Join(c.slot.makeCgroup(), c.nodeFiles()); err != nil {
		return err
	}
	if err := c.startInit(); err != nil {
		return err
	}
	if err := batch(ctx, c.hostNetwork()); err != nil {
		return err
	}
	if err := c.node.encode.Encode(c.nodeSetup()); err != nil {
		return fmt.Errorf("set up node: %w: %s", err, c.node.output())
	}
	if err := c.registry.listen(ctx, c.HostIP()+":"+strconv.Itoa(c.slot.port(portRegistry))); err != nil {
		return err
	}
	return c.order("containerd", nodeRun+"/containerd/containerd", containerdSocket, "--config="+nodeEtc+"/containerd.toml")
}

func (c *Cluster) startInit() error {
	in, orders, err := os.Pipe()
	if err != nil {
		return err
	}
	defer in.Close() //nolint:errcheck // the child has its own
	log := filepath.Join(c.file("logs"), "node.log")
	out, err := os.Create(log)
	if err != nil {
		return errors.Join(err, orders.Close())
	}
	defer out.Close() //nolint:errcheck // the child has its own
	p := program{name: "node", path: filepath.Join(c.tools["node"], "init")}
	cmd := exec.Command(p.path) //nolint:noctx // it lives as long as the cluster
	cmd.Stdin, cmd.Stdout, cmd.Stderr = in, out, out
	cmd.Env = []string{"PATH=" + searchPath}
	cmd.SysProcAttr = isolated()
	r, err := c.spawner.launch(p, log, cmd)
	if err != nil {
		return errors.Join(err, orders.Close())
	}
	c.node = &node{process: r, orders: orders, encode: json.NewEncoder(orders)}
	return nil
}

// order has a program started in the node.
func (c *Cluster) order(name, path, socket string, args ...string) error {
	return c.node.encode.Encode(order{
		Name: name, Path: path, Args: args, Log: nodeRun + "/logs/" + name + ".log", Socket: socket,
		Env: []string{"PATH=" + strings.Join([]string{nodeRun + "/containerd", nodeRun + "/runc", searchPath}, ":"), "HOME=/var/lib", "TMPDIR=/var/lib/tmp"},
	})
}

// kill ends all processes of the node, pods included.
func (n *node) kill() error { return errors.Join(n.process.kill(), n.orders.Close()) }

// joinNode starts what needs the API server, and returns when pods run and names resolve.
func (c *Cluster) joinNode(ctx context.Context) error {
	err := errors.Join(
		c.order("kubelet", nodeRun+"/kubernetes/kubelet", "", "--config="+nodeEtc+"/kubelet.yaml", "--kubeconfig="+nodeEtc+"/kubelet.kubeconfig",
			"--hostname-override="+NodeName, "--node-ip="+c.slot.node().String()),
		c.order("kube-proxy", nodeRun+"/kubernetes/kube-proxy", "", "--config="+nodeEtc+"/proxy.yaml", "--hostname-override="+NodeName),
		c.applyDNS(ctx),
	)
	if err != nil {
		return err
	}
	if err := c.node.ready(ctx, c.nodeReady); err != nil {
		return err
	}
	if err := c.node.ready(ctx, c.dnsReady); err != nil {
		return err
	}
	return c.countNode()
}

// countNode adds the node's programs, which its first process started, to those of the cluster.
func (c *Cluster) countNode() error {
	programs, err := childrenOf(c.node.cmd.Process.Pid)
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.info.Processes = append(c.info.Processes, Process{"node", c.node.cmd.Process.Pid})
	for _, p := range programs {
		switch p.Name {
		case "containerd", "kubelet", "kube-proxy":
			c.info.Processes = append(c.info.Processes, p)
		}
	}
	return nil
}

func (c *Cluster) nodeReady(ctx context.Context) error {
	var n struct {
		Status struct {
			Conditions []struct{ Type, Status, Message string }
		}
	}
	if err := c.client.get(ctx, "/api/v1/nodes/"+NodeName, &n); err != nil {
		return err
	}
	for _, k := range n.Status.Conditions {
		if k.Type == "Ready" && k.Status != "True" {
			return fmt.Errorf("node is not ready: %s", k.Message)
		}
		if k.Type == "Ready" {
			return nil
		}
	}
	return errors.New("node has no condition yet")
}

// hostNetwork links the host to the node, through which it reaches pods and Services.
func (c *Cluster) hostNetwork() []string {
	s := c.slot
	return []string{
		fmt.Sprintf("link add %s type veth peer name eth0 netns %d", s.name(), c.node.cmd.Process.Pid),
		fmt.Sprintf("addr add %s/30 dev %s", s.host(), s.name()),
		fmt.Sprintf("link set %s up", s.name()),
		fmt.Sprintf("route add %s via %s dev %s", s.pods(), s.node(), s.name()),
		fmt.Sprintf("route add %s via %s dev %s", s.services(), s.node(), s.name()),
	}
}

func (c *Cluster) nodeSetup() setup {
	s := setup{
		Hostname: NodeName,
		Mounts: []mount{
			{"", "/run"}, {c.nodeFile("lib"), "/var/lib"}, {c.nodeFile("log"), "/var/log"},
			{c.nodeFile("etc"), nodeEtc}, {c.file("logs"), nodeRun + "/logs"},
		},
		Masks: map[string]string{
			"vm/overcommit_memory": "1", "vm/panic_on_oom": "0", "kernel/panic": "10", "kernel/panic_on_oops": "1",
			"kernel/keys/root_maxkeys": "1000000", "kernel/keys/root_maxbytes": "25000000",
		},
		Network: []string{
			"link set lo up", fmt.Sprintf("addr add %s/30 dev eth0", c.slot.node()), "link set eth0 up",
			fmt.Sprintf("route add default via %s", c.slot.host()),
		},
		Values: map[string]string{"net/ipv4/ip_forward": "1"},
	}
	for _, t := range []string{"kubernetes", "containerd", "runc", "cni"} {
		s.Mounts = append(s.Mounts, mount{c.tools[t], nodeRun + "/" + t})
	}
	if layered(c.info.Dir) { // containerd's layers cannot be put upon those of a container that we run in
		s.Mounts[1].Source = ""
	}
	return s
}

func (c *Cluster) nodeFile(name string) string { return filepath.Join(c.file("node"), name) }

// nodeCredentials lets the node's programs into the API server, by the link.
func (c *Cluster) nodeCredentials() error {
	for _, u := range []struct{ file, user, group string }{
		{"kubelet.kubeconfig", "system:node:" + NodeName, "system:nodes"},
		{"proxy.kubeconfig", "system:kube-proxy", ""},
	} {
		id, err := c.pki.client(u.file, c.pki.ca, u.user, u.group)
		if err != nil {
			return err
		}
		if err := c.pki.kubeconfig(filepath.Join(c.nodeFile("etc"), u.file), c.server(c.HostIP()), id); err != nil {
			return err
		}
	}
	return nil
}

// batch runs commands of ip on the host.
func batch(ctx context.Context, commands []string) error {
	cmd := exec.CommandContext(ctx, "ip", "-batch", "-")
	cmd.Env = []string{"PATH=" + searchPath}
	cmd.Stdin = strings.NewReader(strings.Join(commands, "\n") + "\n")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("set up the link to the node: %w: %s", err, tail(out))
	}
	return nil
}
