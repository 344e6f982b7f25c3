// Package sops encrypts files in tests as people do: with the program sops, which is built once per machine.
package sops
