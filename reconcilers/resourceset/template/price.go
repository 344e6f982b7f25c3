package template

import (
	"reflect"
	"regexp"
	"regexp/syntax"
	"strconv"
	"strings"
)

// price returns on how many bytes a call works, beside the strings among its arguments, before it is made. What would yield too
// much is a fault.
type price func(args []any) (int, error)

// maxPattern bounds a regular expression.
const maxPattern = 4 << 10

// prices returns those of the functions that work on all of a value, or make much of little.
func prices() map[string]price {
	out := map[string]price{
		"repeat":  func(a []any) (int, error) { return product(whole(a[0]), len(text(a[1]))) },
		"indent":  func(a []any) (int, error) { return indented(whole(a[0]), text(a[1])) },
		"nindent": func(a []any) (int, error) { return indented(whole(a[0]), text(a[1])) },
		"replace": func(a []any) (int, error) { return product(strings.Count(text(a[2]), text(a[0])), len(text(a[1]))) },

		"trimAll": trimmed, "trimall": trimmed,

		"until":     func(a []any) (int, error) { return count(0, whole(a[0]), 1) },
		"untilStep": func(a []any) (int, error) { return count(whole(a[0]), whole(a[1]), whole(a[2])) },
		"seq":       sequence,

		"printf": formatted,
		"join":   joined,
		"dict":   labelled,
		"set":    func(a []any) (int, error) { return weigh(a[2]) },
		"chunk":  chunked, "mustChunk": chunked,

		"uniq": compared(0, 0), "mustUniq": compared(0, 0),
		"has": compared(1, -1), "mustHas": compared(1, -1),
		"without": compared(0, 1), "mustWithout": compared(0, 1),
		"deepEqual": func(a []any) (int, error) { return weigh(a...) },
	}

	for name := range strings.FieldsSeq(`
		print println html js urlquery toString quote squote cat toStrings sortAlpha toDecimal toYaml mustToYaml
		toJson mustToJson toPrettyJson mustToPrettyJson toRawJson mustToRawJson`) {
		out[name] = func(a []any) (int, error) { return weigh(a...) }
	}

	for _, name := range []string{"Match", "FindAll", "Find", "ReplaceAll", "ReplaceAllLiteral", "Split"} {
		out["regex"+name], out["mustRegex"+name] = matched, matched
	}

	out["regexReplaceAll"], out["mustRegexReplaceAll"] = replaced, replaced
	out["regexReplaceAllLiteral"], out["mustRegexReplaceAllLiteral"] = replaced, replaced

	return out
}

func text(v any) string {
	s, _ := v.(string)

	return s
}

func whole(v any) int {
	n, _ := v.(int)

	return n
}

// product multiplies without overflow what has to stay below the size of a value.
func product(a, b int) (int, error) {
	switch {
	case a < 0 || b < 0:
		return 0, errArguments
	case a != 0 && b > maxValue/a:
		return 0, errTooLarge
	default:
		return a * b, nil
	}
}

func indented(spaces int, s string) (int, error) { return product(spaces, strings.Count(s, "\n")+1) }

// count returns the bytes of a list of numbers.
func count(from, to, step int) (int, error) {
	const most = 1 << 40

	if max(from, -from, to, -to, step, -step) > most || min(from, to, step) < -most {
		return 0, errTooLarge
	}

	return product((max(from, to)-min(from, to))/max(step, -step, 1), 8)
}

// trimmed is the price of looking for each character in a set of them.
func trimmed(args []any) (int, error) { return len(text(args[0])) / 16 * len(text(args[1])), nil }

func sequence(args []any) (int, error) {
	switch len(args) {
	case 1:
		return count(1, whole(args[0]), 1)
	case 2:
		return count(whole(args[0]), whole(args[1]), 1)
	case 3:
		return count(whole(args[0]), whole(args[2]), whole(args[1]))
	default:
		return 0, nil
	}
}

// digits of a format: a width or a precision.
var digits = regexp.MustCompile(`[0-9]+|\*`)

// formatted is the price of printf: each verb may print all arguments, and pad them.
func formatted(args []any) (int, error) {
	weight, err := weigh(args[1:]...)
	if err != nil {
		return 0, err
	}

	format := text(args[0])

	total, err := product(strings.Count(format, "%"), weight)
	if err != nil {
		return 0, err
	}

	if !strings.Contains(format, "%") {
		return weight, nil
	}

	// fmt ignores what is larger than a million.
	const most = 1_000_000

	for _, d := range digits.FindAllString(format, -1) {
		width := most
		if n, err := strconv.Atoi(d); err == nil {
			width = min(n, most)
		} else if d == "*" {
			width = widest(args[1:])
		}

		if total += width; total > maxValue {
			return 0, errTooLarge
		}
	}

	return total, nil
}

// widest returns the largest width that an argument may stand for.
func widest(args []any) int {
	const most = 1_000_000

	width := 0

	for _, arg := range args {
		if v := reflect.ValueOf(arg); v.CanInt() {
			width = max(width, int(min(max(v.Int(), -v.Int()), most)))
		} else if v.CanUint() {
			width = most
		}
	}

	return width
}

func joined(args []any) (int, error) {
	weight, err := weigh(args[1])
	if err != nil {
		return 0, err
	}

	separators, err := product(items(args[1]), len(text(args[0])))

	return weight + separators, err
}

// items returns how many elements a list has.
func items(v any) int {
	if v := reflect.ValueOf(v); v.Kind() == reflect.Slice {
		return v.Len()
	}

	return 1
}

// labelled is the price of dict, which prints its keys.
func labelled(args []any) (int, error) {
	keys := make([]any, 0, len(args)/2+1)
	for i := 0; i < len(args); i += 2 {
		keys = append(keys, args[i])
	}

	return weigh(keys...)
}

func chunked(args []any) (int, error) {
	if whole(args[0]) < 1 {
		return 0, errArguments
	}

	return 16 * items(args[1]), nil
}

// compared is the price of functions that compare each element of the list with all others (by is the list itself), with one
// (-1), or with all arguments from there on.
func compared(list, by int) price {
	return func(args []any) (int, error) {
		weight, err := weigh(args...)
		if err != nil {
			return 0, err
		}

		others := 1
		if by == list {
			others = items(args[list])
		} else if by > 0 {
			others = len(args) - by
		}

		return weight * max(others, 1), nil
	}
}

// matched is the price of a regular expression: as many steps as its program has, for each character.
func matched(args []any) (int, error) {
	pattern := text(args[0])
	if len(pattern) > maxPattern {
		return 0, errTooLarge
	}

	parsed, err := syntax.Parse(pattern, syntax.Perl)
	if err != nil {
		return 0, fault("it is no regular expression")
	}

	program, err := syntax.Compile(parsed.Simplify())
	if err != nil {
		return 0, fault("it is no regular expression")
	}

	return len(program.Inst) * (64 + len(text(args[1]))) / 16, nil
}

// replaced is the price of replacing all matches.
func replaced(args []any) (int, error) {
	cost, err := matched(args)
	if err != nil {
		return 0, err
	}

	s, with := text(args[1]), text(args[2])
	again := (strings.Count(with, "$") + 1) * len(s)

	most := maxValue/max(len(with), 1) + 1
	if len(s) < most && again <= maxValue {
		return cost + again, nil
	}

	expression, err := regexp.Compile(text(args[0]))
	if err != nil {
		return 0, fault("it is no regular expression")
	}

	if again > maxValue || len(expression.FindAllStringIndex(s, most)) >= most {
		return 0, errTooLarge
	}

	return cost + again, nil
}
