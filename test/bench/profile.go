package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// profiled is how much of a part is profiled, from its beginning.
const profiled = time.Minute

// startProfile profiles processor time and allocations from now on, if asked for. The function that it returns waits for the
// end of that, and writes what is live then, too.
func (s *stage) startProfile(ctx context.Context, name string) (wait func()) {
	if s.settings.profile == "" {
		return func() {}
	}

	var all sync.WaitGroup

	for kind, endpoint := range map[string]string{"cpu": "profile", "allocs": "allocs"} {
		all.Go(func() { s.fetchProfile(ctx, kind, name, fmt.Sprintf("%s?seconds=%.0f", endpoint, profiled.Seconds())) })
	}

	return func() {
		all.Wait()
		s.fetchProfile(ctx, "heap", name, "heap?gc=1")
	}
}

// fetchProfile writes a profile of the manager to a file. A profile that cannot be had is no reason to give up.
func (s *stage) fetchProfile(ctx context.Context, kind, name, endpoint string) {
	body, err := s.manager.get(ctx, "/debug/pprof/"+endpoint)
	if err == nil {
		err = save(filepath.Join(s.settings.profile, kind+"-"+strings.ReplaceAll(name, " ", "-")+".pprof"), body)
	}

	if err != nil {
		progressf("profile: %v", err)
	}
}

func save(path string, body io.ReadCloser) error {
	defer body.Close()

	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil { //nolint:gosec // profiles are no secret
		return fmt.Errorf("make folder: %w", err)
	}

	f, err := os.Create(path)
	if err != nil {
		return err //nolint:wrapcheck // names the file
	}

	_, err = io.Copy(f, body)

	return errors.Join(err, f.Close())
}
