package template

import (
	"cmp"
	"fmt"
	"hash/adler32"
	"slices"
	"strconv"
	"strings"
	"unicode"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	k8sjson "sigs.k8s.io/json"

	v1 "github.com/weir-dev/weir/api/controlplane/v1"
)

// The limits of the inputs of one ResourceSet.
const (
	// MaxInputs bounds how many there are, combined or not.
	MaxInputs = 10_000

	// MaxInputBytes bounds their JSON, before they are combined.
	MaxInputBytes = 32 << 20
)

// The keys that inputs get.
const (
	idKey       = "id"
	providerKey = "provider"
)

// Provider is who gives inputs.
type Provider struct {
	// APIVersion, Kind, Namespace and Name of the object, which templates see as inputs.provider.
	APIVersion, Kind, Namespace, Name string

	// Inputs that it gives.
	Inputs []v1.ResourceSetInput
}

// Input is what a template is rendered with: JSON values, where whole numbers are int64.
type Input map[string]any

// Combine returns the inputs of a ResourceSet in the order in which they are rendered: its own first, then those of the
// providers, which may come in any order and are taken once each. The strategy of the spec decides whether they stay one
// list, or each combination of one input per provider becomes an input. Errors are of the type *Error.
func Combine(rset *v1.ResourceSet, providers []Provider) ([]Input, error) {
	own := Provider{
		APIVersion: v1.GroupVersion.String(), Kind: v1.ResourceSetKind, Namespace: rset.Namespace, Name: rset.Name,
		Inputs: rset.Spec.Inputs,
	}
	// A ResourceSet without inputs is no empty provider.
	all := order(providers)
	if len(own.Inputs) > 0 {
		all = slices.Insert(all, 0, own)
	}

	if err := measure(all); err != nil {
		return nil, err
	}

	lists := make([][]Input, 0, len(all))

	for i := range all {
		list, err := all[i].decode(rset)
		if err != nil {
			return nil, err
		}

		lists = append(lists, list)
	}

	switch name := rset.GetInputStrategy(); name {
	case v1.InputStrategyFlatten:
		return slices.Concat(lists...), nil
	case v1.InputStrategyPermute:
		return permute(all, lists, rset.Spec.InputStrategy.IncludeEmptyProviders)
	default:
		return nil, &Error{Place: "inputStrategy", Err: fmt.Errorf("there is no strategy %q", name)}
	}
}

// ID returns the id of an input that is known by the given text: its Adler-32 checksum as a decimal number.
func ID(text string) string {
	return strconv.FormatUint(uint64(adler32.Checksum([]byte(text))), 10)
}

// order sorts the providers by what they are, and takes each of them once.
func order(providers []Provider) []Provider {
	sorted := slices.SortedStableFunc(slices.Values(providers), Provider.compare)

	return slices.CompactFunc(sorted, func(a, b Provider) bool { return a.compare(b) == 0 })
}

func (p Provider) compare(o Provider) int {
	return cmp.Or(
		cmp.Compare(p.APIVersion, o.APIVersion), cmp.Compare(p.Kind, o.Kind),
		cmp.Compare(p.Namespace, o.Namespace), cmp.Compare(p.Name, o.Name),
	)
}

// decode reads the inputs, and says in each who gave it.
func (p Provider) decode(rset *v1.ResourceSet) ([]Input, error) {
	out := make([]Input, 0, len(p.Inputs))

	for i, raw := range p.Inputs {
		place := p.place(rset, i)

		in := make(Input, len(raw)+1)

		for key, value := range raw {
			v, err := decodeJSON(value)
			if err != nil {
				return nil, &Error{Place: place, Err: fmt.Errorf("the value of %q is not JSON", key)}
			}

			in[key] = v
		}

		in[providerKey] = map[string]any{
			"apiVersion": p.APIVersion, "kind": p.Kind, "namespace": p.Namespace, "name": p.Name,
		}
		out = append(out, in)
	}

	return out, nil
}

