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
	maxText      = 16 << 10    // code points of an expression
	maxDepth     = 100         // of its nesting
	maxDoublings = 8           // uses of macros that write their target twice
	maxBytes     = 4 * maxText // of an expression
	maxNodes     = 5000        // of a program, once its macros are written out: to check them takes a second at worst
	maxKept      = 100_000     // nodes of all programs that are kept, some hundred bytes each
	maxMaking    = 2           // programs that are made at a time
	leastSize    = 100         // nodes that any program counts for
	maxCost      = 50_000      // of one evaluation, in units of the library: some ten thousand steps, some ten milliseconds
	maxPrecision = 100         // digits that format writes
	checkEvery   = 100         // iterations between two looks at the context
)

// Compiler makes programs of expressions, and keeps those that were used last: the same text is the same program. Its
// methods may be called concurrently.
type Compiler struct {
	base   *cel.Env
	places chan struct{} // holds a token for each program that is made

	mu       sync.Mutex
	programs map[source]*list.Element // of *entry
	recent   list.List
	size     int // nodes of all programs
}

// source is what a program is made of.
type source struct{ text, variables string }

// entry is a program that is kept, or about to be made. What done guards does not change any more when it is closed.
type entry struct {
	source
	size int // guarded by the lock of the compiler

	done    chan struct{}
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

	return &Compiler{base: base, places: make(chan struct{}, maxMaking), programs: map[source]*list.Element{}}, nil
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

// compile returns the program that is kept, or makes it. What cannot be compiled is kept, too. Nobody waits for the making of
// another program than his own, unless it takes one of the few places in which all are made: no flood of texts compiles in
// parallel.
func (c *Compiler) compile(s source, variables []string) (*Program, error) {
	if len(s.text) > maxBytes { // has more code points than it may, and is no key to keep
		return nil, fmt.Errorf("the expression is too long: its size exceeds limit %d", maxBytes)
	}

	c.mu.Lock()

	e, known := c.programs[s]
	if known {
		c.recent.MoveToFront(e)
	} else {
		e = c.recent.PushFront(&entry{source: s, done: make(chan struct{}), err: errors.New("the expression could not be compiled")})
		c.programs[s] = e
	}

	it, _ := e.Value.(*entry)
	c.mu.Unlock()

	if known {
		<-it.done
	} else {
		c.fill(it, variables)
	}

	return it.program, it.err
}

// fill compiles what an entry is about.
func (c *Compiler) fill(e *entry, variables []string) {
	defer close(e.done) // even if it panics

	c.places <- struct{}{}
	defer func() { <-c.places }()

	size := leastSize + len(e.text)/leastSize

	defer func() {
		c.mu.Lock()
		defer c.mu.Unlock()

		if at := c.programs[e.source]; at == nil || at.Value != e {
			return // dropped meanwhile
		}

		e.size = size
		c.size += size

		for c.size > maxKept && c.recent.Len() > 1 {
			c.evict()
		}
	}()

	parsed, nodes, err := c.parse(e.text)
	size += nodes

	if err != nil {
		e.err = err

		return
	}

	e.program, e.err = c.make(parsed, variables)
}

// evict drops the program that was used longest ago. Who waits for it gets it all the same.
func (c *Compiler) evict() {
	if oldest, ok := c.recent.Remove(c.recent.Back()).(*entry); ok {
		delete(c.programs, oldest.source)

		c.size -= oldest.size
	}
}

// parse reads a text, and counts its nodes, which may be many more than the text has characters.
func (c *Compiler) parse(text string) (*cel.Ast, int, error) {
	if strings.TrimSpace(text) == "" {
		return nil, 0, errors.New("the expression is empty")
	}

	if strings.Count(text, "optMap")+strings.Count(text, "optFlatMap") > maxDoublings {
		return nil, 0, fmt.Errorf("the expression uses optMap and optFlatMap more than %d times", maxDoublings)
	}

	parsed, issues := c.base.Parse(text)
	if issues.Err() != nil {
		return nil, 0, fmt.Errorf("parse the expression: %w", issues.Err())
	}

	nodes := 0
	ast.PreOrderVisit(parsed.NativeRep().Expr(), ast.NewExprVisitor(func(ast.Expr) { nodes++ }))

	if nodes > maxNodes {
		return nil, 0, fmt.Errorf("the expression has %d nodes, more than %d", nodes, maxNodes)
	}

	return parsed, nodes, nil
}

// make makes a program of what was parsed. Nil variables are all that it names.
func (c *Compiler) make(parsed *cel.Ast, variables []string) (*Program, error) {
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
