package main

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
)

// figures of one part of a run, by name. Names carry their unit.
type figures map[string]float64

// row is what one part came to; a JSON line has these fields.
type row struct {
	Fleet     string             `json:"fleet"`
	Objects   int                `json:"objects"`
	Part      string             `json:"part"`
	Figures   map[string]float64 `json:"figures"`
	CPU       map[string]float64 `json:"cpuSeconds"`
	Memory    map[string]float64 `json:"managerMiB"` // peak of the part, and what is there at its end
	Requests  map[string]float64 `json:"requests"`   // by verb, of the manager to the API server, without watches and leases
	OfSources float64            `json:"ofSources"`  // how many of these are for sources
	Served    float64            `json:"served"`     // requests of the manager to the servers of the sources
}

type report struct {
	out  io.Writer
	json *os.File
	rows []row
}

// newReport makes a report that also appends to the file, if one is named.
func newReport(out io.Writer, path string) (*report, error) {
	r := &report{out: out}
	if path == "" {
		return r, nil
	}

	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644) //nolint:gosec // figures are no secret
	if err != nil {
		return nil, fmt.Errorf("open BENCH_OUT: %w", err)
	}

	r.json = f

	return r, nil
}

func (r *report) add(x row) {
	r.rows = append(r.rows, x)

	if r.json != nil {
		line, err := json.Marshal(x)
		if err == nil {
			_, err = r.json.Write(append(line, '\n'))
		}

		if err != nil {
			progressf("BENCH_OUT: %v", err)
		}
	}
}

func (r *report) print() error {
	w := tabwriter.NewWriter(r.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "fleet\tN\tpart\tfigures\trequests\tper object\tof sources\tserved\tCPU s (manager, API server, etcd)\tMiB (peak, anonymous, file)")

	for _, x := range r.rows {
		total := 0.0
		for _, v := range x.Requests {
			total += v
		}

		n := float64(x.Objects)
		fmt.Fprintf(w, "%s\t%d\t%s\t%s\t%s\t%.2f\t%.2f\t%.0f\t%.1f, %.1f, %.1f\t%.0f, %.0f, %.0f\n", x.Fleet, x.Objects, x.Part,
			list(x.Figures, "%s %.2f"), list(x.Requests, "%s %.0f"), total/n, x.OfSources/n, x.Served,
			x.CPU["manager"], x.CPU["kube-apiserver"], x.CPU["etcd"], x.Memory["peak"], x.Memory["anonymous"], x.Memory["file"])
	}

	if err := w.Flush(); err != nil {
		return fmt.Errorf("print: %w", err)
	}

	return nil
}

func list(m map[string]float64, format string) string {
	parts := make([]string, 0, len(m))
	for _, k := range slices.Sorted(maps.Keys(m)) {
		parts = append(parts, fmt.Sprintf(format, k, m[k]))
	}

	return strings.Join(parts, ", ")
}

func (r *report) close() {
	if r.json != nil {
		_ = r.json.Close() //nolint:errcheck // every write was checked
	}
}
