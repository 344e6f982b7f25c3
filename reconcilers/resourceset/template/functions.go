package template

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"text/template"
	"time"
	"unicode"

	"github.com/go-task/slim-sprig/v3"
	"golang.org/x/text/unicode/norm"
	"sigs.k8s.io/yaml"
)

// functions returns what templates may call. Those of the sprig library that look at the clock, the time zone or the order of
// Go's maps, or yield anything random, are replaced.
func (s *sandbox) functions() template.FuncMap {
	all := sprig.HermeticTxtFuncMap()
	delete(all, "randInt")

	maps.Copy(all, template.FuncMap{
		"toYaml":     toYAML,
		"mustToYaml": mustToYAML,
		"slugify":    slugify,

		"keys":          keys,
		"values":        values,
		"set":           set,
		"fail":          fail,
		"randInt":       s.randInt,
		"ago":           s.ago,
		"toDate":        toDate,
		"mustToDate":    mustToDate,
		"durationRound": s.durationRound,

		// Of the template library itself.
		"eq":       eq,
		"ne":       ne,
		"print":    fmt.Sprint,
		"printf":   fmt.Sprintf,
		"println":  fmt.Sprintln,
		"html":     template.HTMLEscaper,
		"js":       template.JSEscaper,
		"urlquery": template.URLQueryEscaper,
	})

	prices := prices()
	out := make(template.FuncMap, len(all)+5)

	for name, f := range all {
		out[name] = s.metered(f, prices[name])
	}

	maps.Copy(out, template.FuncMap{
		"inputs": func() map[string]any { return s.input },
		tickName: s.tick, enterName: s.enter, leaveName: s.leave, guardName: s.guard, smallName: small,
	})

	return out
}

// metered returns a function of the same arguments that counts what it costs, and whose errors hold no values.
func (s *sandbox) metered(f any, price price) any {
	fn := reflect.ValueOf(f)
	t := fn.Type()
	failure := reflect.TypeFor[error]()

	in := make([]reflect.Type, t.NumIn())
	for i := range in {
		in[i] = t.In(i)
	}

	typ := reflect.FuncOf(in, []reflect.Type{t.Out(0), failure}, t.IsVariadic())

	return reflect.MakeFunc(typ, func(args []reflect.Value) []reflect.Value {
		out, err := s.call(fn, args, price)
		if err != nil {
			return []reflect.Value{reflect.Zero(t.Out(0)), reflect.ValueOf(&err).Elem()}
		}

		return []reflect.Value{out, reflect.Zero(failure)}
	}).Interface()
}

func (s *sandbox) call(fn reflect.Value, args []reflect.Value, price price) (out reflect.Value, err error) {
	bytes := 0
	for _, arg := range args {
		if arg.Kind() == reflect.String {
			bytes += arg.Len()
		}
	}

	if price != nil {
		n, err := price(flat(fn.Type(), args))
		if err != nil {
			return out, err
		}

		bytes += n
	}

	if err := s.spend(bytes); err != nil {
		return out, err
	}

	out, err = attempt(fn, args)
	if err != nil {
		return out, err
	}

	n := length(out)
	if n > maxValue {
		return out, errTooLarge
	}

	return out, s.spend(n)
}

const errArguments = fault("it cannot be called with such arguments")

// maxSmall bounds a text that is given to a method.
const maxSmall = 256

// small refuses large values.
func small(v any) (any, error) {
	if length(reflect.ValueOf(v)) > maxSmall {
		return nil, errTooLarge
	}

	return v, nil
}

// attempt calls a function. What it fails with, or panics with, may hold values.
func attempt(fn reflect.Value, args []reflect.Value) (out reflect.Value, err error) {
	defer func() {
		if recover() != nil {
			err = errArguments
		}
	}()

	call := fn.Call
	if fn.Type().IsVariadic() {
		call = fn.CallSlice
	}

	results := call(args)
	if len(results) == 1 || results[1].IsNil() {
		return results[0], nil
	}

	if own, ok := reflect.TypeAssert[fault](results[1].Elem()); ok {
		return results[0], own
	}

	return results[0], errArguments
}

// flat returns the arguments, with those of a variadic function one by one.
func flat(t reflect.Type, args []reflect.Value) []any {
	var out []any

	for i, arg := range args {
		if t.IsVariadic() && i == len(args)-1 {
			for j := range arg.Len() {
				out = append(out, arg.Index(j).Interface())
			}
		} else {
			out = append(out, arg.Interface())
		}
	}

	return out
}

