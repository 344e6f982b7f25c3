package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"k8s.io/client-go/rest"
)

// ClusterDomain is the domain of Services: NAME.NAMESPACE.svc.cluster.local.
const ClusterDomain = "cluster.local"

// startTimeout bounds a start whose context has no deadline, building aside.
const startTimeout = 3 * time.Minute

// Mode says how much of Kubernetes a cluster has.
type Mode int

const (
	// APIServer is etcd and kube-apiserver: objects are stored, authorised and
	// watched, but nothing acts on them. Pods need no service account, and a
	// deleted namespace stays Terminating.
	APIServer Mode = iota
	// ControlPlane has kube-controller-manager and kube-scheduler too.
	ControlPlane
	// Node has a real node too, on which pods run, and name resolution. It needs
	// root on Linux: see NodeSupport.
	Node
)

// String returns the mode's name.
func (m Mode) String() string { return [...]string{"apiserver", "controlplane", "node"}[m] }

// Options says what to start. The zero value is an API server in a temporary folder.
type Options struct {
	// Mode is how much of Kubernetes to start.
	Mode Mode
	// Dir is the run folder: a new or empty one, or that of an earlier cluster,
	// whose files are removed. Empty stands for a new temporary folder.
	Dir string
	// Keep leaves the files, logs above all, when the cluster stops.
	Keep bool
	// Cache is the folder of built programs, shared by all clusters. Empty stands for weir/cluster in the user's cache folder.
	Cache string
	// Log takes progress messages for people. Nil discards them.
	Log io.Writer
	// FakeNode adds a node to a control plane whose pods kwok pretends to run: each is Ready one second after it was scheduled.
	FakeNode bool
	// Audit writes one line per API request, without bodies, to AuditLog.
	Audit bool
	// EtcdLine lets the API server reach etcd by a line that can be made slow, see Cluster.DelayEtcd.
	EtcdLine bool
	// APIServerArgs are more flags of kube-apiserver. They override those of this package.
	APIServerArgs []string
}

// Process is a running program of the cluster.
type Process struct {
	Name string // as in Kubernetes' documentation: "etcd", "kube-apiserver", "kubelet" …
	PID  int    // as the host sees it
}

// Cluster is a running Kubernetes. Start makes one, Open finds one that another
// process runs. Its methods may be called concurrently.
type Cluster struct {
	info   info
	config *rest.Config
	client *client

	// What only the process that runs the cluster has.
	audit    bool
	keep     bool
	made     bool
	extra    []string
	lined    bool
	line     *line // nil unless there is one
	log      io.Writer
	tools    map[string]string
	lock     *fileLock
	slot     *slot
	pki      *pki
	spawner  *spawner
	registry *registryServer
	node     *node

	mu        sync.Mutex
	processes []*process
	stop      func() error
}

// info is what others may know of a cluster: the contents of cluster.json.
type info struct {
	Supervisor int // process that runs the cluster
	Dir        string
	Mode       Mode
	Kubernetes string // version
	HostIP     string
	Registry   string
	Pods       string // ranges of addresses
	Services   string
	Processes  []Process
}

// Start runs a cluster in this process and returns when everything is ready. The
// context bounds the start, not the life of the cluster, which ends with Stop or
// with this process, however that ends. Programs are built first where they are
// missing from the cache, see Binaries.
func Start(ctx context.Context, o Options) (*Cluster, error) {
	if o.Log == nil {
		o.Log = io.Discard
	}
	if o.Mode == Node {
		if err := NodeSupport(); err != nil {
			return nil, fmt.Errorf("start a node: %w", err)
		}
	}
	tools, err := Build(ctx, o.Cache, o.Mode == Node, o.Log)
	if err != nil {
		return nil, err
	}
	if o.FakeNode {
		if tools["kwok"], err = buildKWOK(ctx, o); err != nil {
			return nil, err
		}
	}
	if _, bounded := ctx.Deadline(); !bounded {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, startTimeout)
		defer cancel()
	}
	c := &Cluster{
		audit: o.Audit, keep: o.Keep, extra: o.APIServerArgs, lined: o.EtcdLine, log: o.Log, tools: tools,
		info: info{Supervisor: os.Getpid(), Mode: o.Mode, Kubernetes: kubernetesVersion},
	}
	c.stop = sync.OnceValue(c.shutdown)
	if err := c.start(ctx, o); err != nil {
		return nil, errors.Join(fmt.Errorf("start cluster: %w", err), c.Stop())
	}
	return c, nil
}

func (c *Cluster) start(ctx context.Context, o Options) error {
	if err := c.reserve(o); err != nil {
		return err
	}
	c.info.HostIP, c.info.Pods, c.info.Services = "127.0.0.1", c.slot.pods().String(), c.slot.services().String()
	if c.info.Mode == Node {
		c.info.HostIP = c.slot.host().String()
	}
	if err := errors.Join(c.certificates(), c.writeAuditPolicy()); err != nil {
		return err
	}
	c.spawner = newSpawner()
	if err := c.startRegistry(ctx); err != nil {
		return err
	}
	if c.info.Mode == Node {
		if err := c.startNode(ctx); err != nil {
			return err
		}
	}
	if err := c.startControlPlane(ctx); err != nil {
		return err
	}
	if c.info.Mode == Node {
		if err := c.joinNode(ctx); err != nil {
			return err
		}
	}
	if o.FakeNode {
		if err := c.startFakeNode(ctx); err != nil {
			return err
		}
	}
	return c.save()
}

