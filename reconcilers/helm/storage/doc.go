// Package storage keeps the records of Helm releases where Helm keeps them: in Secrets that are named
// sh.helm.release.v1.<release>.v<revision>, in the form that Helm 3, Helm 4 and the Flux controller write and read.
//
// [Secrets] is a driver.Driver of Helm's SDK over an access.Client, so that records are read and written as whoever the client
// acts for. It is made for one reconcile, and remembers of the records that it has read only what the SDK does not know of them:
// an update keeps that.
//
// It reads little. A history is a list of metadata, and the contents of the newest revision and of those that are deployed. The
// older ones have a name, a revision, labels and a status, and cannot be written; [Secrets.Get] returns them whole.
//
// A record that cannot be read is told and left out, and its revision may be written again. One that is too large for a Secret is
// refused with a [SizeError] before it is written, which Helm does before it applies anything.
//
// Which release is wanted and what is done about it is not known here.
package storage
