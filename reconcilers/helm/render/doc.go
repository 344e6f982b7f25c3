// Package render is what happens to the objects of a chart between Helm's templates and the cluster.
//
// A [Renderer] is a postrender.PostRenderer of Helm's SDK for one action: the post-renderers of the spec in their order, then the
// common metadata, then the labels of the origin, which win. The SDK hands over what is no hook; with [Renderer.Hooks], callers have
// the hooks changed before Helm stores the release, for which they have the strategies of the spec. Renderers of kustomize are run
// by package build, in memory and within its limits. A hook stays the hook that it is, even if a post-renderer changes the annotations
// that make it one.
//
// [Definitions] are the custom resource definitions of a chart and of those of its subcharts that the values switch on, and [Write]
// brings them to the cluster as a policy says. It does not wait until they are served: callers do, before they let Helm act.
//
// Everything is bounded in bytes and objects. Charts and values are read and not changed.
package render
