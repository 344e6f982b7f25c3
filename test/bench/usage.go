package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// ticks of the kernel's processor accounting per second (USER_HZ), on all platforms of Linux.
const ticks = 100

// usage is what processes have used since their start, or between two snapshots.
type usage struct {
	cpu      map[string]float64 // seconds, by process
	requests map[string]float64 // of the manager to the API server, by verb
	served   float64            // by the server of the sources, for the manager
	peakMiB  float64            // of the manager since its start
}

// since returns what was used after an earlier snapshot.
func (u usage) since(before usage) usage {
	d := usage{cpu: map[string]float64{}, requests: map[string]float64{}, served: u.served - before.served, peakMiB: u.peakMiB}
	for k, v := range u.cpu {
		d.cpu[k] = v - before.cpu[k]
	}

	for k, v := range u.requests {
		if n := v - before.requests[k]; n != 0 {
			d.requests[k] = n
		}
	}

	return d
}

// snapshot reads the usage of the manager and the control plane.
func (s *stage) snapshot(ctx context.Context) (usage, error) {
	u := usage{cpu: map[string]float64{}, requests: map[string]float64{}, served: s.server.served()}

	pids := map[string]int{"manager": s.manager.pid()}
	for _, p := range s.cluster.Processes() {
		pids[p.Name] = p.PID
	}

	for name, pid := range pids {
		seconds, err := cpuSeconds(pid)
		if err != nil {
			return u, fmt.Errorf("processor time of %s: %w", name, err)
		}

		u.cpu[name] = seconds
	}

	var err error
	if u.peakMiB, err = peakMiB(pids["manager"]); err != nil {
		return u, err
	}

	return u, s.requests(ctx, u.requests)
}

// requests adds up the manager's counter of API requests. Watches last, and leases are not the objects': both are left out.
func (s *stage) requests(ctx context.Context, byVerb map[string]float64) error {
	body, err := s.manager.get(ctx, "/metrics")
	if err != nil {
		return err
	}
	defer body.Close()

	lines := bufio.NewScanner(body)
	lines.Buffer(nil, 1<<20)

	for lines.Scan() {
		rest, ok := strings.CutPrefix(lines.Text(), "weir_api_requests_total{")
		if !ok {
			continue
		}

		labels, value, ok := strings.Cut(rest, "} ")
		if !ok || strings.Contains(labels, `verb="watch"`) || strings.Contains(labels, `resource="leases"`) {
			continue
		}

		v, err := strconv.ParseFloat(value, 64)
		if err != nil {
			return fmt.Errorf("metric %q: %w", lines.Text(), err)
		}

		_, verb, _ := strings.Cut(labels, `verb="`)
		verb, _, _ = strings.Cut(verb, `"`)

		if strings.Contains(labels, `/status"`) {
			verb = "status"
		} else if strings.Contains(labels, `resource="events"`) {
			verb = "event"
		}

		byVerb[verb] += v
	}

	return lines.Err() //nolint:wrapcheck // of a reader of the response
}

func (m *managerProcess) get(ctx context.Context, path string) (io.ReadCloser, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+m.metrics+path, nil)
	if err != nil {
		return nil, fmt.Errorf("make request: %w", err)
	}

	resp, err := m.client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("get %s of the manager: %w", path, err)
	}

	if resp.StatusCode != http.StatusOK {
		resp.Body.Close()

		return nil, fmt.Errorf("get %s of the manager: %s", path, resp.Status)
	}

	return resp.Body, nil
}

// cpuSeconds returns the processor time of a process since its start. Source: proc(5), /proc/pid/stat.
func cpuSeconds(pid int) (float64, error) {
	data, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	if err != nil {
		return 0, err //nolint:wrapcheck // names the file
	}

	// The name, in parentheses, may hold anything; field 3 follows it, utime and stime are 14 and 15.
	_, rest, _ := strings.Cut(string(data), ") ")
	fields := strings.Fields(rest)

	if len(fields) < 13 {
		return 0, fmt.Errorf("short stat of process %d", pid)
	}

	user, err1 := strconv.ParseFloat(fields[11], 64)
	system, err2 := strconv.ParseFloat(fields[12], 64)

	if err1 != nil || err2 != nil {
		return 0, fmt.Errorf("odd stat of process %d", pid)
	}

	return (user + system) / ticks, nil
}

// peakMiB returns the largest resident memory of a process since its start. Source: proc(5), VmHWM of /proc/pid/status.
func peakMiB(pid int) (float64, error) {
	data, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "status"))
	if err != nil {
		return 0, err //nolint:wrapcheck // names the file
	}

	for line := range strings.Lines(string(data)) {
		if kib, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			v, err := strconv.ParseFloat(strings.Fields(kib)[0], 64)

			return v / 1024, err //nolint:wrapcheck // of a number the kernel wrote
		}
	}

	return 0, fmt.Errorf("no VmHWM of process %d", pid)
}
