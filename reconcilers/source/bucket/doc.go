// Package bucket reconciles Buckets: it finds out what is in a bucket, and stores the objects that are wanted as an artifact.
// What the objects hold is told by their etags: only those with a new one are fetched, the others are taken from the artifact
// before. Objects that look at the same bucket with the same credentials at the same time share what they see and fetch.
//
// Each kind of storage is a file: any S3 server and that of AWS, Google Cloud Storage, and Azure Blob Storage. None is written
// to, and nothing is said about what the objects mean.
package bucket
