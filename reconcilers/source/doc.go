// Package source is what the kinds of sources share: the life of their artifact in the storage, the conditions that make it
// Ready, and the events that tell of it. Source of the rules: reference §2.2.
//
// A kind finds out what is upstream, and stores it; what is common to all finding and storing is here. It knows no kind.
package source
