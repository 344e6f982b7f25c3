package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	sourcev1 "github.com/weir-dev/weir/api/source/v1"
)

// ticks of the kernel's processor accounting per second (USER_HZ), on all platforms of Linux.
const ticks = 100

// usage is what processes have used since their start, or between two snapshots.
type usage struct {
	cpu       map[string]float64 // seconds, by process
	memory    map[string]float64 // of the manager in MiB, by kind: see memoryMiB
	requests  map[string]float64 // of the manager to the API server, by verb
	ofSources float64            // how many of the requests were for sources, but for their events
	served    float64            // by the server of the sources, for the manager
}

// since returns what was used after an earlier snapshot.
func (u usage) since(before usage) usage {
	d := usage{
		cpu: map[string]float64{}, requests: map[string]float64{},
		memory: u.memory, served: u.served - before.served, ofSources: u.ofSources - before.ofSources,
	}
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

// snapshot reads the usage of the manager, the control plane and the benchmark itself, with its servers of sources.
func (s *stage) snapshot(ctx context.Context) (usage, error) {
	u := usage{cpu: map[string]float64{}, requests: map[string]float64{}, served: s.server.served()}

	pids := map[string]int{"manager": s.manager.pid(), "benchmark": os.Getpid()}
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
	if u.memory, err = memoryMiB(s.manager.pid()); err != nil {
		return u, err
	}

	return u, s.requests(ctx, &u)
}

// requests adds up the manager's counter of API requests. Watches last, and leases are not the objects': both are left out.
func (s *stage) requests(ctx context.Context, u *usage) error {
	body, err := s.manager.get(ctx, "/metrics")
	if err != nil {
		return err
	}
	defer body.Close()

	lines := bufio.NewScanner(body)
	lines.Buffer(nil, 1<<20)

	for lines.Scan() {
		labels, value, ok := metric(lines.Text(), "weir_api_requests_total")
		if !ok || labels["verb"] == "watch" || labels["resource"] == "leases" {
			continue
		}

		v, err := strconv.ParseFloat(value, 64)
		if err != nil {
			return fmt.Errorf("metric %q: %w", lines.Text(), err)
		}

		resource, sub, _ := strings.Cut(labels["resource"], "/")
		verb := labels["verb"]

		switch {
		case sub == "status":
			verb = sub
		case resource == "events":
			verb = "event"
		}

		u.requests[verb] += v

		if strings.HasSuffix(resource, "repositories") {
			u.ofSources += v
		}
	}

	return lines.Err() //nolint:wrapcheck // of a reader of the response
}

// metric reads a line of metrics whose labels hold neither quotes nor commas. It tells whether the line is of that name.
func metric(line, name string) (labels map[string]string, value string, ok bool) {
	rest, ok := strings.CutPrefix(line, name+"{")
	if !ok {
		return nil, "", false
	}

	list, value, ok := strings.Cut(rest, "} ")
	labels = map[string]string{}

	for pair := range strings.SplitSeq(list, ",") {
		k, v, _ := strings.Cut(pair, "=")
		labels[k] = strings.Trim(v, `"`)
	}

	return labels, value, ok
}

// sourceEvents returns how many events there are of sources. The metrics do not tell whose events are.
func (s *stage) sourceEvents(ctx context.Context) (float64, error) {
	n := 0

	for _, kind := range []string{sourcev1.GitRepositoryKind, sourcev1.OCIRepositoryKind} {
		list := &corev1.EventList{}
		if err := s.client.List(ctx, list, client.InNamespace(namespace), client.MatchingFields{"involvedObject.kind": kind}); err != nil {
			return 0, fmt.Errorf("list events: %w", err)
		}

		n += len(list.Items)
	}

	return float64(n), nil
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

// forgetPeak makes the kernel forget the largest resident memory that the manager has had. Source: proc(5), /proc/pid/clear_refs.
func (s *stage) forgetPeak() error {
	if err := os.WriteFile(filepath.Join("/proc", strconv.Itoa(s.manager.pid()), "clear_refs"), []byte("5"), 0); err != nil {
		return fmt.Errorf("forget peak: %w", err)
	}

	return nil
}

// memoryMiB returns the resident memory of a process: the peak since that was forgotten, and what there is now as anonymous
// memory, which is the process's own, and as pages of files, which are its program. Source: proc(5), /proc/pid/status.
func memoryMiB(pid int) (map[string]float64, error) {
	data, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "status"))
	if err != nil {
		return nil, err //nolint:wrapcheck // names the file
	}

	names := map[string]string{"VmHWM": "peak", "RssAnon": "anonymous", "RssFile": "file"}
	found := map[string]float64{}

	for line := range strings.Lines(string(data)) {
		field, kib, _ := strings.Cut(line, ":")
		if name := names[field]; name != "" {
			v, err := strconv.ParseFloat(strings.Fields(kib)[0], 64)
			if err != nil {
				return nil, fmt.Errorf("odd status of process %d: %w", pid, err)
			}

			found[name] = v / 1024
		}
	}

	if len(found) != len(names) {
		return nil, fmt.Errorf("short status of process %d", pid)
	}

	return found, nil
}
