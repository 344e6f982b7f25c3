package controllers

import (
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
)

// requestCounter counts what a process asks of the API server, by verb and resource. It is the figure to watch: requests
// are what costs.
type requestCounter struct {
	next  http.RoundTripper
	total *prometheus.CounterVec
}

// countRequests registers weir_api_requests_total{verb,resource} and returns a wrapper that counts. The verbs are get, list, watch,
// create, update, patch, apply, dryrun, delete and deletecollection; the resource of a subresource is written as in RBAC, such as
// deployments/status; requests that are for no resource have the resource of their path, such as /apis. A prefix of all
// paths, as behind a proxy that serves many clusters, is left out: no label holds the name of an object.
func countRequests(r prometheus.Registerer) (func(http.RoundTripper) http.RoundTripper, error) {
	total := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "weir_api_requests_total",
		Help: "Requests to the Kubernetes API server.",
	}, []string{"verb", "resource"})

	if err := r.Register(total); err != nil {
		return nil, fmt.Errorf("register metrics: %w", err)
	}

	return func(next http.RoundTripper) http.RoundTripper { return requestCounter{next, total} }, nil
}

// RoundTrip implements http.RoundTripper.
func (c requestCounter) RoundTrip(req *http.Request) (*http.Response, error) {
	verb, resource := describe(req)
	c.total.WithLabelValues(verb, resource).Inc()

	return c.next.RoundTrip(req) //nolint:wrapcheck // a middleware adds nothing to the error
}

// describe tells verb and resource of a request to the API server.
func describe(req *http.Request) (verb, resource string) {
	path := strings.Split(strings.Trim(req.URL.Path, "/"), "/")
	path = path[max(slices.IndexFunc(path, isRoot), 0):]

	switch {
	case len(path) >= 3 && path[0] == "api":
		path = path[2:]
	case len(path) >= 4 && path[0] == "apis":
		path = path[3:]
	default:
		return "get", "/" + strings.Join(path, "/")
	}

	if len(path) > 2 && path[0] == "namespaces" && path[2] != "status" && path[2] != "finalize" {
		path = path[2:]
	}

	resource = path[0]
	if len(path) > 2 {
		resource += "/" + strings.Join(path[2:], "/")
	}

	return verbOf(req, len(path) > 1), resource
}

// isRoot tells whether the paths of resources begin with the element.
func isRoot(element string) bool { return element == "api" || element == "apis" }

func verbOf(req *http.Request, named bool) string {
	query := req.URL.Query()

	switch req.Method {
	case http.MethodGet:
		switch {
		case query.Get("watch") == "true" || query.Get("watch") == "1":
			return "watch"
		case named:
			return "get"
		}

		return "list"
	case http.MethodPost:
		return "create"
	case http.MethodPut:
		return "update"
	case http.MethodPatch:
		switch {
		case query.Get("dryRun") != "":
			return "dryrun"
		case strings.HasPrefix(req.Header.Get("Content-Type"), "application/apply-patch"):
			return "apply"
		}

		return "patch"
	case http.MethodDelete:
		if named {
			return "delete"
		}

		return "deletecollection"
	}

	return strings.ToLower(req.Method)
}
