package expression

import (
	"container/list"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/google/cel-go/cel"
	"github.com/google/cel-go/common/ast"
	"github.com/google/cel-go/common/env"
	"github.com/google/cel-go/common/operators"
	"github.com/google/cel-go/ext"
)

const (
	maxText      = 16 << 10 // code points of an expression
	maxDepth     = 100      // of its nesting
	maxDoublings = 8        // uses of macros that write their target twice
	maxKept      = 1024     // programs that are kept
	maxCost      = 50_000   // of one evaluation, in units of the library: some ten thousand steps, some ten milliseconds
	maxPrecision = 100      // digits that format writes
	checkEvery   = 100      // iterations between two looks at the context
)

// Compiler makes programs of expressions, and keeps those that were used last: the same text is the same program. Its
// methods may be called concurrently.
type Compiler struct {
	base *cel.Env

	mu       sync.Mutex
	programs map[source]*list.Element // of *entry
	recent   list.List
}

// source is what a program is made of.
type source struct{ text, variables string }

type entry struct {
	source
	program *Program
	err     error
}

// New makes a compiler.
func New() (*Compiler, error) {
	guarded, err := guardedFunctions()
	if err != nil {
		return nil, err
	}

	without := env.NewLibrarySubset().AddExcludedFunctions(env.NewFunction(matches))
	base, err := cel.NewCustomEnv(append([]cel.EnvOption{
		cel.StdLib(cel.StdLibSubset(without)),
		cel.OptionalTypes(),
		cel.HomogeneousAggregateLiterals(),
		cel.EagerlyValidateDeclarations(true),
		cel.DefaultUTCTimeZone(true),
		cel.CrossTypeNumericComparisons(true),
		cel.ParserExpressionSizeLimit(maxText),
		cel.ParserRecursionLimit(maxDepth),
	}, guarded...)...)
	if err != nil {
		return nil, fmt.Errorf("make the environment of expressions: %w", err)
	}

	return &Compiler{base: base, programs: map[source]*list.Element{}}, nil
}

// Object compiles an expression about an object, whose top-level fields are its variables. Which ones there are is known
// only when it is evaluated.
func (c *Compiler) Object(text string) (*Program, error) {
	return c.compile(source{text: text}, nil)
}

// With compiles an expression about the variables.
func (c *Compiler) With(text string, variables ...string) (*Program, error) {
	return c.compile(source{text, strings.Join(variables, ",")}, variables)
}

// compile returns the program that is kept, or makes it. It holds the lock meanwhile, so that no flood of texts compiles
// in parallel. What cannot be compiled is kept, too.
func (c *Compiler) compile(s source, variables []string) (*Program, error) {
	c.mu.Lock()
	defer c.mu.Unlock()

	if e, ok := c.programs[s]; ok {
		c.recent.MoveToFront(e)

		if known, ok := e.Value.(*entry); ok {
			return known.program, known.err
		}
	}

	made := &entry{source: s}
	made.program, made.err = c.make(s.text, variables)

	if len(s.text) > maxText { // no key to keep
		return made.program, made.err
	}

	c.programs[s] = c.recent.PushFront(made)

	if c.recent.Len() > maxKept {
		if oldest, ok := c.recent.Remove(c.recent.Back()).(*entry); ok {
			delete(c.programs, oldest.source)
		}
	}

	return made.program, made.err
}

func (c *Compiler) make(text string, variables []string) (*Program, error) {
	if strings.TrimSpace(text) == "" {
		return nil, errors.New("the expression is empty")
	}

	if strings.Count(text, "optMap")+strings.Count(text, "optFlatMap") > maxDoublings {
		return nil, fmt.Errorf("the expression uses optMap and optFlatMap more than %d times", maxDoublings)
	}

	parsed, issues := c.base.Parse(text)
	if issues.Err() != nil {
		return nil, fmt.Errorf("parse the expression: %w", issues.Err())
	}

	if variables == nil {
		variables = names(parsed)
	}

	declared := make([]cel.EnvOption, len(variables))
	for i, name := range variables {
		declared[i] = cel.Variable(name, cel.DynType)
	}

	extended, err := c.base.Extend(declared...)
	if err != nil {
		return nil, fmt.Errorf("declare the variables of the expression: %w", err)
	}

	checked, issues := extended.Check(parsed)
	if issues.Err() != nil {
		return nil, fmt.Errorf("check the expression: %w", issues.Err())
	}

	if t := checked.OutputType(); !t.IsExactType(cel.BoolType) && !t.IsExactType(cel.DynType) {
		return nil, fmt.Errorf("the expression is of type %s, want bool", t)
	}

	program, err := extended.Program(checked,
		cel.CostLimit(maxCost), cel.CostTracking(costs{}), cel.InterruptCheckFrequency(checkEvery),
		cel.CustomDecoratorV2(weighResult))
	if err != nil {
		return nil, fmt.Errorf("plan the expression: %w", err)
	}

	return &Program{program: program}, nil
}

// names returns the identifiers of the expression that are not defined otherwise.
func names(parsed *cel.Ast) []string {
	known := map[string]bool{operators.In: true}

	for _, name := range []string{
		"bool", "bytes", "double", "dyn", "int", "list", "map", "null_type", "optional_type", "string", "type", "uint",
	} {
		known[name] = true
	}

	var found []string

	ast.PreOrderVisit(parsed.NativeRep().Expr(), ast.NewExprVisitor(func(e ast.Expr) {
		if e.Kind() != ast.IdentKind {
			return
		}

		if name := strings.TrimPrefix(e.AsIdent(), "."); !known[name] && !strings.HasPrefix(name, "@") {
			known[name] = true

			found = append(found, name)
		}
	}))

	return found
}

// library returns an environment with all functions beyond those that CEL has by itself.
func library() (*cel.Env, error) {
	return cel.NewCustomEnv(cel.StdLib(), ext.Strings(ext.StringsMaxPrecision(maxPrecision)), ext.Sets(), ext.Encoders())
}
