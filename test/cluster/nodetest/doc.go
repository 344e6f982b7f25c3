// Package nodetest holds the tests of a cluster's node: what package cluster
// promises of pods, Services, names and logs. They are apart from that package's
// own since they take a node's start and need root on Linux; elsewhere they skip
// and say what is missing.
package nodetest
