// Command probe is a web server that tells what a pod can see: it resolves
// names, fetches addresses and shows its own state, as it is asked to.
//
//	/            "ok", and a line in the log
//	/lookup?q=   the addresses of a name
//	/fetch?q=    the body found at a URL
//	/file?q=     the contents of a file
//	/write?q=    "written" if it may create the file
package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"time"
)

// deadline bounds one request.
const deadline = 5 * time.Second

// answer says what came of a question.
type answer func(ctx context.Context, question string) (string, error)

func main() {
	mux := http.NewServeMux()
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		fmt.Println("asked for", r.URL.Path)
		io.WriteString(w, "ok")
	})
	for path, a := range map[string]answer{"/lookup": lookup, "/fetch": fetch, "/file": read, "/write": write} {
		mux.Handle(path, a)
	}
	server := &http.Server{Addr: ":8080", Handler: mux, ReadHeaderTimeout: deadline}
	fmt.Println("listening")
	fmt.Fprintln(os.Stderr, server.ListenAndServe())
	os.Exit(1)
}

// ServeHTTP answers one question, with status 500 if that fails.
func (a answer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), deadline)
	defer cancel()
	text, err := a(ctx, r.URL.Query().Get("q"))
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	io.WriteString(w, text)
}

func lookup(ctx context.Context, name string) (string, error) {
	addrs, err := net.DefaultResolver.LookupHost(ctx, name)
	return strings.Join(addrs, " "), err
}

func fetch(ctx context.Context, url string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return string(b), err
}

func read(_ context.Context, file string) (string, error) {
	b, err := os.ReadFile(file)
	return string(b), err
}

func write(_ context.Context, file string) (string, error) {
	return "written", os.WriteFile(file, nil, 0o600)
}
