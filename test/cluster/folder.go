package cluster

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// record is what a later run needs to know if this one is killed.
func (c *Cluster) record() record {
	return record{Dir: c.info.Dir, Made: c.made, Keep: c.keep, Node: c.info.Mode == Node}
}

// takeDir locks the run folder, makes it if need be, and empties it.
func (c *Cluster) takeDir(dir string) error {
	var err error
	switch dir {
	case "":
		dir, err = os.MkdirTemp("", "weir-cluster-")
		c.made = true
	default:
		if dir, err = filepath.Abs(dir); err == nil {
			c.made = !exists(dir)
			err = errors.Join(os.MkdirAll(dir, 0o755), ours(dir))
		}
	}
	if err != nil {
		return err
	}
	l, err := tryLock(filepath.Join(dir, "lock"))
	if err != nil {
		return err
	}
	if l == nil {
		return fmt.Errorf("a cluster is running in %q", dir)
	}
	c.info.Dir, c.lock = dir, l
	for _, name := range runFiles() {
		if err := os.RemoveAll(c.file(name)); err != nil {
			return err
		}
	}
	return nil
}

// ours refuses a folder that holds other things than a cluster's, lest they be removed.
func ours(dir string) error {
	entries, err := os.ReadDir(dir)
	if err == nil && len(entries) > 0 && !exists(filepath.Join(dir, "lock")) {
		return fmt.Errorf("%q is neither empty nor the folder of a cluster", dir)
	}
	return err
}

// runFiles are the names that a cluster makes in its folder, besides its lock.
func runFiles() []string {
	return []string{
		"audit-policy.yaml", "audit.log", "cluster.json", "etcd", "kubeconfig", "logs", "node", "pki", "registry",
	}
}

// clearDir removes a run's files, and its folder if the run made it and nothing else is in it.
func clearDir(dir string, made bool) error {
	for _, name := range append(runFiles(), "lock") {
		if err := os.RemoveAll(filepath.Join(dir, name)); err != nil {
			return err
		}
	}
	if !made {
		return nil
	}
	entries, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) || len(entries) > 0 {
		return nil
	}
	return os.Remove(dir)
}
