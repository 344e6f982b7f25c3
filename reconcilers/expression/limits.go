package expression

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/google/cel-go/cel"
	"github.com/google/cel-go/common/decls"
	"github.com/google/cel-go/common/functions"
	"github.com/google/cel-go/common/operators"
	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/common/types/ref"
	"github.com/google/cel-go/common/types/traits"
	"github.com/google/cel-go/interpreter"
)

const (
	// maxWeight is how much an evaluation may make: lists, maps and texts, in units of a value or of 16 bytes.
	maxWeight = 200_000
	// maxEffort is what one call of a function may take, roughly in bytes that are looked at or written. It costs as much as
	// an evaluation may.
	maxEffort = 10 * maxCost
	// maxPattern is how long a regular expression may be, in bytes.
	maxPattern = 1 << 10

	matches = "matches"

	// budgetName is the variable with the budget of the evaluation. No expression can name it.
	budgetName = "@budget"
)

// evaluator is a cel.Program.
type evaluator interface {
	ContextEval(ctx context.Context, variables any) (ref.Val, *cel.EvalDetails, error)
}

// budget is what is left of the weight that an evaluation may make.
type budget struct{ left int }

// weighResult sees to it that everything that an expression makes counts against its budget. A list that holds another one
// twice costs the machine nothing, but a function that looks at all of it does: without this, a text of a few hundred
// characters makes lists that nobody can compare in a lifetime.
func weighResult(i interpreter.InterpretableV2) (interpreter.InterpretableV2, error) {
	switch made := i.(type) {
	case interpreter.InterpretableConst, interpreter.InterpretableAttribute:
		return i, nil
	case interpreter.InterpretableConstructor:
		return weighedConstructor{made}, nil
	case interpreter.InterpretableCall:
		return weighedCall{made}, nil
	}

	return i, nil
}

type weighedCall struct{ interpreter.InterpretableCall }

// Eval implements interpreter.Interpretable.
func (w weighedCall) Eval(vars interpreter.Activation) ref.Val {
	return spend(vars, w.InterpretableCall.Eval(vars))
}

// Exec implements interpreter.InterpretableV2.
func (w weighedCall) Exec(frame *interpreter.ExecutionFrame) ref.Val {
	return spend(frame, w.InterpretableCall.Exec(frame))
}

type weighedConstructor struct {
	interpreter.InterpretableConstructor
}

// Eval implements interpreter.Interpretable.
func (w weighedConstructor) Eval(vars interpreter.Activation) ref.Val {
	return spend(vars, w.InterpretableConstructor.Eval(vars))
}

// Exec implements interpreter.InterpretableV2.
func (w weighedConstructor) Exec(frame *interpreter.ExecutionFrame) ref.Val {
	return spend(frame, w.InterpretableConstructor.Exec(frame))
}

// spend returns the value, or an error if it is more than the evaluation may still make.
func spend(vars interpreter.Activation, value ref.Val) ref.Val {
	switch value.(type) {
	case types.Bool, types.Int, types.Uint, types.Double, *types.Err, *types.Unknown:
		return value
	case traits.MutableLister: // grows by what was weighed already
		return value
	}

	found, _ := vars.ResolveName(budgetName)

	b, ok := found.(*budget)
	if !ok {
		return types.NewErr("the evaluation has no budget")
	}

	if b.left -= weigh(value, b.left+1); b.left < 0 {
		return types.NewErr("the expression makes too much")
	}

	return value
}

// weigh returns how much the value is, and not much more than most.
func weigh(value ref.Val, most int) int {
	switch v := value.(type) {
	case types.String:
		return 1 + len(v)/16
	case types.Bytes:
		return 1 + len(v)/16
	case *types.Optional:
		if v.HasValue() {
			return 1 + weigh(v.GetValue(), most)
		}
	case traits.Lister:
		return weighAll(v.Iterator(), nil, most)
	case traits.Mapper:
		return weighAll(v.Iterator(), v, most)
	}

	return 1
}

// weighAll weighs the elements of a list, or the keys and values of a map.
func weighAll(each traits.Iterator, in traits.Mapper, most int) int {
	total := 1

	for total <= most && each.HasNext() == types.True {
		next := each.Next()
		total += weigh(next, most-total)

		if in != nil && total <= most {
			total += weigh(in.Get(next), most-total)
		}
	}

	return total
}

// effort returns what a call takes, roughly in bytes that are looked at or written.
func effort(function string, args []ref.Val) int {
	switch function {
	case "replace":
		if len(args) > 2 {
			return (length(args[0]) + 1) * (length(args[2]) + 1)
		}
	case "indexOf", "lastIndexOf":
		if len(args) > 1 {
			return (length(args[0]) + 1) * (length(args[1]) + 1)
		}
	case "join":
		total := weight(args[0])
		if len(args) > 1 {
			total += count(args[0]) * length(args[1])
		}

		return total
	case matches:
		if len(args) > 1 {
			return 500*length(args[1]) + length(args[0])*(length(args[1])/4+1)
		}
	case "sets.contains", "sets.equivalent", "sets.intersects":
		return weight(args[0]) * weight(args[1])
	case operators.Equals, operators.NotEquals:
		a, b := weight(args[0]), weight(args[1])

		return a + b + 10*min(a, b) // to find out takes its time, too
	case operators.In:
		return 10 * min(weight(args[1]), count(args[1])*weight(args[0])+1)
	}

	total := 0
	for _, arg := range args {
		total += length(arg) + 16*weight(arg)
	}

	return total
}

// weight returns how much the value is; beyond what a call may take, some more of it makes no difference.
func weight(value ref.Val) int { return weigh(value, maxEffort) }

