// Package tool builds the programs that tests run, from their Go modules, and keeps them in the user's cache folder: once per
// version, Go and machine.
package tool
