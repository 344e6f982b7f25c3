package tool_test

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/weir-dev/weir/test/tool"
)

func TestTheProgramIsOfTheVersion(t *testing.T) {
	cases := map[string]struct {
		tool tool.Tool
		args []string
	}{
		"cosign": {tool.Cosign(), []string{"version"}},
		"flux":   {tool.Flux(), []string{"--version"}},
		"helm":   {tool.Helm(), []string{"version", "--short"}},
		"helm4":  {tool.Helm4(), []string{"version", "--short"}},
		"sops":   {tool.SOPS(), []string{"--version", "--disable-version-check"}},
	}

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			program, err := tc.tool.Build(t.Context(), t.Output())
			if err != nil {
				t.Fatal(err)
			}

			out, err := exec.CommandContext(t.Context(), program, tc.args...).CombinedOutput()
			if err != nil {
				t.Fatalf("%v: %s", err, out)
			}

			if want := strings.TrimPrefix(tc.tool.Version, "v"); !strings.Contains(string(out), want) {
				t.Errorf("version is %q, want %q", out, want)
			}
		})
	}
}
