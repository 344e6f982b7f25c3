// Package sops reads files that SOPS has encrypted: YAML, JSON, dotenv, INI and binary. It parses what the file says of itself,
// asks [Keys] for the data key, and decrypts the values, each of which is authenticated together with its place in the file.
// It writes no such files.
//
// The code of a whole file, its MAC, is not looked at: a build merges, splits and orders what was one file. What somebody may do
// who can write the file but not read it is to leave values out, and to change those that were never encrypted.
//
// Files are foreign bytes. Their size, depth, number of values and of recipients are bounded, and no error holds a value.
//
// The package holds no keys, asks no service and reads no environment: see packages decryption and kms.
package sops
