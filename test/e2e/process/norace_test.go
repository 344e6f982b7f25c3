//go:build !race

package process

// raced says that the tests look for data races.
const raced = false
