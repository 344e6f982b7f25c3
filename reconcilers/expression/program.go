package expression

import (
	"context"
	"fmt"
	"maps"
	"time"

	"github.com/google/cel-go/common/types"
)

// maxTime of an evaluation. What it may cost ends it much earlier, as a rule; this is for what costs no calls, such as a loop in
// a loop over a large map.
const maxTime = 2 * time.Second

// Program is a compiled expression. It may be evaluated concurrently.
type Program struct{ program evaluator }

// Holds evaluates the expression with the values of the variables, as JSON decodes, which it does not change. An error says
// why there is neither yes nor no: as a rule a field that is not there yet, or more work than one evaluation may cost.
func (p *Program) Holds(ctx context.Context, variables map[string]any) (bool, error) {
	values := make(map[string]any, len(variables)+1)
	maps.Copy(values, variables)

	values[budgetName] = &budget{left: maxWeight}

	ctx, cancel := context.WithTimeout(ctx, maxTime)
	defer cancel()

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
