package cluster

import (
	"context"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"strconv"
	"time"

	"github.com/google/go-containerregistry/pkg/registry"
)

// registryServer is the cluster's OCI registry. Blobs are files, manifests are in memory.
type registryServer struct {
	http  *http.Server
	ended chan error
	loops int
}

func (c *Cluster) startRegistry(ctx context.Context) error {
	blobs := c.file("registry")
	if err := os.MkdirAll(blobs, 0o755); err != nil {
		return err
	}
	handler := registry.New(
		registry.WithBlobHandler(registry.NewDiskBlobHandler(blobs)),
		registry.WithReferrersSupport(true),
		registry.Logger(log.New(io.Discard, "", 0)),
	)
	c.registry = &registryServer{
		http:  &http.Server{Handler: handler, ReadHeaderTimeout: time.Minute},
		ended: make(chan error),
	}
	c.info.Registry = "localhost:" + strconv.Itoa(c.slot.port(portRegistry))
	return c.registry.listen(ctx, c.local(portRegistry))
}

// listen serves on one more address.
func (r *registryServer) listen(ctx context.Context, address string) error {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
	if err != nil {
		return err
	}
	r.loops++
	go func() { r.ended <- r.http.Serve(l) }()
	return nil
}

func (r *registryServer) close() error {
	err := r.http.Close()
	for range r.loops {
		if e := <-r.ended; !errors.Is(e, http.ErrServerClosed) {
			err = errors.Join(err, e)
		}
	}
	return err
}
