package cluster

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Clusters that run at the same time differ in their slot: ports on the host
// and, with a node, addresses, cgroup and link follow from its number.
const (
	slots        = 128
	firstPort    = 21000 // below what Linux and others give to outgoing connections
	portsPerSlot = 8
)

// The ports of a slot, by position.
const (
	portAPI = iota
	portEtcd
	portEtcdPeer
	portControllers
	portScheduler
	portRegistry
	portEtcdLine
	portsUsed
)

// slot is a number below slots that this process holds alone.
type slot struct {
	number int
	lock   *fileLock
	file   string // what a later run needs to know to clean up after a killed one
}

// record says what a slot's holder leaves behind when it is killed.
type record struct {
	Dir  string // run folder
	Made bool   // the run made the folder
	Keep bool   // its files are to stay
	Node bool
}

// takeSlot cleans up what killed runs left and takes the first slot that is free.
func takeSlot(cache string, node bool, log io.Writer) (*slot, error) {
	dir := filepath.Join(cache, "slots")
	if err := sweep(dir); err != nil {
		fmt.Fprintln(log, err) // their slots stay out of use
	}
	for n := range slots {
		s, err := trySlot(dir, n)
		if err != nil {
			return nil, err
		}
		if s == nil {
			continue
		}
		if !exists(s.file) && s.portsFree() && (!node || s.addressesFree()) {
			return s, nil
		}
		s.lock.unlock()
	}
	return nil, fmt.Errorf("none of %d slots in %q is free", slots, dir)
}

func trySlot(dir string, n int) (*slot, error) {
	base := filepath.Join(dir, strconv.Itoa(n))
	l, err := tryLock(base + ".lock")
	if err != nil || l == nil {
		return nil, err
	}
	return &slot{number: n, lock: l, file: base + ".json"}, nil
}

// sweep clears the slots whose holders are gone and did not clear them, as many as it can.
func sweep(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var failed []error
	for _, e := range entries {
		name, isRecord := strings.CutSuffix(e.Name(), ".json")
		n, err := strconv.Atoi(name)
		if !isRecord || err != nil {
			continue
		}
		s, err := trySlot(dir, n)
		if err != nil {
			return err
		}
		if s == nil {
			continue
		}
		if err := s.recover(); err != nil {
			failed = append(failed, fmt.Errorf("clean up after a killed cluster: %w", err))
		}
		s.lock.unlock()
	}
	return errors.Join(failed...)
}

// recover does for a killed holder what its Stop would have done.
func (s *slot) recover() error {
	b, err := os.ReadFile(s.file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var r record
	if err := json.Unmarshal(b, &r); err != nil {
		return fmt.Errorf("read %q: %w", s.file, err)
	}
	return s.clear(r)
}

// clear removes what a run leaves outside its processes, and its record last.
func (s *slot) clear(r record) error {
	var err error
	if r.Node {
		err = s.clearNode()
	}
	if !r.Keep {
		err = errors.Join(err, clearDir(r.Dir, r.Made))
	}
	if err != nil {
		return err
	}
	return os.RemoveAll(s.file)
}

func (s *slot) write(r record) error {
	b, err := json.Marshal(r)
	if err != nil {
		return err
	}
	return os.WriteFile(s.file, b, 0o644)
}

func (s *slot) port(which int) int { return firstPort + s.number*portsPerSlot + which }

func (s *slot) portsFree() bool {
	for which := range portsUsed {
		l, err := net.Listen("tcp", ":"+strconv.Itoa(s.port(which))) //nolint:noctx,gosec // closed at once: only asks whether all addresses are free
		if err != nil {
			return false
		}
		_ = l.Close() //nolint:errcheck // nobody has connected
	}
	return true
}

// network is all of the slot's addresses: a half of a /16 from the upper quarter of 10.0.0.0/8.
func (s *slot) network() netip.Prefix {
	return netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(192 + s.number/2), byte(s.number % 2 * 128), 0}), 17) //nolint:gosec // there are 128 slots
}

// pods is the range of the pods' addresses.
func (s *slot) pods() netip.Prefix { return netip.PrefixFrom(s.network().Addr(), 18) }

// services is the range of the Services' addresses.
func (s *slot) services() netip.Prefix { return netip.PrefixFrom(s.address(64, 0), 19) }

// host and node are the two ends of the link between the host and the node.
func (s *slot) host() netip.Addr { return s.address(127, 1) }
func (s *slot) node() netip.Addr { return s.address(127, 2) }

// dns is the cluster address of the name server, firstService that of the API server.
func (s *slot) dns() netip.Addr          { return s.address(64, 10) }
func (s *slot) firstService() netip.Addr { return s.address(64, 1) }

// name of the slot's link on the host and of its cgroup.
func (s *slot) name() string { return fmt.Sprintf("weir%d", s.number) }

func (s *slot) address(third, fourth byte) netip.Addr {
	a := s.network().Addr().As4()
	return netip.AddrFrom4([4]byte{a[0], a[1], a[2] + third, fourth})
}

// addressesFree reports whether no network of the host overlaps the slot's.
func (s *slot) addressesFree() bool {
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return false
	}
	for _, a := range addrs {
		p, err := netip.ParsePrefix(a.String())
		if err == nil && p.Overlaps(s.network()) {
			return false
		}
	}
	return true
}

// Clean removes what killed clusters of the cache left behind: files, cgroups,
// links. Every start does so too. An empty cache stands for the user's.
func Clean(cache string) error {
	cache, err := cacheDir(cache)
	if err != nil {
		return err
	}
	return sweep(filepath.Join(cache, "slots"))
}
