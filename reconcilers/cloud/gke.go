package cloud

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/weir-dev/weir/reconcilers/ingest"
)

// gkeCluster is what counts of a cluster.
// Source: https://cloud.google.com/kubernetes-engine/docs/reference/rest/v1/projects.locations.clusters
type gkeCluster struct {
	Endpoint   string `json:"endpoint"`
	MasterAuth struct {
		ClusterCACertificate string `json:"clusterCaCertificate"`
	} `json:"masterAuth"`
	Private struct {
		PrivateEndpoint string `json:"privateEndpoint"`
		PublicEndpoint  string `json:"publicEndpoint"`
	} `json:"privateClusterConfig"`
	Control struct {
		DNS struct {
			Endpoint string `json:"endpoint"`
		} `json:"dnsEndpointConfig"`
		IP struct {
			PrivateEndpoint string `json:"privateEndpoint"`
			PublicEndpoint  string `json:"publicEndpoint"`
		} `json:"ipEndpointsConfig"`
	} `json:"controlPlaneEndpointsConfig"`
}

// endpoints returns all addresses, the usual one first.
func (g gkeCluster) endpoints() []string {
	return []string{
		g.Endpoint, g.Control.IP.PublicEndpoint, g.Control.IP.PrivateEndpoint, g.Private.PublicEndpoint, g.Private.PrivateEndpoint,
		g.Control.DNS.Endpoint,
	}
}

// cluster asks Google Cloud for a cluster, by its checked name.
func (h httpClient) cluster(ctx context.Context, name, token string) (found gkeCluster, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://container.googleapis.com/v1/"+name, http.NoBody)
	if err != nil {
		return found, err //nolint:wrapcheck // it cannot fail
	}

	req.Header.Set("Authorization", "Bearer "+token)

	resp, err := h.Do(req)
	if err != nil {
		return found, ingest.RedactError(err) //nolint:wrapcheck // the caller does
	}
	defer resp.Body.Close() //nolint:errcheck // it was read

	if resp.StatusCode != http.StatusOK {
		return found, googleReason(resp)
	}

	if err := json.NewDecoder(resp.Body).Decode(&found); err != nil {
		return found, fmt.Errorf("decode answer: %w", err)
	}

	return found, nil
}

// googleReason reads what an API of Google says about a failure.
func googleReason(resp *http.Response) error {
	var answer struct {
		Error struct{ Status, Message string }
	}

	if json.NewDecoder(resp.Body).Decode(&answer) != nil || answer.Error.Message == "" {
		return words("", ingest.Status(resp))
	}

	return words(answer.Error.Status, answer.Error.Message)
}
