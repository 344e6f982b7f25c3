// Package helmrepo runs real chart repositories for tests: charts packaged and indexed by Helm itself, served over HTTP or HTTPS
// with user name and password, client certificates and conditional requests as wanted. It notes what was asked for.
package helmrepo
