package cluster

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// certificates fills the run's folder with the certificates and kubeconfigs of the control plane.
func (c *Cluster) certificates() error {
	p, err := newPKI(c.file("pki"), time.Now())
	if err != nil {
		return err
	}
	c.pki = p
	addrs := []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1}), c.slot.firstService()}
	if c.info.Mode == Node {
		addrs = append(addrs, c.slot.host())
	}
	names := []string{"localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc." + ClusterDomain}
	if err := p.server("server", addrs, names); err != nil {
		return err
	}
	if err := p.tokens(); err != nil {
		return err
	}
	if _, err := p.client("front-proxy-client", p.front, "front-proxy-client", ""); err != nil {
		return err
	}
	if _, err := p.client("kubelet-client", p.ca, "kube-apiserver-kubelet-client", "system:masters"); err != nil {
		return err
	}
	for _, u := range []struct{ file, user, group string }{
		{c.Kubeconfig(), "kubernetes-admin", "system:masters"},
		{p.path("controllers.kubeconfig"), "system:kube-controller-manager", ""},
		{p.path("scheduler.kubeconfig"), "system:kube-scheduler", ""},
	} {
		id, err := p.client(filepath.Base(u.file), p.ca, u.user, u.group)
		if err != nil {
			return err
		}
		if err := p.kubeconfig(u.file, c.server("127.0.0.1"), id); err != nil {
			return err
		}
	}
	return nil
}

func (c *Cluster) server(host string) string {
	return "https://" + host + ":" + strconv.Itoa(c.slot.port(portAPI))
}

// startControlPlane starts what the mode asks for and returns when it is ready.
func (c *Cluster) startControlPlane(ctx context.Context) error {
	var err error
	if c.config, err = load(c.Kubeconfig()); err != nil {
		return err
	}
	if c.client, err = newClient(c.config); err != nil {
		return err
	}
	if c.lined {
		if c.line, err = newLine(ctx, c.local(portEtcdLine), c.local(portEtcd)); err != nil {
			return fmt.Errorf("lay a line to etcd: %w", err)
		}
	}
	if err := c.runAll(ctx, c.etcd(), c.apiServer()); err != nil || c.info.Mode == APIServer {
		return err
	}
	return c.runAll(ctx, c.controllers(), c.scheduler())
}

// runAll starts programs together and waits until each is ready, in order.
func (c *Cluster) runAll(ctx context.Context, programs ...program) error {
	started := make([]*process, 0, len(programs))
	for _, p := range programs {
		r, err := c.run(p)
		if err != nil {
			return err
		}
		started = append(started, r)
	}
	for _, r := range started {
		if err := r.ready(ctx, c.probe(r.name)); err != nil {
			return err
		}
	}
	return nil
}

// probe tells whether a program of the control plane is ready.
func (c *Cluster) probe(name string) func(context.Context) error {
	switch name {
	case "etcd":
		return c.client.answers("http://" + c.local(portEtcd) + "/readyz")
	case "kube-apiserver":
		// The default namespace, which everyone counts on, comes a moment after readiness.
		return c.client.answers("/readyz", "/api/v1/namespaces/default")
	case "kwok":
		return c.fakeNodeReady
	case "kube-controller-manager":
		return c.client.answers("https://" + c.local(portControllers) + "/healthz")
	default:
		return c.client.answers("https://" + c.local(portScheduler) + "/healthz")
	}
}

func (c *Cluster) local(port int) string { return "127.0.0.1:" + strconv.Itoa(c.slot.port(port)) }

func (c *Cluster) kubernetes(name string, args ...string) program {
	return program{name: name, path: filepath.Join(c.tools["kubernetes"], name), args: args}
}

func (c *Cluster) etcd() program {
	client, peer := "http://"+c.local(portEtcd), "http://"+c.local(portEtcdPeer)
	return c.kubernetes("etcd",
		"--name=weir", "--data-dir="+c.file("etcd"), "--unsafe-no-fsync", "--log-level=warn",
		"--listen-client-urls="+client, "--advertise-client-urls="+client,
		"--listen-peer-urls="+peer, "--initial-advertise-peer-urls="+peer, "--initial-cluster=weir="+peer)
}

