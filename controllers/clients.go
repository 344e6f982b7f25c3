package controllers

import (
	"cmp"
	"time"

	"k8s.io/client-go/rest"
)

// managed returns the configuration of the manager's own client and caches: without a client-side rate limit, for the API
// server decides by priority and fairness.
func (o Options) managed() *rest.Config {
	c := rest.CopyConfig(o.Config)
	c.QPS, c.Burst = -1, 0
	c.UserAgent = o.UserAgent
	c.ContentType = ""
	c.WarningHandler = rest.NoWarnings{} // about names that the contract fixes, such as that of the finalizer

	return c
}

// requestTimeout is of one request, its retries included. The API server gives up after a minute: what takes longer hangs on
// the way, and must not hold a worker.
const requestTimeout = 2 * time.Minute

// direct returns the configuration of package access, whose watches have no timeout.
func (o Options) direct() *rest.Config {
	c := rest.CopyConfig(o.Config)
	c.Timeout = cmp.Or(c.Timeout, requestTimeout)

	return c
}
