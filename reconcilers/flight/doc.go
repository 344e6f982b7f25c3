// Package flight lets many ask for the same thing at the price of one: a Group runs what fetches it once for all who want it
// at the same time, a Memo remembers facts that never change. Keys are made of what decides the answer, credentials included,
// by FingerprintOf, so that nobody gets what somebody else was allowed to see.
//
// It knows nothing about what is fetched.
package flight
