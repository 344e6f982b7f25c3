// Command app is the workload of the sample fleet: a web server that tells its version and its greeting.
package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// grace is how long open requests may take to end.
const grace = 5 * time.Second

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := serve(ctx, ":8080", os.Getenv("VERSION"), os.Getenv("GREETING"))
	stop()
	if err != nil {
		log.Fatal(err)
	}
}

func serve(ctx context.Context, address, version, greeting string) error {
	server := &http.Server{Addr: address, Handler: handler(version, greeting), ReadHeaderTimeout: grace}
	go func() {
		<-ctx.Done()
		limited, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace)
		defer cancel()
		_ = server.Shutdown(limited)
	}()
	log.Printf("web %s listens on %s", version, address) //nolint:gosec // what the Deployment says
	if err := server.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

func handler(version, greeting string) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, "web %s: %s\n", version, greeting)
	})
	return mux
}
