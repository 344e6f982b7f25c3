package controllers

import (
	"bytes"
	"strings"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/weir-dev/weir/test/cluster"
)

// TestPlanKey holds that all replicas have the same key, also after a restart, and that none goes on with one that is too short.
func TestPlanKey(t *testing.T) {
	k, err := cluster.Start(t.Context(), cluster.Options{})
	if err != nil {
		t.Fatal(err)
	}

	t.Cleanup(func() {
		if err := k.Stop(); err != nil {
			t.Error(err)
		}
	})

	c, err := client.New(k.Config(), client.Options{})
	if err != nil {
		t.Fatal(err)
	}

	replica := func() *planKey { return &planKey{namespace: "default", live: c, writer: c} }
	keys := make([][]byte, 8)

	var all sync.WaitGroup
	for i := range keys {
		all.Go(func() {
			var err error
			if keys[i], err = replica().get(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}

	all.Wait()

	for _, key := range keys {
		if !bytes.Equal(key, keys[0]) || len(key) != planKeyBytes || bytes.Equal(key, make([]byte, planKeyBytes)) {
			t.Errorf("the keys of the replicas are not one of %d random bytes", planKeyBytes)
		}
	}

	known := replica()
	if _, err := known.get(t.Context()); err != nil {
		t.Fatal(err)
	}

	short := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: planKeySecret}, Data: map[string][]byte{"key": []byte("short")}}
	if err := c.Update(t.Context(), short); err != nil {
		t.Fatal(err)
	}

	if key, err := known.get(t.Context()); err != nil || !bytes.Equal(key, keys[0]) {
		t.Errorf("a process that has the key forgets it: %v", err)
	}

	if key, err := replica().get(t.Context()); key != nil || err == nil ||
		!strings.Contains(err.Error(), `Secret 'default/weir-plan-key': key "key" has 5 bytes, want 32 at least`) {
		t.Errorf("a key that is too short is %q (%v)", key, err)
	}
}
