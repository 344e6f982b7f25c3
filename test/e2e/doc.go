// Package e2e tests Weir on a real node, as users meet it: one FluxInstance, components that run from the pushed image
// under the restricted Pod Security Standard, and a Git repository whose workloads become ready. It needs root on Linux and
// skips with the reason where that is missing. Package process tests what needs no node, everywhere.
package e2e