func mustToYAML(v any) (string, error) {
	out, err := yaml.Marshal(v)

	return strings.TrimSuffix(string(out), "\n"), err //nolint:wrapcheck // it is reworded
}

func toYAML(v any) string {
	out, err := mustToYAML(v)
	if err != nil {
		return ""
	}

	return out
}

// maxSlug is the longest name that most kinds, and labels, may have.
const maxSlug = 63

// slugify turns a text into a part of a name: lower-case letters without marks and digits, and hyphens for the rest.
func slugify(text string) string {
	var slug strings.Builder

	gap := false

	for _, r := range norm.NFKD.String(strings.ReplaceAll(strings.ToLower(text), "ß", "ss")) {
		switch {
		case r >= 'a' && r <= 'z' || r >= '0' && r <= '9':
			if gap && slug.Len() > 0 {
				slug.WriteByte('-')
			}

			gap = false

			slug.WriteRune(r)
		case !unicode.Is(unicode.Mn, r):
			gap = true
		}
	}

	out := slug.String()

	return strings.TrimRight(out[:min(len(out), maxSlug)], "-")
}

// keys returns the keys of all maps, each map's sorted.
func keys(maps ...map[string]any) []string {
	out := []string{}
	for _, m := range maps {
		out = append(out, sorted(m)...)
	}

	return out
}

// values returns the values of a map in the order of their keys.
func values(m map[string]any) []any {
	out := make([]any, 0, len(m))
	for _, key := range sorted(m) {
		out = append(out, m[key])
	}

	return out
}

func sorted(m map[string]any) []string { return slices.Sorted(maps.Keys(m)) }

// set changes a map. It never puts it into itself: whoever prints such a map never comes to an end.
func set(m map[string]any, key string, value any) (map[string]any, error) {
	if m == nil || holds(value, reflect.ValueOf(m).Pointer()) {
		return nil, fault("a map cannot be put into itself")
	}

	m[key] = value

	return m, nil
}

// holds tells whether a value is a map, or has it in it.
func holds(v any, m uintptr) bool {
	switch v := reflect.ValueOf(v); v.Kind() {
	case reflect.Map:
		if v.Pointer() == m {
			return true
		}

		for it := v.MapRange(); it.Next(); {
			if holds(it.Value().Interface(), m) {
				return true
			}
		}
	case reflect.Slice:
		for i := range v.Len() {
			if holds(v.Index(i).Interface(), m) {
				return true
			}
		}
	default:
	}

	return false
}

func fail(message string) (string, error) {
	return "", fault(message[:min(len(message), 1024)])
}

// randInt yields what looks random, and is the same whenever the same input is rendered: objects that change each time would
// never come to rest.
func (s *sandbox) randInt(from, to int) (int, error) {
	if from >= to || to-from <= 0 {
		return 0, fault("the range is empty")
	}

	if s.random == nil {
		raw, err := json.Marshal(s.input)
		if err != nil {
			return 0, err //nolint:wrapcheck // it is reworded
		}

		sum := sha256.Sum256(raw)
		s.random = rand.New(rand.NewPCG(binary.BigEndian.Uint64(sum[:]), binary.BigEndian.Uint64(sum[8:]))) //nolint:gosec // not for secrets
	}

	return from + s.random.IntN(to-from), nil
}

const errNoClock = fault("there is no clock")

// ago returns how long ago a time is, or the Unix time that a number stands for.
func (s *sandbox) ago(v any) (string, error) {
	if s.now == nil {
		return "", errNoClock
	}

	now := s.now()
	at := now

	switch v := v.(type) {
	case time.Time:
		at = v
	case int64:
		at = time.Unix(v, 0)
	case int:
		at = time.Unix(int64(v), 0)
	}

	return now.Sub(at).Round(time.Second).String(), nil
}

// durationRound rounds a duration, or the time since, down to its largest unit.
func (s *sandbox) durationRound(v any) (string, error) {
	if at, ok := v.(time.Time); ok {
		if s.now == nil {
			return "", errNoClock
		}

		v = int64(s.now().Sub(at))
	}

	round, ok := sprig.HermeticTxtFuncMap()["durationRound"].(func(any) string)
	if !ok {
		return "", errArguments
	}

	return round(v), nil
}

func mustToDate(layout, text string) (time.Time, error) {
	return time.ParseInLocation(layout, text, time.UTC) //nolint:wrapcheck // it is reworded
}

func toDate(layout, text string) time.Time {
	at, err := mustToDate(layout, text)
	if err != nil {
		return time.Time{}
	}

	return at
}
