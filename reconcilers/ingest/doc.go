// Package ingest is the one way by which foreign bytes come in: tarballs, Git packs and trees, and answers to HTTP requests
// to addresses that users give. It bounds what they may cost (bytes, entries, depth, compression), keeps them inside the
// directory they are meant for, and its errors name the entry and the limit or the rule that it broke.
//
// Memory does not grow with the size of the files. What is not a regular file or a directory never comes out: symbolic
// links that stay inside are dropped, those that lead out of the tree are refused; sub-modules, devices and pipes are
// dropped.
//
// It does not judge content: what a manifest says, or whether somebody trusted signed it, is decided elsewhere.
package ingest
