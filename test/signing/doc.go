// Package signing signs things in tests as people do: with the program cosign, with the library of Notation, with gpg and with
// ssh-keygen. For signatures without a key it runs a Sigstore of its own: an authority for certificates, a log of certificates,
// a transparency log and a timestamp authority, which speak the protocols of the real ones as far as cosign needs them.
//
// Its keys and authorities are worth nothing, and its logs include nothing: each entry is a tree of its own.
package signing
