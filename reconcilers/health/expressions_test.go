package health

import (
	"strings"
	"testing"

	"github.com/fluxcd/cli-utils/pkg/kstatus/status"
	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/weir-dev/weir/api/meta"
	"github.com/weir-dev/weir/reconcilers/access"
	"github.com/weir-dev/weir/reconcilers/expression"
)

func compiler(t *testing.T) *expression.Compiler {
	t.Helper()

	c, err := expression.New()
	if err != nil {
		t.Fatal(err)
	}

	return c
}

func custom(apiVersion, kind, inProgress, failed, current string) meta.CustomHealthCheck {
	return meta.CustomHealthCheck{
		APIVersion: apiVersion, Kind: kind,
		HealthCheckExpressions: meta.HealthCheckExpressions{InProgress: inProgress, Failed: failed, Current: current},
	}
}

func TestRulesEvaluate(t *testing.T) {
	check := custom("example.org/v1", "Thing", "status.phase == 'Starting'", "status.phase == 'Broken'", "status.ready")
	cases := map[string]struct {
		reason string
		status map[string]any
		want   status.Status
	}{
		"InProgress": {"What is in progress comes first.", map[string]any{"phase": "Starting", "ready": true}, status.InProgressStatus},
		"Failed":     {"Then what failed.", map[string]any{"phase": "Broken", "ready": true}, status.FailedStatus},
		"Current":    {"Then what is current.", map[string]any{"phase": "Up", "ready": true}, status.CurrentStatus},
		"None":       {"Nothing of that is in progress.", map[string]any{"phase": "Up", "ready": false}, status.InProgressStatus},
		"Missing":    {"A missing field is awaited.", map[string]any{"ready": true}, status.InProgressStatus},
		"NoBool":     {"So is an answer that is none.", map[string]any{"phase": "Up", "ready": "yes"}, status.InProgressStatus},
		"Unobserved": {"A controller that has not seen the generation has said nothing.",
			map[string]any{"phase": "Up", "ready": true, "observedGeneration": int64(1)}, status.InProgressStatus},
	}

	rules, err := Rules(compiler(t), []meta.CustomHealthCheck{check})
	if err != nil {
		t.Fatal(err)
	}

	rule := rules[schema.GroupKind{Group: "example.org", Kind: "Thing"}]

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			object := map[string]any{"metadata": map[string]any{"generation": int64(2)}, "status": tc.status}
			if got := rule.evaluate(object, false); got.status != tc.want {
				t.Errorf("%s: evaluate returns %+v, want %s", tc.reason, got, tc.want)
			}
		})
	}
}

func TestRulesRefuse(t *testing.T) {
	cases := map[string]struct {
		reason string
		checks []meta.CustomHealthCheck
		want   string
	}{
		"Syntax": {"An expression has to compile.", []meta.CustomHealthCheck{custom("a/v1", "B", "", "1 +", "true")},
			`health check for B of group "a": failed: parse the expression`},
		"NoCurrent": {"Something has to be current.", []meta.CustomHealthCheck{custom("a/v1", "", "", "", "")},
			`health check for all kinds of group "a": current: the expression is empty`},
		"Version": {"The version has a form.", []meta.CustomHealthCheck{custom("a/b/c", "B", "", "", "true")},
			"parse apiVersion of a health check: unexpected GroupVersion string: a/b/c"},
		"Twice": {"The version does not tell kinds apart.",
			[]meta.CustomHealthCheck{custom("a/v1", "B", "", "", "true"), custom("a/v2", "B", "", "", "true")},
			`duplicate health check for B of group "a"`},
		"GroupTwice": {"Nor groups.",
			[]meta.CustomHealthCheck{custom("a/v1", "", "", "", "true"), custom("a/v2", "", "", "", "true")},
			`duplicate health check for all kinds of group "a"`},
	}

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if _, err := Rules(compiler(t), tc.checks); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("%s: the error is %v, want one that says %q", tc.reason, err, tc.want)
			}
		})
	}
}

func TestRulesPrecedence(t *testing.T) {
	rules, err := Rules(compiler(t), []meta.CustomHealthCheck{
		custom("a/v1", "", "", "", "kind == 'any'"), custom("a/v1", "B", "", "", "kind == 'B'"),
	})
	if err != nil {
		t.Fatal(err)
	}

	o := &owner{rules: rules}
	got := map[string]string{}

	for _, id := range []access.ID{{Group: "a", Kind: "B"}, {Group: "a", Kind: "C"}, {Group: "b", Kind: "B"}} {
		if r := o.ruleFor(id); r != nil {
			got[id.Group+"/"+id.Kind] = strings.Trim(r.Key, "\x00")
		}
	}

	if diff := cmp.Diff(map[string]string{"a/B": "kind == 'B'", "a/C": "kind == 'any'"}, got); diff != "" {
		t.Errorf("rules by kind: -want, +got:\n%s", diff)
	}
}
