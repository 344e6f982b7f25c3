// Package proxy runs a real forward proxy for tests: it passes on plain requests and makes tunnels, asks for a user name and a
// password if told to, and notes what came. Names that exist nowhere can be given addresses, so that a test knows that the
// proxy was used.
//
// It passes on anything to anywhere, so it listens on the loopback interface only.
package proxy
