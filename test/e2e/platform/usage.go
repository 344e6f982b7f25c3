package platform

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

// Usage is what a process holds on to, for the detection of leaks.
type Usage struct {
	// Goroutines is how many there are, by what they do and the function that started them. Those of connections are not among them:
	// whether a connection that nobody uses is kept is up to how long ago it was used.
	Goroutines map[string]int
	// Files is how many file descriptors are open, connections included.
	Files int
}

// Usage asks the process, which has to run.
func (m *Manager) Usage(ctx context.Context) (Usage, error) {
	stacks, err := read(ctx, "http://"+m.metrics+"/debug/pprof/goroutine?debug=2")
	if err != nil {
		return Usage{}, err
	}

	metrics, err := m.Metrics(ctx)
	if err != nil {
		return Usage{}, err
	}

	u := Usage{Goroutines: origins(stacks)}

	if _, files, ok := strings.Cut(metrics, "\nprocess_open_fds "); ok { // not on every system
		if _, err := fmt.Sscan(files, &u.Files); err != nil {
			return Usage{}, fmt.Errorf("read process_open_fds: %w", err)
		}
	}

	return u, nil
}

// Metrics returns those of the process, which has to run, as Prometheus reads them.
func (m *Manager) Metrics(ctx context.Context) (string, error) {
	return read(ctx, "http://"+m.metrics+"/metrics")
}

func read(ctx context.Context, url string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}

	resp, err := (&http.Client{Timeout: time.Minute}).Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close() //nolint:errcheck // only read

	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		return "", fmt.Errorf("GET %s: %s: %w", url, resp.Status, err)
	}

	return string(body), nil
}

// origins counts the goroutines of a dump: a function, and below it the place, from the latest call to the first.
func origins(stacks string) map[string]int {
	counts := map[string]int{}
	lines := bufio.NewScanner(strings.NewReader(stacks))
	lines.Buffer(nil, 1<<20) //nolint:mnd // a line of a stack

	first := "" // what the goroutine was started to do

	for lines.Scan() {
		line := lines.Text()

		created, ok := strings.CutPrefix(line, "created by ")
		if !ok {
			if !strings.HasPrefix(line, "\t") && !strings.HasPrefix(line, "sync.(*WaitGroup).Go") {
				first = line[:max(0, strings.LastIndexByte(line, '('))]
			}

			continue
		}

		origin, _, _ := strings.Cut(created, " in goroutine")
		if !ofConnection(origin) {
			counts[first+", started by "+origin]++
		}
	}

	return counts
}

func ofConnection(origin string) bool {
	for _, part := range []string{
		"net/http.(*Transport)", "net/http.(*Server)", "net/http.(*conn)", "net/http.(*connReader)", "net/http.(*http2", "golang.org/x/net/http2",
	} {
		if strings.HasPrefix(origin, part) {
			return true
		}
	}

	return false
}
