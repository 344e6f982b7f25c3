package health

import (
	"cmp"
	"context"
	"fmt"
	"strings"

	"github.com/fluxcd/cli-utils/pkg/kstatus/status"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/weir-dev/weir/api/meta"
	"github.com/weir-dev/weir/reconcilers/expression"
)

// Rules compiles health checks of users. There is one for each kind, and one for each group as a whole. The errors are
// those of the spec: nothing but another spec helps.
//
// An evaluation that fails, as a rule because a field is not there yet, says that the object is in progress.
func Rules(c *expression.Compiler, checks []meta.CustomHealthCheck) (map[schema.GroupKind]Rule, error) {
	if len(checks) == 0 {
		return nil, nil
	}

	rules := make(map[schema.GroupKind]Rule, len(checks))

	for _, check := range checks {
		gv, err := schema.ParseGroupVersion(check.APIVersion)
		if err != nil {
			return nil, fmt.Errorf("parse apiVersion of a health check: %w", err)
		}

		gk := schema.GroupKind{Group: gv.Group, Kind: check.Kind}
		if _, twice := rules[gk]; twice {
			return nil, fmt.Errorf("duplicate health check for %s", describe(gk))
		}

		rule, err := ruleOf(c, check.HealthCheckExpressions)
		if err != nil {
			return nil, fmt.Errorf("health check for %s: %w", describe(gk), err)
		}

		rules[gk] = rule
	}

	return rules, nil
}

func describe(gk schema.GroupKind) string {
	kind := cmp.Or(gk.Kind, "all kinds")

	return fmt.Sprintf("%s of group %q", kind, gk.Group)
}

// expressions are those of one health check. InProgress and failed may be nil.
type expressions struct {
	inProgress, failed, current *expression.Program
}

func ruleOf(c *expression.Compiler, e meta.HealthCheckExpressions) (Rule, error) {
	var x expressions

	for _, field := range []struct {
		name, text string
		required   bool
		program    **expression.Program
	}{
		{"inProgress", e.InProgress, false, &x.inProgress},
		{"failed", e.Failed, false, &x.failed},
		{"current", e.Current, true, &x.current},
	} {
		if field.text == "" && !field.required {
			continue
		}

		var err error
		if *field.program, err = c.Object(field.text); err != nil {
			return Rule{}, fmt.Errorf("%s: %w", field.name, err)
		}
	}

	return Rule{Key: strings.Join([]string{e.InProgress, e.Failed, e.Current}, "\x00"), Evaluate: x.evaluate}, nil
}

func (x expressions) evaluate(object map[string]any) (status.Status, string) {
	for _, try := range []struct {
		program *expression.Program
		status  status.Status
	}{
		{x.inProgress, status.InProgressStatus}, {x.failed, status.FailedStatus}, {x.current, status.CurrentStatus},
	} {
		if try.program == nil {
			continue
		}

		holds, err := try.program.Holds(context.Background(), object) // bounded by what it costs
		if err != nil {
			return status.InProgressStatus, err.Error()
		}

		if holds {
			return try.status, fmt.Sprintf("the health check expression for %s holds", try.status)
		}
	}

	return status.InProgressStatus, "no health check expression holds"
}
