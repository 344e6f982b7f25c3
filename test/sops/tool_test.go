package sops_test

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/weir-dev/weir/test/sops"
)

func TestTheProgramIsOfTheVersion(t *testing.T) {
	program, err := sops.Build(t.Context(), t.Output())
	if err != nil {
		t.Fatal(err)
	}

	out, err := exec.CommandContext(t.Context(), program, "--version", "--disable-version-check").CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}

	if want := strings.TrimPrefix(sops.Version, "v"); !strings.Contains(string(out), want) {
		t.Errorf("version is %q, want %q", out, want)
	}
}
