// Package access is the only place that makes Kubernetes clients. A Factory stands for one cluster: it hands out
// clients that act as the process itself or as a service account, and all of them share its connections, its knowledge
// of the served kinds, and one limiter that follows the load of the API server.
//
// A Client sends one request per call and keeps no objects: caches, watches that reconnect, and the decision what to
// write are for the packages health and apply. Objects are named by ID, which is also the identity that inventories
// and messages use.
package access
