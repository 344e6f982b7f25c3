// Package helmrepository reconciles a HelmRepository: it fetches the index of the repository, and stores its normal form as an
// artifact, in which HelmCharts find their versions.
//
// An interval in which nothing happened costs one conditional request, whatever the number of objects with the same repository
// and credentials, and no write. A new index is fetched, read and stored once for all of them, and never held in memory as a
// whole. A HelmRepository of type oci is static: it is only read by others.
package helmrepository
