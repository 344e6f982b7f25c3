package expression

import (
	"context"
	"fmt"
	"maps"

	"github.com/google/cel-go/common/types"
)

// Program is a compiled expression. It may be evaluated concurrently.
type Program struct{ program evaluator }

// Holds evaluates the expression with the values of the variables, as JSON decodes, which it does not change. An error says
// why there is neither yes nor no: as a rule a field that is not there yet, or more work than one evaluation may cost.
func (p *Program) Holds(ctx context.Context, variables map[string]any) (bool, error) {
	values := make(map[string]any, len(variables)+1)
	maps.Copy(values, variables)

	values[budgetName] = &budget{left: maxWeight}

	result, _, err := p.program.ContextEval(ctx, values)
	if err != nil {
		return false, fmt.Errorf("evaluate the expression: %w", err)
	}

	holds, ok := result.(types.Bool)
	if !ok {
		return false, fmt.Errorf("the expression is of type %s, want bool", result.Type().TypeName())
	}

	return bool(holds), nil
}
