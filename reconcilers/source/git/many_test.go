package git_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/weir-dev/weir/api/meta"
	sourcev1 "github.com/weir-dev/weir/api/source/v1"
	"github.com/weir-dev/weir/test/gitserver"
)

// TestMany runs many objects of one repository at the same time.
func TestMany(t *testing.T) {
	w := newWorld(t)
	r := w.repository(t, "app")
	s := w.serve(t, gitserver.HTTPOptions{})

	objects := make([]*sourcev1.GitRepository, 40)
	for i := range objects {
		objects[i] = object(fmt.Sprintf("app-%d", i), s.URL(r))
	}

	b := w.bench(t, objects...)

	for range 2 {
		var wg sync.WaitGroup
		for _, obj := range objects {
			wg.Go(func() {
				got := b.run(t, obj).Object
				if ready := condition(got, meta.ReadyCondition); !strings.HasPrefix(ready, "True Succeeded: ") {
					t.Errorf("%s: %s", obj.Name, ready)
				}
			})
		}

		wg.Wait()
		commit(t, r, "main", gitserver.Change{Files: map[string]string{"b": "b"}})
		w.clock.Advance(time.Minute)
	}

	if got := s.Counts(); got.UploadPack != 2 || got.InfoRefs > 4 {
		t.Errorf("requests: %+v", got)
	}
}
