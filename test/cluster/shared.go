package cluster

import (
	"context"
	"fmt"
	"os"
	"sync"
	"testing"
)

// Shared is one cluster for the tests of a package, started by the first that
// asks for it. Tests that need none do not wait for one.
//
//	var shared cluster.Shared
//
//	func TestMain(m *testing.M) { os.Exit(shared.Main(m)) }
//
//	func TestApply(t *testing.T) {
//		config := shared.Start(t).Config()
//
// Tests keep apart by the namespaces that they make.
type Shared struct {
	// Options says what to start.
	Options Options

	once    sync.Once
	cluster *Cluster
	err     error
}

// Main runs the tests, stops the cluster if one was started, and returns the exit status.
func (s *Shared) Main(m *testing.M) int {
	return s.Stop(m.Run())
}

// Stop stops the cluster if one was started, and returns the exit status of the tests or, if they have succeeded, its own.
// It is for a package whose tests share several clusters.
func (s *Shared) Stop(code int) int {
	if s.cluster == nil {
		return code
	}
	if err := s.cluster.Stop(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return max(code, 1)
	}
	return code
}

// Start returns the cluster and starts it if it is the first to ask. The test
// fails if the cluster did not start, for this test or an earlier one.
func (s *Shared) Start(t testing.TB) *Cluster {
	t.Helper()
	// The test's context is not used: the cluster outlives the test.
	s.once.Do(func() { s.cluster, s.err = Start(context.Background(), s.Options) })
	if s.err != nil {
		t.Fatal(s.err)
	}
	return s.cluster
}

// New starts a cluster for one test, or benchmark, and stops it afterwards.
func New(t testing.TB, o Options) *Cluster {
	t.Helper()
	c, err := Start(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Stop(); err != nil {
			t.Error(err)
		}
	})
	return c
}
