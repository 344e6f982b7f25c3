// Package oci reconciles an OCIRepository: it finds the manifest that the object asks for, verifies its signatures if it is
// told to, and stores the files of one of its layers, or the layer itself, as an artifact.
//
// An interval in which nothing happened costs one look at the tag, whatever the number of objects with the same repository, tag
// and credentials; nothing at all if the object names a digest. When there is something new, one download serves all who may
// read it and want the same files.
//
// What is verified is the digest that was resolved, and what is stored comes from that digest: a tag that moves in between
// changes nothing. What is refused is not downloaded, and what was stored before stays.
package oci
