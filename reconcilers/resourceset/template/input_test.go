package template_test

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	v1 "github.com/weir-dev/weir/api/controlplane/v1"
	"github.com/weir-dev/weir/reconcilers/resourceset/template"
)

func TestID(t *testing.T) {
	t.Parallel()

	if got := template.ID("6.0.4"); got != "48955639" {
		t.Errorf("got %s", got)
	}
}

// provider gives inputs whose only value is their number.
func provider(kind, namespace, name string, n int) template.Provider {
	p := template.Provider{APIVersion: "fluxcd.controlplane.io/v1", Kind: kind, Namespace: namespace, Name: name}
	for i := range n {
		p.Inputs = append(p.Inputs, v1.ResourceSetInput{"n": {Raw: fmt.Appendf(nil, "%d", i)}})
	}

	return p
}

func TestCombine(t *testing.T) {
	t.Parallel()

	const rsip = "ResourceSetInputProvider"

	by := func(kind, name string) map[string]any {
		return map[string]any{"apiVersion": "fluxcd.controlplane.io/v1", "kind": kind, "namespace": "ns", "name": name}
	}
	from := func(kind, name string, n int64) map[string]any {
		return map[string]any{"n": n, "provider": by(kind, name)}
	}
	permute := &v1.InputStrategy{Name: v1.InputStrategyPermute}

	type want struct {
		Inputs []template.Input
		Err    string
	}

	cases := map[string]struct {
		reason    string
		strategy  *v1.InputStrategy
		inline    int
		providers []template.Provider
		want      want
	}{
		"Nothing": {reason: "there need not be any inputs"},
		"Flatten": {
			"its own come first, then those of the providers in order, each provider once",
			nil, 1,
			[]template.Provider{provider(rsip, "ns", "b", 1), provider(rsip, "ns", "a", 2), provider(rsip, "ns", "b", 1)},
			want{Inputs: []template.Input{
				from("ResourceSet", "my-set", 0), from(rsip, "a", 0), from(rsip, "a", 1), from(rsip, "b", 0),
			}},
		},
		"Permute": {
			"every combination, under normalised names, with an id of what it is made of",
			permute, 1,
			[]template.Provider{provider(rsip, "ns", "Image.Tags--x", 2)},
			want{Inputs: []template.Input{
				{
					"my_set": from("ResourceSet", "my-set", 0), "image_tags_x": from(rsip, "Image.Tags--x", 0),
					"id": template.ID("my_set=0/image_tags_x=0"),
				},
				{
					"my_set": from("ResourceSet", "my-set", 0), "image_tags_x": from(rsip, "Image.Tags--x", 1),
					"id": template.ID("my_set=0/image_tags_x=1"),
				},
			}},
		},
		"PermuteLeavesOutEmpty": {
			"a provider without inputs does not count",
			permute, 0,
			[]template.Provider{provider(rsip, "ns", "a", 1), provider(rsip, "ns", "b", 0)},
			want{Inputs: []template.Input{{"a": from(rsip, "a", 0), "id": template.ID("a=0")}}},
		},
		"PermuteIncludesEmpty": {
			"a provider without inputs makes all combinations empty",
			&v1.InputStrategy{Name: v1.InputStrategyPermute, IncludeEmptyProviders: true}, 0,
			[]template.Provider{provider(rsip, "ns", "a", 1), provider(rsip, "ns", "b", 0)},
			want{},
		},
		"PermuteOfNothing": {"no provider makes no combination", permute, 0, []template.Provider{provider(rsip, "ns", "a", 0)}, want{}},
		"PermuteSameName": {
			"two providers cannot be told apart",
			permute, 0,
			[]template.Provider{provider(rsip, "ns", "a-b", 1), provider(rsip, "ns", "a.b", 1)},
			want{Err: `inputs: the inputs of ResourceSetInputProvider/ns/a.b have no name of their own to be combined under: ` +
				`"a_b" is that of ResourceSetInputProvider/ns/a-b`},
		},
		"PermuteNamedID": {
			"the id of the combination has that name",
			permute, 0,
			[]template.Provider{provider(rsip, "ns", "id", 1)},
			want{Err: `inputs: the inputs of ResourceSetInputProvider/ns/id have no name of their own to be combined under: ` +
				`"id" is that of the id of the combination`},
		},
		"PermuteTooMany": {
			"combinations are bounded",
			permute, 0,
			[]template.Provider{provider(rsip, "ns", "a", 101), provider(rsip, "ns", "b", 100)},
			want{Err: "inputs: there are 10100 inputs, more than the limit of 10000"},
		},
		"FlattenTooMany": {
			"so are lists",
			nil, 1,
			[]template.Provider{provider(rsip, "ns", "a", 10_000)},
			want{Err: "inputs: there are 10001 inputs, more than the limit of 10000"},
		},
		"TooLarge": {
			"so are bytes",
			nil, 0,
			[]template.Provider{{Kind: rsip, Inputs: []v1.ResourceSetInput{{"n": {Raw: make([]byte, template.MaxInputBytes)}}}}},
			want{Err: "inputs: they have 33554433 bytes, more than the limit of 33554432"},
		},
		"NotJSON": {
			"the value is not told",
			nil, 0,
			[]template.Provider{{Kind: rsip, Namespace: "ns", Name: "a", Inputs: []v1.ResourceSetInput{{"n": {Raw: []byte("hunter2")}}}}},
			want{Err: `input 0 of ResourceSetInputProvider/ns/a: the value of "n" is not JSON`},
		},
		"Strategy": {
			"an unknown one is an error",
			&v1.InputStrategy{Name: "Shuffle"}, 0, nil,
			want{Err: `inputStrategy: there is no strategy "Shuffle"`},
		},
	}

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			rset := &v1.ResourceSet{}
			rset.Name, rset.Namespace = "my-set", "ns"
			rset.Spec.InputStrategy = tc.strategy
			rset.Spec.Inputs = provider("", "", "", tc.inline).Inputs

			var got want

			inputs, err := template.Combine(rset, tc.providers)
			if err != nil {
				got.Err = err.Error()
			} else if len(inputs) > 0 {
				got.Inputs = inputs
			}

			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("%s: -want +got:\n%s", tc.reason, diff)
			}
		})
	}
}

func TestCombineKeepsNumbers(t *testing.T) {
	t.Parallel()

	rset := &v1.ResourceSet{}
	rset.Spec.Inputs = []v1.ResourceSetInput{{
		"whole": {Raw: []byte("12345678901234567")}, "part": {Raw: []byte("1.5")}, "null": {Raw: []byte("null")}, "none": nil,
		"deep": {Raw: []byte(`{"a":[1,true,"x"]}`)},
	}}

	inputs, err := template.Combine(rset, nil)
	if err != nil {
		t.Fatal(err)
	}

	delete(inputs[0], "provider")

	want := template.Input{
		"whole": int64(12345678901234567), "part": 1.5, "null": nil, "none": nil,
		"deep": map[string]any{"a": []any{int64(1), true, "x"}},
	}
	if diff := cmp.Diff(want, inputs[0]); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}
