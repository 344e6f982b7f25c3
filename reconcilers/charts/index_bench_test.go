package charts_test

import (
	"bufio"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/weir-dev/weir/reconcilers/charts"
)

const megabytes = 1 << 20

// indexFile writes an index of about so many bytes into a file.
func indexFile(tb testing.TB, size int64) *os.File {
	tb.Helper()

	f, err := os.Create(filepath.Join(tb.TempDir(), "index.yaml"))
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = f.Close() })

	out := bufio.NewWriter(f)
	if err := largeIndex(out, size); err != nil {
		tb.Fatal(err)
	}

	if err := out.Flush(); err != nil {
		tb.Fatal(err)
	}

	return f
}

// watchHeap returns a function that returns by how much the heap grew at most since the call.
func watchHeap() func() int64 {
	heap := func() int64 {
		var m runtime.MemStats
		runtime.ReadMemStats(&m)

		return int64(m.HeapAlloc)
	}

	runtime.GC()

	before, peak, done := heap(), atomic.Int64{}, make(chan struct{})
	stopped := make(chan struct{})

	go func() {
		defer close(stopped)

		tick := time.NewTicker(2 * time.Millisecond)
		defer tick.Stop()

		for {
			peak.Store(max(peak.Load(), heap()))

			select {
			case <-tick.C:
			case <-done:
				return
			}
		}
	}()

	return func() int64 {
		close(done)
		<-stopped

		return peak.Load() - before
	}
}

// TestIndexMemory holds that memory does not grow with the file. Helm needs 20 times its size.
func TestIndexMemory(t *testing.T) {
	in := indexFile(t, 8*megabytes)

	if _, err := in.Seek(0, io.SeekStart); err != nil {
		t.Fatal(err)
	}

	peak := watchHeap()

	n, err := charts.NormalizeIndex(t.Context(), in, charts.IndexLimits{}, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()

	if got := peak(); got > 64*megabytes {
		t.Errorf("the heap grew by %d MiB", got/megabytes)
	}

	if got := n.Weight(); got > megabytes {
		t.Errorf("the index keeps %d KiB", got/1024)
	}
}

// BenchmarkIndex reads an index of 100 MB: as HelmRepository does, which stores its normal form, and as HelmChart does, which
// finds a version in that. The peaks are those of the heap; what is kept of an index is its weight.
func BenchmarkIndex(b *testing.B) {
	limits := charts.IndexLimits{Bytes: 200 * megabytes}
	in := indexFile(b, 100*megabytes)

	normal, err := os.Create(filepath.Join(b.TempDir(), "index.json"))
	if err != nil {
		b.Fatal(err)
	}
	defer normal.Close()

	b.Run("normalize", func(b *testing.B) {
		run(b, in, func() int64 {
			n, err := charts.NormalizeIndex(b.Context(), in, limits, b.TempDir())
			if err != nil {
				b.Fatal(err)
			}
			defer n.Close()

			if _, err := normal.Seek(0, io.SeekStart); err != nil {
				b.Fatal(err)
			}

			if err := n.WriteJSON(normal); err != nil {
				b.Fatal(err)
			}

			return n.Weight()
		})
	})

	b.Run("read", func(b *testing.B) {
		run(b, normal, func() int64 {
			x, _, err := charts.ReadIndex(b.Context(), normal, limits)
			if err != nil {
				b.Fatal(err)
			}

			return x.Weight()
		})
	})
}

// run measures a function that reads a file from its beginning and returns what it keeps.
func run(b *testing.B, in *os.File, read func() int64) {
	b.Helper()
	b.ReportAllocs()

	size, err := in.Seek(0, io.SeekEnd)
	if err != nil {
		b.Fatal(err)
	}

	b.SetBytes(size)

	var peak, kept int64

	for b.Loop() {
		if _, err := in.Seek(0, io.SeekStart); err != nil {
			b.Fatal(err)
		}

		stop := watchHeap()
		kept = read()
		peak = max(peak, stop())
	}

	b.ReportMetric(float64(peak)/megabytes, "peak-MiB")
	b.ReportMetric(float64(kept)/megabytes, "kept-MiB")
}
