// Package remote keeps the clusters that objects are applied to by a kubeconfig: for each one, and each identity in it, a
// factory of clients, a hub that watches, and an applier, shared by all objects with the same credentials and closed when the
// last one lets go.
//
// A cluster of somebody else may be slow, broken or hostile. It is connected to in the background, so that nobody's worker
// waits for it longer than a moment, and one that does not answer is left in peace for a while. What is applied there, and
// when, is for the kinds.
package remote
