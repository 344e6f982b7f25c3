// Package s3server runs a real S3 server for tests and benchmarks: gofakes3 over HTTP or HTTPS on the loopback interface, in
// front of which requests are refused that are not signed with the right keys. It also is the security token service that
// gives temporary keys for it, in the protocol of AWS and MinIO.
//
// It keeps everything in memory, and is no S3 server for anything but test data.
package s3server
