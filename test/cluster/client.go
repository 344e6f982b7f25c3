package cluster

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"

	"k8s.io/client-go/rest"
)

// client asks the API server the few things that starting a cluster takes.
type client struct {
	http *http.Client
	base string
}

func newClient(config *rest.Config) (*client, error) {
	h, err := rest.HTTPClientFor(config)
	if err != nil {
		return nil, err
	}
	return &client{http: h, base: config.Host}, nil
}

// get reads a path of the API server, or a whole address, into a value unless that is nil.
func (c *client) get(ctx context.Context, url string, into any) error {
	if url[0] == '/' {
		url = c.base + url
	}
	return c.do(ctx, http.MethodGet, url, "", nil, into)
}

func (c *client) do(ctx context.Context, method, url, contentType string, body io.Reader, into any) error {
	req, err := http.NewRequestWithContext(ctx, method, url, body)
	if err != nil {
		return err
	}
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode >= http.StatusBadRequest {
		return fmt.Errorf("%s %s: %s: %s", method, url, resp.Status, tail(b))
	}
	if into == nil {
		return nil
	}
	return json.Unmarshal(b, into)
}

// answers probes addresses, all of which must answer.
func (c *client) answers(urls ...string) func(context.Context) error {
	return func(ctx context.Context) error {
		for _, url := range urls {
			if err := c.get(ctx, url, nil); err != nil {
				return err
			}
		}
		return nil
	}
}
