package engine

import (
	"runtime"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestProgressIsWrittenOnce holds when progress is written: after a while, and again only when it changed.
func TestProgressIsWrittenOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var written []string

		start, advance := time.Now(), time.Sleep //nolint:forbidigo // it moves the bubble's clock
		p := newProgress(time.Second, func(message string) {
			written = append(written, time.Since(start).String()+" "+message)
		})

		p.set("Fetching")
		advance(5500 * time.Millisecond)
		p.set("Building")
		p.set("Applying")
		advance(5 * time.Second)
		p.stop()
		p.set("Too late")
		advance(5 * time.Second)

		if diff := cmp.Diff([]string{"1s Fetching", "6s Applying"}, written); diff != "" {
			t.Errorf("written: -want, +got:\n%s", diff)
		}
	})
}

// TestProgressStops holds that no write goes on after stop has returned: the write here ends only after stop has begun.
func TestProgressStops(t *testing.T) {
	writing, written := make(chan struct{}), atomic.Bool{}

	var p *progress

	ready := make(chan struct{})
	p = newProgress(time.Microsecond, func(string) {
		<-ready
		close(writing)

		for !p.isStopped() {
			runtime.Gosched()
		}

		written.Store(true)
	})
	close(ready)

	<-writing
	p.stop()

	if !written.Load() {
		t.Error("stopped during a write")
	}
}

func (p *progress) isStopped() bool {
	p.mu.Lock()
	defer p.mu.Unlock()

	return p.stopped
}
