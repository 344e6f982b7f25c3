package instance

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	fluxv1 "github.com/weir-dev/weir/api/controlplane/v1"
	"github.com/weir-dev/weir/api/meta"
	"github.com/weir-dev/weir/reconcilers/access"
	"github.com/weir-dev/weir/reconcilers/health"
	"github.com/weir-dev/weir/reconcilers/release"
)

// credentialsTimeout is how long a run waits to see which versions of its Secrets there are. Without that, it is told later.
const credentialsTimeout = 5 * time.Second

// credentials watches the metadata of the Secrets that instances name, and of nothing else, and wakes an instance when one of them is
// no longer the one that its last run has used.
type credentials struct {
	hub  *health.Hub
	wake func(types.NamespacedName)

	mu sync.Mutex
	of map[types.NamespacedName]*keyring
}

// keyring is what an instance names.
type keyring struct {
	names    []access.ID
	versions map[access.ID]string // of those that exist
	used     bool                 // by a run, in the versions below
	state    string
}

// follower is who follows what an instance names: the instance itself is known to the hub as who applies objects.
func follower(key types.NamespacedName) access.ID {
	id := identity(key)
	id.Kind += "Credentials"
	return id
}

// current returns what identifies the versions of all that the instance names. When they change, it is woken.
func (c *credentials) current(ctx context.Context, obj *fluxv1.FluxInstance) string {
	key, names := client.ObjectKeyFromObject(obj), credentialsOf(obj)
	if c.declare(key, names) {
		c.hub.Follow(follower(key), names, func(id access.ID, live *health.Live) { c.see(key, id, live) })
		ctx, cancel := context.WithTimeout(ctx, credentialsTimeout)
		defer cancel()
		_ = c.hub.Ready(ctx, follower(key)) // what is not known yet wakes the instance when it is
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	k := c.of[key]
	if k == nil {
		return ""
	}
	k.used, k.state = true, k.fingerprint()
	return k.state
}

// declare notes what the instance names, and tells whether that is news.
func (c *credentials) declare(key types.NamespacedName, names []access.ID) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	k := c.of[key]
	if k == nil && len(names) == 0 || k != nil && slices.Equal(k.names, names) {
		return false
	}
	next := &keyring{names: names, versions: map[access.ID]string{}}
	for _, id := range names {
		if k != nil && k.versions[id] != "" {
			next.versions[id] = k.versions[id]
		}
	}
	if c.of == nil {
		c.of = map[types.NamespacedName]*keyring{}
	}
	c.of[key] = next
	return true
}

// see notes the version of what an instance names.
func (c *credentials) see(key types.NamespacedName, id access.ID, live *health.Live) {
	c.mu.Lock()
	k, stale := c.of[key], false
	if k != nil && slices.Contains(k.names, id) {
		if delete(k.versions, id); live != nil {
			k.versions[id] = live.ResourceVersion
		}
		stale = k.used && k.fingerprint() != k.state
	}
	c.mu.Unlock()
	if stale && c.wake != nil {
		c.wake(key)
	}
}

// forget ends the watches for an instance.
func (c *credentials) forget(key types.NamespacedName) {
	c.mu.Lock()
	known := c.of[key] != nil
	delete(c.of, key)
	c.mu.Unlock()
	if known {
		c.hub.Untrack(follower(key))
	}
}

func (k *keyring) fingerprint() string {
	var parts []string
	for _, id := range k.names {
		parts = append(parts, id.String()+"@"+k.versions[id])
	}
	return strings.Join(parts, "\n")
}

// credentialsOf are the objects that the instance names to get at registries and clusters, and to verify what comes from there.
func credentialsOf(obj *fluxv1.FluxInstance) []access.ID {
	var ids []access.ID
	add := func(kind, name string) {
		id := access.ID{Kind: kind, Namespace: obj.Namespace, Name: name}
		if name != "" && !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
	}
	d := obj.Spec.Distribution
	if release.Remote(obj) {
		add("Secret", d.ArtifactPullSecret)
		add("Secret", d.CertSecret)
		add("Secret", d.ProxySecret)
	}
	if v := d.Verify; v != nil {
		add("Secret", d.ImagePullSecret)
		add("Secret", nameOf(v.SecretRef))
		add("Secret", nameOf(v.TrustedRootSecretRef))
	}
	if k := obj.Spec.KubeConfig; k != nil {
		add("ConfigMap", nameOf(k.ConfigMapRef))
		if k.SecretRef != nil {
			add("Secret", k.SecretRef.Name)
		}
	}
	slices.SortFunc(ids, access.ID.Compare)
	return ids
}

func nameOf(ref *meta.LocalObjectReference) string {
	if ref == nil {
		return ""
	}
	return ref.Name
}
