// Package cluster runs a real Kubernetes for tests, demos and benchmarks, from
// nothing but Go: all programs are built from Go modules.
//
// Three sizes are to be had, see [Mode]: an API server, which is what most tests
// of controllers want and which is ready after 2 to 3 s; a control plane; and a
// real node with containerd, runc, pod network, Services, name resolution and
// logs, ready after about 6 s, for root on Linux. Stopping takes less than 1 s.
// The first use on a machine builds the programs (see [Build]), which takes
// minutes, so test suites build beforehand, lest tests time out:
//
//	go run ./test/cluster/cmd/cluster build
//
// Where pods need not run but must become Ready, [Options].FakeNode adds a node
// that kwok pretends to be: a thousand pods cost little.
//
// Tests of a package share an API server by [Shared]; [New] is for one test. The
// command in cmd/cluster runs a cluster in the background. Package nodetest
// holds what the node promises, and skips where there can be none.
//
// # Isolation
//
// Clusters run side by side. Each takes a free slot, from which its ports, its
// addresses and its names in the kernel follow. Its files are in one folder.
//
// The processes end with the one that started them, even if that is killed
// (on Linux). The node's live in namespaces whose first process is one of those:
// pods, mounts, links and packet filters go with it. What the kernel does not
// clean up after a killed cluster, that is files and empty cgroups, the next
// start removes, or [Clean]. The host's kernel settings stay as they are.
//
// # Network
//
// With a node, the host reaches the addresses of pods and Services, and pods
// reach what listens on [Cluster.HostIP]. The API server then listens on all
// addresses of the host, without a node only on 127.0.0.1. Pods get no further
// than the host. Names outside the cluster do not resolve.
//
// Images come from the cluster's own registry, see [Image] and [Cluster.Push].
//
// # Limits
//
// There is no enforcement of NetworkPolicy, no volume provisioner, no load
// balancer and no metrics server. Certificates live for a year, clusters until
// they are stopped: no state survives that.
package cluster
