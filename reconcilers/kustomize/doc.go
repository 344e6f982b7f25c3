// Package kustomize reconciles the Kustomization: it builds what the artifact of a source holds, applies it, prunes what
// left it, and sees to it that it becomes healthy.
//
// A run never waits longer than a blink. Health, dependencies and artifacts that are not there end it; the hub, a watch or
// a deadline starts the next one, which takes up where the last one ended: what was applied with the same inputs and is
// still as it was costs neither a build nor a request. A new revision or spec supersedes what is awaited.
//
// The inventory in the status is written before anything is pruned and before health is known. When an apply fails half
// way, it holds what was there before and what came, so that nothing that was applied is ever forgotten.
//
// What leaves a set may have moved to another Kustomization of the same source, so it is deleted when all of them have looked
// at the revision, or after a while. With spec.plan Manual nothing is changed, drift included, that nobody has approved.
//
// The package does not know how objects are built, applied or watched (packages build, apply and health), and not when an
// object runs (package controllers).
package kustomize
