package template

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"text/template"
	"text/template/parse"
	"time"

	"k8s.io/apimachinery/pkg/runtime"
)

// What a template may cost with one input.
const (
	// maxValue bounds a single value, in bytes as it would be printed.
	maxValue = 4 << 20
	// maxDepth bounds how deep maps and lists are nested: who prints them calls itself for each level.
	maxDepth = 1_000
	// maxTemplate bounds the text of a template. What is larger would fit into no object.
	maxTemplate = 2 << 20
	// maxBlocks bounds how many blocks a template opens: who parses them calls itself for each level.
	maxBlocks = 10_000
	// maxNested bounds how deep they are nested: who executes them calls itself for each level.
	maxNested = 500
	// maxCalls bounds how deep templates call templates.
	maxCalls = 100
	// stepBytes is how many bytes a function works on for the price of one step.
	stepBytes = 64
	// allInputs is how many times the steps of one template with one input all of them may take in all.
	allInputs = 50
)

// sandbox executes templates, one after another, and counts what they cost.
type sandbox struct {
	ctx   context.Context //nolint:containedctx // the functions of templates have no arguments to take it from
	funcs template.FuncMap
	now   func() time.Time // may be nil
	most  int              // steps of one template with one input

	// Of the execution that is on.
	input  Input
	steps  int
	calls  int
	random *rand.Rand // nil until it is asked for

	// Left of what all may cost.
	allSteps, allBytes int

	// Of who is asked whether to go on with what is heavy.
	heavy           func() error // nil once it was asked
	refused         error
	cheapTo, fitsTo int // steps and bytes left, below which it is heavy
}

func newSandbox(ctx context.Context, o Options) *sandbox {
	s := &sandbox{ctx: ctx, now: o.Now, most: o.MaxSteps, allSteps: o.MaxSteps * allInputs, allBytes: o.MaxBytes, heavy: o.Heavy}
	s.cheapTo, s.fitsTo = s.allSteps-heavySteps, s.allBytes-heavyBytes
	s.funcs = s.functions()

	return s
}

// program is a template with guards in it.
type program struct {
	*template.Template
	sets bool // it may change its input
}

// compile parses a template and puts guards into it. It returns a fault.
func (s *sandbox) compile(text string) (*program, error) {
	if len(text) > maxTemplate {
		return nil, fault(fmt.Sprintf("the template has %d bytes, more than the limit of %d", len(text), maxTemplate))
	}

	if blocks(text) > maxBlocks {
		return nil, fault(fmt.Sprintf("the template has more than %d blocks", maxBlocks))
	}

	t, err := template.New("it").Delims("<<", ">>").Option("missingkey=error").Funcs(s.funcs).Parse(text)
	if err != nil {
		return nil, parseFault(err)
	}

	for _, t := range t.Templates() {
		if t.Tree == nil || t.Root == nil {
			continue
		}

		size, ok := guardList(t.Root, 0)
		if !ok {
			return nil, fault(fmt.Sprintf("the blocks are nested more than %d deep", maxNested))
		}

		enter := action(t.Root.Pos, enterName, number(size))
		t.Root.Nodes = slices.Concat([]parse.Node{enter}, t.Root.Nodes, []parse.Node{action(t.Root.Pos, leaveName)})
	}

	return &program{t, strings.Contains(text, "set")}, nil
}

// blocks returns at least how many blocks a template opens.
func blocks(text string) int {
	n := 0

	for part := range strings.SplitSeq(text, "<<") {
		action := strings.TrimLeft(part, "- \t\r\n")
		if slices.ContainsFunc(openers(), func(word string) bool { return strings.HasPrefix(action, word) }) {
			n++
		}
	}

	return n
}

func openers() []string { return []string{"if", "with", "range", "else", "define", "block"} }

// execute renders the template with an input. It returns a fault, or the error of the context.
func (s *sandbox) execute(p *program, in Input) (string, error) {
	if p.sets {
		in = runtime.DeepCopyJSON(in)
	}

	s.input, s.calls, s.random, s.steps = in, 0, nil, min(s.most, s.allSteps)
	before := s.steps

	var out output
	out.left = s.allBytes

	err := s.run(p.Template, &out)

	s.allSteps -= before - max(s.steps, 0)
	s.allBytes = out.left

	if err := s.ctx.Err(); err != nil {
		return "", err //nolint:wrapcheck // an error of the context is returned as it is
	}

	if err != nil {
		return "", err
	}

	if err := s.toll(s.allSteps <= s.cheapTo || s.allBytes <= s.fitsTo); err != nil {
		return "", err
	}

	return out.text.String(), nil
}

// toll asks once whether to go on, if that is expensive by now.
func (s *sandbox) toll(expensive bool) error {
	if ask := s.heavy; expensive && ask != nil {
		s.heavy = nil
		s.refused = ask()
	}

	return s.refused
}

func (s *sandbox) run(t *template.Template, out *output) (err error) {
	// The library catches what functions do, but not what it does itself.
	defer func() {
		if recover() != nil {
			err = fault("the template cannot be evaluated")
		}
	}()

	switch err := t.Execute(out, map[string]any{"inputs": map[string]any(s.input)}); {
	case out.full:
		return errTooMuch
	case err != nil:
		return evaluationFault(err)
	default:
		return nil
	}
}

const errTooMuch = fault("the templates print more than is allowed for one ResourceSet")

// output is what a template prints, up to a limit.
type output struct {
	text strings.Builder
	left int
	full bool
}

func (o *output) Write(p []byte) (int, error) {
	if len(p) > o.left {
		o.full = true

		return 0, errTooMuch
	}

	o.left -= len(p)

	return o.text.Write(p) //nolint:wrapcheck // it never fails
}

// spend takes steps: one, and more for many bytes. It returns a fault, or the error of the context.
func (s *sandbox) spend(bytes int) error {
	if s.steps -= 1 + bytes/stepBytes; s.steps < 0 {
		return fault("the template takes too many steps")
	}

	return s.ctx.Err() //nolint:wrapcheck // an error of the context is returned as it is
}

// tick is called in each round of a loop, whose body has as many bytes.
func (s *sandbox) tick(bytes int) (string, error) { return "", s.spend(bytes) }

// enter is called where a template begins that has as many bytes, and leave where it ends.
func (s *sandbox) enter(bytes int) (string, error) {
	if s.calls++; s.calls > maxCalls {
		return "", fault(fmt.Sprintf("templates call templates more than %d deep", maxCalls))
	}

	return "", s.spend(bytes)
}

func (s *sandbox) leave() string {
	s.calls--

	return ""
}

// guard is called with what an action prints: the library prints it as a whole before it writes.
func (s *sandbox) guard(v any) (any, error) {
	n, err := weigh(v)
	if err != nil {
		return nil, err
	}

	return v, s.spend(n)
}