// reserve takes the run folder and a slot, and writes down what to clean up if this process is killed.
func (c *Cluster) reserve(o Options) error {
	if err := c.takeDir(o.Dir); err != nil {
		return err
	}
	cache, err := cacheDir(o.Cache)
	if err != nil {
		return err
	}
	if c.slot, err = takeSlot(cache, c.info.Mode == Node, c.log); err != nil {
		return errors.Join(err, clearDir(c.info.Dir, c.made))
	}
	if err := c.slot.write(c.record()); err != nil {
		return err
	}
	return os.MkdirAll(c.file("logs"), 0o755)
}

// run starts a program of the control plane, in place of an earlier run of it.
func (c *Cluster) run(p program) (*process, error) {
	r, err := c.spawner.run(c.file("logs"), p)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.processes = slices.DeleteFunc(c.processes, func(o *process) bool { return o.name == p.name })
	c.info.Processes = slices.DeleteFunc(c.info.Processes, func(o Process) bool { return o.Name == p.name })
	c.processes = append(c.processes, r)
	c.info.Processes = append(c.info.Processes, Process{p.name, r.cmd.Process.Pid})
	return r, nil
}

// Kill ends a program of the control plane, to see what its absence does. Only
// the process that started the cluster can.
func (c *Cluster) Kill(name string) error {
	p, err := c.find(name)
	if err != nil {
		return err
	}
	return p.kill()
}

// Restart kills a program of the control plane, unless it has ended already,
// starts it again and returns when it is ready.
func (c *Cluster) Restart(ctx context.Context, name string) error {
	p, err := c.find(name)
	if err != nil {
		return err
	}
	if err := p.kill(); err != nil {
		return err
	}
	if err := c.runAll(ctx, p.program); err != nil {
		return fmt.Errorf("restart %s: %w", name, err)
	}
	return c.save()
}

func (c *Cluster) find(name string) (*process, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, p := range c.processes {
		if p.name == name {
			return p, nil
		}
	}
	return nil, fmt.Errorf("this process runs no %q", name)
}

func (c *Cluster) save() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	b, err := json.MarshalIndent(&c.info, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(c.file("cluster.json"), b, 0o644)
}

// Stop ends every process of the cluster and removes its files, unless they are
// to be kept. It may be called more than once.
func (c *Cluster) Stop() error { return c.stop() }

func (c *Cluster) shutdown() error {
	var err error
	if c.node != nil {
		err = c.node.kill()
	}
	c.mu.Lock()
	for _, p := range slices.Backward(c.processes) {
		err = errors.Join(err, p.kill())
	}
	c.mu.Unlock()
	if c.line != nil {
		err = errors.Join(err, c.line.close())
	}
	if c.registry != nil {
		err = errors.Join(err, c.registry.close())
	}
	if c.spawner != nil {
		c.spawner.close()
	}
	if c.slot != nil {
		err = errors.Join(err, c.slot.clear(c.record()))
		c.slot.lock.unlock()
	}
	if c.lock != nil {
		c.lock.unlock()
	}
	if err != nil {
		return fmt.Errorf("stop cluster: %w", err)
	}
	return nil
}

func (c *Cluster) file(name string) string { return filepath.Join(c.info.Dir, name) }

// Config returns how the cluster's administrator reaches the API server, as a
// copy that the caller may change. It has no client-side rate limit.
func (c *Cluster) Config() *rest.Config { return rest.CopyConfig(c.config) }

// Kubeconfig returns the absolute path of the administrator's kubeconfig.
func (c *Cluster) Kubeconfig() string { return c.file("kubeconfig") }

// Dir returns the absolute path of the run folder. It holds logs/NAME.log of every process.
func (c *Cluster) Dir() string { return c.info.Dir }

// AuditLog returns the path of the audit log, which is there if Options.Audit asked for it.
func (c *Cluster) AuditLog() string { return c.file("audit.log") }

// HostIP returns the address under which the cluster's pods reach servers of the
// host, and on which such servers should listen. Without a node it is 127.0.0.1.
func (c *Cluster) HostIP() string { return c.info.HostIP }

// Registry returns the host and port of the cluster's OCI registry, as in
// "localhost:21005". It speaks plain HTTP. Image references of pods start with
// it; the pods' own programs find the same registry at HostIP and that port.
func (c *Cluster) Registry() string { return c.info.Registry }

// Mode returns how much of Kubernetes the cluster has.
func (c *Cluster) Mode() Mode { return c.info.Mode }

// Supervisor returns the process that runs the cluster, and its registry. The
// cluster ends with it.
func (c *Cluster) Supervisor() int { return c.info.Supervisor }

// Processes returns the programs of the cluster, for the accounting of memory
// and the injection of faults.
func (c *Cluster) Processes() []Process {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.info.Processes)
}
