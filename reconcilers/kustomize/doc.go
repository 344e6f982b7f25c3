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
// What leaves a set may have moved to another Kustomization of the same source and cluster, so it is held back until all of
// them have come to the revision. The Kustomization is Ready meanwhile, for others may depend on it; the inventory keeps what is
// held, and the condition PruneHeld says why. One has come when it has applied the revision with its present spec, or has nothing
// to apply; one whose apply fails, or waits for approval, is waited for only with what it wants. Whoever comes last wakes those
// who hold something (Family); nothing is asked, and nothing is kept, as long as no object leaves a set. All of this is found
// again after a restart from the statuses. One that waits for its dependencies is built when somebody holds something, to find
// out what it wants: its dependency may become ready only when the rest is gone. One that fails, so that nobody can know what it
// wants, is not waited for when it has failed for longPatience and fails again with the revision. Nobody waits for ever:
// longPatience bounds the wait for one that does not come, shortPatience that for one that was waited for in vain before.
//
// Of Kustomizations that are deleted together, those go first that depend on others.
//
// With spec.plan Manual nothing is changed, drift included, that nobody has approved.
//
// The package does not know how objects are built, applied or watched (packages build, apply and health), and not when an
// object runs (package controllers).
package kustomize
