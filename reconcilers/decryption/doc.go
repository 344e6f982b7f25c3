// Package decryption decrypts what a Kustomization builds, with SOPS: the files that go into Secrets and patches before the
// build, and the objects after it.
//
// Who may decrypt what follows from the Kustomization: the private keys in its Secret, the key service that its service account
// may use, or the age key of the process. A [Session] stands for that, and its fingerprint is part of every key under which
// something decrypted is kept: nobody gets what somebody else may read. Plaintext is only ever in memory.
//
// The format of the files is read by package sops, and key services are asked by package kms, which this package does not know.
package decryption
