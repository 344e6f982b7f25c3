package cluster

import (
	"os"
	"testing"
	"time"
)

func TestTry(t *testing.T) {
	t0 := time.Now()
	c, err := Start(t.Context(), Options{Log: os.Stderr})
	if err != nil {
		t.Fatal(err)
	}
	t.Log("up", time.Since(t0), c.Processes(), c.Folder)
	t0 = time.Now()
	if err := c.Stop(); err != nil {
		t.Fatal(err)
	}
	t.Log("down", time.Since(t0))
	t0 = time.Now()
	c, err = Start(t.Context(), Options{Mode: ControlPlane, Log: os.Stderr})
	if err != nil {
		t.Fatal(err)
	}
	t.Log("up", time.Since(t0), c.Processes(), c.Folder)
	t0 = time.Now()
	if err := c.Stop(); err != nil {
		t.Fatal(err)
	}
	t.Log("down", time.Since(t0))
}
