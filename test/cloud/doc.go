// Package cloud stands in for AWS, Azure and Google Cloud in tests. An [Internet] is a forward proxy that answers for the hosts
// of the clouds itself, with certificates of an authority of its own: what is tested talks to the real names over real TLS. A
// [Cloud] speaks the protocols of their services, as far as credentials, registries, buckets, keys and clusters need them, and
// refuses who does not show what the real ones ask for.
//
// It knows no permissions: who has a role or an identity may do everything.
package cloud
