package cluster

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"text/template"
)

// containerdSocket is where the kubelet finds containerd, inside the node.
const containerdSocket = "/run/containerd/containerd.sock"

const containerdConfig = `version = 3
root = "/var/lib/containerd"
state = "/run/containerd"
disabled_plugins = [
  "io.containerd.snapshotter.v1.blockfile", "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.devmapper",
  "io.containerd.snapshotter.v1.erofs", "io.containerd.snapshotter.v1.zfs",
  "io.containerd.nri.v1.nri", "io.containerd.internal.v1.opt",
]

[grpc]
  address = "{{.Socket}}"

[plugins."io.containerd.cri.v1.images"]
  snapshotter = "overlayfs"
  [plugins."io.containerd.cri.v1.images".pinned_images]
    sandbox = "{{.Pause}}"
  [plugins."io.containerd.cri.v1.images".registry]
    config_path = "{{.Etc}}/registries"

[plugins."io.containerd.cri.v1.runtime"]
  # Root without CAP_SYS_RESOURCE may not make a process less likely to be killed.
  restrict_oom_score_adj = true
  disable_apparmor = true
  [plugins."io.containerd.cri.v1.runtime".cni]
    bin_dirs = ["{{.Run}}/cni"]
    conf_dir = "{{.Etc}}/cni"
  [plugins."io.containerd.cri.v1.runtime".containerd]
    default_runtime_name = "runc"
    [plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc.options]
        BinaryName = "{{.Run}}/runc/runc"
        SystemdCgroup = false
`

// registryConfig has containerd ask the cluster's registry, under whatever name an image has.
const registryConfig = `[host."http://{{.Registry}}"]
  capabilities = ["pull", "resolve"]
`

// cniConfig gives each pod a link of its own to the node: unlike a bridge, that
// takes no kernel module for Services of pods next to each other.
const cniConfig = `{
  "cniVersion": "1.0.0",
  "name": "weir",
  "plugins": [
    {
      "type": "ptp", "ipMasq": true, "ipMasqBackend": "nftables",
      "ipam": {
        "type": "host-local", "dataDir": "/run/cni", "ranges": [[{"subnet": "{{.Pods}}"}]],
        "routes": [{"dst": "0.0.0.0/0"}]
      }
    },
    {"type": "portmap", "backend": "nftables", "capabilities": {"portMappings": true}}
  ]
}
`

const kubeletConfig = `apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
containerRuntimeEndpoint: unix://{{.Socket}}
cgroupDriver: cgroupfs
cgroupRoot: /{{.Cgroup}}
failCgroupV1: false
failSwapOn: false
authentication:
  anonymous: {enabled: false}
  webhook: {enabled: true}
  x509: {clientCAFile: {{.Etc}}/ca.crt}
authorization: {mode: Webhook}
clusterDNS: ["{{.DNS}}"]
clusterDomain: {{.Domain}}
resolvConf: {{.Etc}}/resolv.conf
makeIPTablesUtilChains: false
volumePluginDir: /var/lib/kubelet/volume-plugins
maxPods: 250
serializeImagePulls: false
# The disk is the host's: how full it is says nothing about this node.
evictionHard: {memory.available: 100Mi, nodefs.available: "0%", nodefs.inodesFree: "0%", imagefs.available: "0%", imagefs.inodesFree: "0%"}
imageGCHighThresholdPercent: 100
imageGCLowThresholdPercent: 99
logging: {verbosity: 2}
`

// proxyConfig leaves the table of connections alone, whose limits are the host's.
const proxyConfig = `apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
mode: nftables
clusterCIDR: {{.Pods}}
clientConnection: {kubeconfig: {{.Etc}}/proxy.kubeconfig}
conntrack: {maxPerCore: 0, min: 0}
`

// resolvConfig is for pods that want the node's name server: it is the cluster's too.
const resolvConfig = "nameserver {{.DNS}}\n"

// nodeValues are what the configurations are filled with.
type nodeValues struct {
	Run, Etc, Socket, Cgroup, Domain, DNS, Pods, Pause, CoreDNS, Registry string
}

func (c *Cluster) nodeValues() nodeValues {
	_, port, _ := strings.Cut(c.Registry(), ":")
	return nodeValues{
		Run: nodeRun, Etc: nodeEtc, Socket: containerdSocket, Cgroup: c.slot.name(), Domain: ClusterDomain,
		DNS: c.slot.dns().String(), Pods: c.slot.pods().String(),
		Pause: c.Registry() + "/" + pauseImage, CoreDNS: c.Registry() + "/" + corednsImage,
		Registry: c.HostIP() + ":" + port,
	}
}

// nodeFiles writes the folder that the node sees as nodeEtc, and makes those that it writes to.
func (c *Cluster) nodeFiles() error {
	for _, dir := range []string{"etc", "lib/tmp", "log"} {
		if err := os.MkdirAll(c.nodeFile(dir), 0o755); err != nil {
			return err
		}
	}
	v := c.nodeValues()
	for file, text := range map[string]string{
		"containerd.toml":                containerdConfig,
		"cni/10-weir.conflist":           cniConfig,
		"kubelet.yaml":                   kubeletConfig,
		"proxy.yaml":                     proxyConfig,
		"resolv.conf":                    resolvConfig,
		"ca.crt":                         string(c.pki.ca.certPEM),
		"registries/_default/hosts.toml": registryConfig,
		"registries/" + c.Registry() + "/hosts.toml": registryConfig,
	} {
		b, err := fill(text, v)
		if err == nil {
			err = writeFile(filepath.Join(c.nodeFile("etc"), file), b)
		}
		if err != nil {
			return err
		}
	}
	return c.nodeCredentials()
}

// fill fills in a configuration.
func fill(text string, v nodeValues) (string, error) {
	t, err := template.New("").Parse(text)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	err = t.Execute(&b, v)
	return b.String(), err
}

func writeFile(path, content string) error {
	return errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(content), 0o644))
}
