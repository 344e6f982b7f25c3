package v1beta1_test

import (
	"testing"

	"github.com/weir-dev/weir/api/sourceextensions/v1beta1"
)

func TestCopyStrategy(t *testing.T) {
	for set, want := range map[string]string{"": "Overwrite", "Merge": "Merge"} {
		if got := (&v1beta1.CopyOperation{Strategy: set}).GetStrategy(); got != want {
			t.Errorf("strategy %q means %q, want %q", set, got, want)
		}
	}
}
