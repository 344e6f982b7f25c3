package main

import (
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/weir-dev/weir/test/cluster"
)

// TestDemo runs the demo as people do, and what removes it.
func TestDemo(t *testing.T) {
	for name, tc := range map[string]struct {
		reason string
		node   bool
		args   []string
		says   []string
	}{
		"Outside": {
			reason: "without a node, one process beside the control plane does the work",
			args:   []string{"--node=false"},
			says:   []string{"No pods run (--node=false)", "put back to 0", "rolled out after"},
		},
		"Node": {
			reason: "on a node, the workload answers",
			node:   true,
			args:   []string{"--node=true", "--topology=Unified"},
			says:   []string{"put back to 1", "rolled out after", "the workload says: web 1.1.0: hello from production of demo"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			if err := cluster.NodeSupport(); tc.node && err != nil {
				t.Skipf("no node can run here: %v", err)
			}

			t.Setenv("TMPDIR", os.TempDir()) // up changes it
			t.Setenv(asDemo, "true")         // the services are this program

			dir := filepath.Join(t.TempDir(), "demo")
			args := append([]string{"--dir=" + dir}, tc.args...)

			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute) // the first build takes long
			defer cancel()

			var said bytes.Buffer

			t.Cleanup(func() { // also if it failed
				down, cancel := context.WithTimeout(context.Background(), time.Minute)
				defer cancel()

				if err := run(down, append(args, "down"), &said); err != nil {
					t.Error(err)
				}

				if _, err := os.Stat(dir); !os.IsNotExist(err) {
					t.Errorf("the folder is still there: %v", err)
				}
			})

			if err := run(ctx, args, io.MultiWriter(&said, t.Output())); err != nil {
				t.Fatalf("%s: %v", tc.reason, err)
			}

			for _, part := range tc.says {
				if !strings.Contains(said.String(), part) {
					t.Errorf("%s: it did not say %q", tc.reason, part)
				}
			}
		})
	}
}