// place names an input of a provider.
func (p Provider) place(rset *v1.ResourceSet, i int) string {
	if p.Kind == v1.ResourceSetKind && p.Name == rset.Name {
		return fmt.Sprintf("inputs[%d]", i)
	}

	return fmt.Sprintf("input %d of %s/%s/%s", i, p.Kind, p.Namespace, p.Name)
}

// measure refuses too many inputs, and too large ones, before they are read.
func measure(providers []Provider) error {
	n, bytes := 0, 0

	for _, p := range providers {
		n += len(p.Inputs)

		for _, in := range p.Inputs {
			for key, value := range in {
				if bytes += len(key); value != nil {
					bytes += len(value.Raw)
				}
			}
		}
	}

	if n > MaxInputs {
		return tooMany(n)
	}

	if bytes > MaxInputBytes {
		return &Error{Place: "inputs", Err: fmt.Errorf("they have %d bytes, more than the limit of %d", bytes, MaxInputBytes)}
	}

	return nil
}

func tooMany(n int) error {
	return &Error{Place: "inputs", Err: fmt.Errorf("there are %d inputs, more than the limit of %d", n, MaxInputs)}
}

// permute returns every combination of one input of each provider, under the names of the providers. The last provider
// varies fastest.
func permute(providers []Provider, lists [][]Input, includeEmpty bool) ([]Input, error) {
	var (
		keys  []string
		taken = map[string]string{idKey: "the id of the combination"}
		some  [][]Input
		total = 1
	)

	for i, p := range providers {
		if len(lists[i]) == 0 && !includeEmpty {
			continue
		}

		key, who := normalise(p.Name), p.Kind+"/"+p.Namespace+"/"+p.Name
		if first, ok := taken[key]; ok || key == "" {
			return nil, &Error{Place: "inputs", Err: fmt.Errorf(
				"the inputs of %s have no name of their own to be combined under: %q is that of %s", who, key, cmp.Or(first, "nobody"),
			)}
		}

		taken[key], keys, some = who, append(keys, key), append(some, lists[i])

		if total *= len(lists[i]); total > MaxInputs {
			return nil, tooMany(total)
		}
	}

	if len(some) == 0 {
		return nil, nil
	}

	out := make([]Input, 0, total)
	for n := range total {
		out = append(out, combination(keys, some, n, total))
	}

	return out, nil
}

// combination returns one of all combinations by its number.
func combination(keys []string, lists [][]Input, n, total int) Input {
	var name strings.Builder

	in := make(Input, len(keys)+1)

	for i, key := range keys {
		total /= len(lists[i])
		at := n / total % len(lists[i])

		in[key] = map[string]any(lists[i][at])

		if i > 0 {
			name.WriteByte('/')
		}

		name.WriteString(key + "=" + strconv.Itoa(at))
	}

	in[idKey] = ID(name.String())

	return in
}

// normalise turns the name of a provider into one that a template can use as the name of a field: lower-case words, joined
// with underscores.
func normalise(name string) string {
	var words strings.Builder

	gap := false

	for _, r := range strings.ToLower(name) {
		switch {
		case r >= 'a' && r <= 'z' || r >= '0' && r <= '9':
			if gap && words.Len() > 0 {
				words.WriteByte('_')
			}

			gap = false

			words.WriteRune(r)
		case isGap(r):
			gap = true
		}
	}

	return words.String()
}

// isGap tells whether a character stands between words.
func isGap(r rune) bool { return unicode.IsSpace(r) || unicode.IsPunct(r) }

// label names an input in an error: by its id, if it has one.
func (in Input) label(i int) string {
	if id, ok := in[idKey].(string); ok && id != "" && len(id) <= 64 {
		return strconv.Quote(id)
	}

	return fmt.Sprintf("[%d]", i)
}

// decodeJSON reads a value of a spec; whole numbers become int64.
func decodeJSON(raw *apiextensionsv1.JSON) (any, error) {
	if raw == nil || len(raw.Raw) == 0 {
		return nil, nil //nolint:nilnil // JSON has a null
	}

	var v any
	if err := k8sjson.UnmarshalCaseSensitivePreserveInts(raw.Raw, &v); err != nil {
		return nil, err //nolint:wrapcheck // the caller says of what, and it may hold the value
	}

	return v, nil
}