func (c *Cluster) apiServer() program {
	p, bind, authorizers, reconciler := c.pki, "127.0.0.1", "RBAC", "none" // Endpoints cannot hold a loopback address
	if c.info.Mode == Node {
		// The node and its pods come in by the link.
		bind, authorizers, reconciler = "0.0.0.0", "Node,RBAC", "lease"
	}
	etcd := c.local(portEtcd)
	if c.lined {
		etcd = c.local(portEtcdLine)
	}
	args := []string{
		"--etcd-servers=http://" + etcd,
		"--bind-address=" + bind, "--advertise-address=" + c.HostIP(), "--endpoint-reconciler-type=" + reconciler,
		"--secure-port=" + strconv.Itoa(c.slot.port(portAPI)),
		"--tls-cert-file=" + p.path("server.crt"), "--tls-private-key-file=" + p.path("server.key"),
		"--client-ca-file=" + p.path("ca.crt"), "--authorization-mode=" + authorizers,
		"--service-account-issuer=https://kubernetes.default.svc." + ClusterDomain,
		"--service-account-key-file=" + p.path("sa.pub"), "--service-account-signing-key-file=" + p.path("sa.key"),
		"--service-cluster-ip-range=" + c.slot.services().String(), "--allow-privileged=true", "--profiling=false",
		"--kubelet-client-certificate=" + p.path("kubelet-client.crt"), "--kubelet-client-key=" + p.path("kubelet-client.key"),
		"--kubelet-preferred-address-types=InternalIP,Hostname",
		"--requestheader-client-ca-file=" + p.path("front-proxy-ca.crt"), "--requestheader-allowed-names=front-proxy-client",
		"--requestheader-extra-headers-prefix=X-Remote-Extra-", "--requestheader-group-headers=X-Remote-Group",
		"--requestheader-username-headers=X-Remote-User",
		"--proxy-client-cert-file=" + p.path("front-proxy-client.crt"), "--proxy-client-key-file=" + p.path("front-proxy-client.key"),
	}
	switch c.info.Mode {
	case APIServer: // nobody makes the default service accounts that this plug-in insists on
		args = append(args, "--disable-admission-plugins=ServiceAccount")
	case Node:
		args = append(args, "--enable-admission-plugins=NodeRestriction")
	case ControlPlane:
	}
	if c.audit {
		args = append(args, "--audit-policy-file="+c.file("audit-policy.yaml"), "--audit-log-path="+c.AuditLog())
	}
	return c.kubernetes("kube-apiserver", append(args, c.extra...)...)
}

func (c *Cluster) controllers() program {
	p, config := c.pki, c.pki.path("controllers.kubeconfig")
	return c.kubernetes("kube-controller-manager", append(c.component(config, portControllers),
		"--use-service-account-credentials=true", "--service-account-private-key-file="+p.path("sa.key"),
		"--root-ca-file="+p.path("ca.crt"), "--client-ca-file="+p.path("ca.crt"),
		"--requestheader-client-ca-file="+p.path("front-proxy-ca.crt"),
		"--cluster-signing-cert-file="+p.path("ca.crt"), "--cluster-signing-key-file="+p.path("ca.key"),
		// The only node gets the whole range, since it has all the pods.
		"--allocate-node-cidrs=true", "--cluster-cidr="+c.slot.pods().String(),
		"--node-cidr-mask-size="+strconv.Itoa(c.slot.pods().Bits()),
		"--service-cluster-ip-range="+c.slot.services().String())...)
}

func (c *Cluster) scheduler() program {
	return c.kubernetes("kube-scheduler", c.component(c.pki.path("scheduler.kubeconfig"), portScheduler)...)
}

// component is what controller manager and scheduler have in common.
func (c *Cluster) component(kubeconfig string, port int) []string {
	return []string{
		"--kubeconfig=" + kubeconfig, "--authentication-kubeconfig=" + kubeconfig, "--authorization-kubeconfig=" + kubeconfig,
		"--bind-address=127.0.0.1", "--secure-port=" + strconv.Itoa(c.slot.port(port)),
		"--tls-cert-file=" + c.pki.path("server.crt"), "--tls-private-key-file=" + c.pki.path("server.key"),
		"--leader-elect=false", "--profiling=false",
		"--kube-api-qps=500", "--kube-api-burst=1000", // what they do first takes them 5 s at the usual pace
	}
}

// auditPolicy has one line per finished request, without bodies.
const auditPolicy = `apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- level: Metadata
`

func (c *Cluster) writeAuditPolicy() error {
	if !c.audit {
		return nil
	}
	return os.WriteFile(c.file("audit-policy.yaml"), []byte(auditPolicy), 0o644)
}

func load(kubeconfig string) (*rest.Config, error) {
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return nil, fmt.Errorf("read %q: %w", kubeconfig, err)
	}
	config.QPS = -1 // the server's priority and fairness decides, as for Weir itself
	return config, nil
}
