// Package report reconciles the FluxReport: what is installed in the cluster, how well it runs, and how the objects of all Flux
// kinds are. From the same look at the cluster come the metrics that tell of each of these objects.
//
// A look reads page by page and keeps a few words of each object. How often it happens is the interval of the report's; nothing is
// watched for it. When the report runs otherwise is decided by package controllers.
package report
