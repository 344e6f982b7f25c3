package fail

import "testing"

func TestParent(t *testing.T) {
	t.Log("the parent says")
	t.Run("good", func(t *testing.T) {})
	t.Run("bad", func(t *testing.T) { t.Error("the subtest is wrong") })
}

func TestAlone(t *testing.T) {
	t.Run("good", func(t *testing.T) {})
	t.Error("the parent alone is wrong")
}

func TestPlain(t *testing.T) { t.Fail() }