// length returns the bytes of a text, and nothing for another value.
func length(value ref.Val) int {
	switch v := value.(type) {
	case types.String:
		return len(v)
	case types.Bytes:
		return len(v)
	}

	return 0
}

// count returns the elements of a list or map.
func count(value ref.Val) int {
	if v, ok := value.(traits.Sizer); ok {
		if n, ok := v.Size().(types.Int); ok {
			return int(n)
		}
	}

	return 1
}

// costs is what calls cost of functions that the library counts as one step whatever they are given.
type costs struct{}

// CallCost implements interpreter.ActualCostEstimator.
func (costs) CallCost(function, _ string, args []ref.Val, _ ref.Val) *uint64 {
	var taken int

	switch {
	case slices.Contains([]string{operators.Equals, operators.NotEquals, operators.In, matches}, function) || isExtension(function):
		taken = effort(function, args)
	case slices.Contains(readers(), function):
		taken = reading(function, args)
	default:
		return nil
	}

	cost := uint64(1 + taken/10) //nolint:gosec // it is not negative

	return &cost
}

// readers are the functions of CEL itself that look at each byte of a text, though the library counts them as one step.
func readers() []string {
	return append([]string{"size", "bool", "double", "duration", "int", "timestamp", "uint"}, zoned()...)
}

// zoned are the functions that may be given the name of a time zone, which is looked up in files.
func zoned() []string {
	return []string{
		"getDate", "getDayOfMonth", "getDayOfWeek", "getDayOfYear", "getFullYear", "getHours", "getMilliseconds", "getMinutes",
		"getMonth", "getSeconds",
	}
}

// reading returns what a call of a reader takes.
func reading(function string, args []ref.Val) int {
	total := 0
	for _, arg := range args {
		total += length(arg)
	}

	switch {
	case function == "size":
		return total / 10
	case len(args) > 1: // with a time zone
		return total + 1000
	}

	return total
}

// extensions are the functions beyond those of CEL itself.
func extensions() []string {
	return []string{
		"charAt", "indexOf", "join", "lastIndexOf", "lowerAscii", "replace", "split", "substring", "trim", "upperAscii", "format",
		"strings.quote", "reverse", "sets.contains", "sets.equivalent", "sets.intersects", "base64.decode", "base64.encode",
	}
}

func isExtension(function string) bool { return slices.Contains(extensions(), function) }

// guardedFunctions declares the functions of the extensions, and those of CEL that take more than their arguments' size,
// such that they refuse what would take too long before they begin.
func guardedFunctions() ([]cel.EnvOption, error) {
	lib, err := library()
	if err != nil {
		return nil, fmt.Errorf("make the library of expressions: %w", err)
	}

	var options []cel.EnvOption

	for _, name := range append(extensions(), matches) {
		f, ok := lib.Functions()[name]
		if !ok {
			return nil, fmt.Errorf("function %q is not in the library of expressions", name)
		}

		option, err := guarded(f)
		if err != nil {
			return nil, err
		}

		options = append(options, option)
	}

	return options, nil
}

// guarded declares the function again, with a guard before each of its implementations.
func guarded(f *decls.FunctionDecl) (cel.EnvOption, error) {
	bindings, err := f.Bindings()
	if err != nil {
		return nil, fmt.Errorf("read the implementation of %q: %w", f.Name(), err)
	}

	byName := map[string]*functions.Overload{}
	for _, b := range bindings {
		byName[b.Operator] = b
	}

	var overloads []cel.FunctionOpt

	for _, o := range f.OverloadDecls() {
		declare := cel.Overload
		if o.IsMemberFunction() {
			declare = cel.MemberOverload
		}

		var binding []cel.OverloadOpt
		if b := byName[o.ID()]; b != nil && !f.HasSingletonBinding() {
			binding = append(binding, guard(f.Name(), len(o.ArgTypes()), b))
		}

		overloads = append(overloads, declare(o.ID(), o.ArgTypes(), o.ResultType(), binding...))
	}

	if f.HasSingletonBinding() {
		overloads = append(overloads, cel.SingletonFunctionBinding(call(f.Name(), byName[f.Name()])))
	}

	return cel.Function(f.Name(), overloads...), nil
}

// guard binds the implementation of a function with so many arguments.
func guard(name string, arity int, o *functions.Overload) cel.OverloadOpt {
	implementation := call(name, o)

	switch arity {
	case 1:
		return cel.UnaryBinding(func(arg ref.Val) ref.Val { return implementation(arg) })
	case 2:
		return cel.BinaryBinding(func(a, b ref.Val) ref.Val { return implementation(a, b) })
	}

	return cel.FunctionBinding(implementation)
}

// call returns a function that calls the implementation unless that would take too long.
func call(name string, o *functions.Overload) functions.FunctionOp {
	return func(args ...ref.Val) ref.Val {
		if err := refuse(name, args...); err != nil {
			return err
		}

		switch {
		case len(args) == 1 && o.Unary != nil:
			return o.Unary(args[0])
		case len(args) == 2 && o.Binary != nil:
			return o.Binary(args[0], args[1])
		case o.Function != nil:
			return o.Function(args...)
		}

		return types.NewErr("no such overload of %s", name)
	}
}

// refuse returns an error if the call would take too long, else nil.
func refuse(name string, args ...ref.Val) ref.Val {
	if name == matches && len(args) > 1 && length(args[1]) > maxPattern {
		return types.NewErr("the regular expression is longer than %d bytes", maxPattern)
	}

	if effort(name, args) > maxEffort {
		return types.NewErr("%s is given too much", strings.TrimPrefix(name, "@"))
	}

	return nil
}
