// Package secrets holds the conventions for the keys of Secrets by which objects say who they are to a server, and who the
// server is to them: certificates, proxies and basic authentication. Source of the keys: reference §2.1.
//
// It reads what it is given and talks to nobody. Its errors name keys, never what they hold.
package secrets
