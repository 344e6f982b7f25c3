package access_test

import (
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/weir-dev/weir/reconcilers/access"
)

// fields reads an object with EachField, each value as encoding/json sees it.
func fields(raw []byte) (map[string]any, error) {
	out := map[string]any{}
	err := access.EachField(raw, func(key, value []byte) error {
		var k string
		if err := json.Unmarshal(slices.Concat([]byte{'"'}, key, []byte{'"'}), &k); err != nil {
			return err
		}
		var v any
		if err := json.Unmarshal(value, &v); err != nil {
			return err
		}
		out[k] = v
		return nil
	})
	return out, err
}

func TestEachField(t *testing.T) {
	cases := map[string]struct {
		reason, raw string
		want        map[string]any
		fails       bool
	}{
		"Empty":     {"an empty object has no fields", `{}`, map[string]any{}, false},
		"Flat":      {"values of all types", `{"a":1,"b":"x","c":true,"d":null,"e":-1.5e3}`, map[string]any{"a": 1.0, "b": "x", "c": true, "d": nil, "e": -1500.0}, false},
		"Nested":    {"nested values are whole", `{"a":{"b":[1,{"c":"}"}]},"d":[]}`, map[string]any{"a": map[string]any{"b": []any{1.0, map[string]any{"c": "}"}}}, "d": []any{}}, false},
		"Spaces":    {"white space is skipped", " {\n\t\"a\" : 1 ,\r\n \"b\" : [ 1 , 2 ] } ", map[string]any{"a": 1.0, "b": []any{1.0, 2.0}}, false},
		"Escapes":   {"quotes and backslashes in strings do not end them", `{"a\"b":"c\\","d":"\\\""}`, map[string]any{`a"b`: `c\`, "d": `\"`}, false},
		"Array":     {"an array is no object", `[]`, nil, true},
		"Cut":       {"an object has an end", `{"a":1`, nil, true},
		"CutString": {"so has a string", `{"a":"b`, nil, true},
		"CutNested": {"and all that is nested", `{"a":{"b":1}`, nil, true},
		"NoColon":   {"keys and values are kept apart", `{"a" 1}`, nil, true},
		"NoKey":     {"a key is a string", `{1:2}`, nil, true},
		"Nothing":   {"nothing is no object", ``, nil, true},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			got, err := fields([]byte(c.raw))
			if (err != nil) != c.fails {
				t.Fatalf("%s: error %v", c.reason, err)
			}
			if diff := cmp.Diff(c.want, got); !c.fails && diff != "" {
				t.Errorf("%s (-want +got):\n%s", c.reason, diff)
			}
		})
	}
}

func TestEachElement(t *testing.T) {
	var got []string
	if err := access.EachElement([]byte(`[1, "a,b" , {"c":[2]}, []]`), func(v []byte) error { got = append(got, string(v)); return nil }); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"1", `"a,b"`, `{"c":[2]}`, "[]"}, got); diff != "" {
		t.Errorf("elements (-want +got):\n%s", diff)
	}
	stop := errors.New("stop")
	if err := access.EachElement([]byte(`[1,2]`), func([]byte) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("the error of the function is returned: %v", err)
	}
	for _, raw := range []string{``, `{}`, `[1`, `[1,`, `[1 2]`} {
		if err := access.EachElement([]byte(raw), func([]byte) error { return nil }); err == nil {
			t.Errorf("%q was read", raw)
		}
	}
}

// FuzzEachField holds that what is valid is read as encoding/json reads it, and that nothing makes it fall over.
func FuzzEachField(f *testing.F) {
	for _, seed := range []string{`{"a":1,"b":{"c":[1,"\"]"]}}`, `{"a":`, `{"\u0061":"\\"}`, `{,}`, `{"a":1,}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		got, err := fields(raw)
		var want map[string]any
		if json.Unmarshal(raw, &want) != nil || want == nil {
			return
		}
		if err != nil {
			t.Fatalf("%q: %v", raw, err)
		}
		if !slices.Equal(slices.Sorted(maps.Keys(want)), slices.Sorted(maps.Keys(got))) || !cmp.Equal(want, got) {
			t.Errorf("%q: want %v, got %v", raw, want, got)
		}
	})
}
