package tool_test

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/weir-dev/weir/test/tool"
)

func TestTheProgramIsOfTheVersion(t *testing.T) {
	flux := tool.Flux()

	program, err := flux.Build(t.Context(), t.Output())
	if err != nil {
		t.Fatal(err)
	}

	out, err := exec.CommandContext(t.Context(), program, "--version").CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}

	if want := strings.TrimPrefix(flux.Version, "v"); !strings.Contains(string(out), want) {
		t.Errorf("version is %q, want %q", out, want)
	}
}
