package pass

import "testing"

func TestPlain(t *testing.T) { t.Log("a line of a test that passed") }

func TestParent(t *testing.T) {
	for _, name := range []string{"a", "b"} {
		t.Run(name, func(t *testing.T) {})
	}
}

// A comment.

func TestSkipped(t *testing.T) { t.Skip("no such thing here") }
