package cluster

import (
	"flag"
	"fmt"
	"os"
	"strconv"
	"sync"
	"testing"
)

// Pool is a few clusters for the tests of a package that need one for themselves each, because what they test is not in a namespace.
// Such tests run beside each other (testing.T.Parallel), as many as there are clusters: they wait for most of their time.
//
//	var pool = cluster.Pool{Size: 3}
//
//	func TestMain(m *testing.M) { os.Exit(pool.Main(m)) }
//
//	func TestUpgrade(t *testing.T) {
//		t.Parallel()
//		config := pool.Take(t).Config()
//
// What a test leaves behind is there for the next one.
type Pool struct {
	// Options says what to start.
	Options Options
	// Size is how many there are at the most. They are started as they are needed.
	Size int

	once sync.Once
	free chan *Shared
	all  []*Shared
}

// Main runs the tests, stops the clusters that were started, and returns the exit status. As many tests run at a time as there are
// clusters, or as many as the flag -parallel says.
func (p *Pool) Main(m *testing.M) int {
	flag.Parse()
	given := false
	flag.Visit(func(f *flag.Flag) { given = given || f.Name == "test.parallel" })
	if !given {
		if err := flag.Set("test.parallel", strconv.Itoa(p.Size)); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	}
	p.once.Do(p.fill)
	code := m.Run()
	var stopped sync.WaitGroup
	codes := make([]int, len(p.all))
	for i, s := range p.all {
		stopped.Go(func() { codes[i] = s.Stop(code) })
	}
	stopped.Wait()
	for _, c := range codes {
		code = max(code, c)
	}
	return code
}

// Take returns a cluster that nobody else has, and gives it back when the test, and what it cleans up from now on, is over. It waits for
// one. The test fails if the cluster did not start.
func (p *Pool) Take(t testing.TB) *Cluster {
	t.Helper()
	p.once.Do(p.fill)
	s := <-p.free
	t.Cleanup(func() { p.free <- s })
	return s.Start(t)
}

func (p *Pool) fill() {
	p.free = make(chan *Shared, p.Size)
	for range p.Size {
		s := &Shared{Options: p.Options}
		p.all = append(p.all, s)
		p.free <- s
	}
}
