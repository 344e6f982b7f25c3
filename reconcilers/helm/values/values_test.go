package values_test

import (
	"context"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/weir-dev/weir/api/meta"
	"github.com/weir-dev/weir/reconcilers/helm/values"
)

// cluster holds the keys of ConfigMaps and Secrets of one namespace, as <name>/<key>.
type cluster struct {
	maps, secrets map[string]string
	refuse        error
	reads         []string
}

func (c *cluster) ConfigMap(_ context.Context, key types.NamespacedName) (*corev1.ConfigMap, error) {
	data, err := c.get("configmaps", c.maps, key)

	return &corev1.ConfigMap{Data: data}, err
}

func (c *cluster) Secret(_ context.Context, key types.NamespacedName) (*corev1.Secret, error) {
	data, err := c.get("secrets", c.secrets, key)
	s := &corev1.Secret{Data: map[string][]byte{}}

	for k, v := range data {
		s.Data[k] = []byte(v)
	}

	return s, err
}

func (c *cluster) get(resource string, from map[string]string, key types.NamespacedName) (map[string]string, error) {
	c.reads = append(c.reads, resource+" "+key.String())
	if c.refuse != nil {
		return nil, c.refuse
	}

	data := map[string]string{}

	for k, v := range from {
		if name, rest, _ := strings.Cut(k, "/"); name == key.Name {
			data[rest] = v
		}
	}

	if len(data) == 0 {
		return nil, apierrors.NewNotFound(schema.GroupResource{Resource: resource}, key.Name)
	}

	return data, nil
}

// configMap refers to values.yaml of a ConfigMap.
func configMap(name string) meta.ValuesReference {
	return meta.ValuesReference{Kind: "ConfigMap", Name: name}
}

// at refers to key v of a ConfigMap, to be set at a path.
func at(path, name string) meta.ValuesReference {
	return meta.ValuesReference{Kind: "ConfigMap", Name: name, ValuesKey: "v", TargetPath: path}
}

func literal(path, name string) meta.ValuesReference {
	r := at(path, name)
	r.Literal = true

	return r
}

func secret(name string) meta.ValuesReference {
	return meta.ValuesReference{Kind: "Secret", Name: name}
}

func secretAt(path, name string) meta.ValuesReference {
	return meta.ValuesReference{Kind: "Secret", Name: name, ValuesKey: "v", TargetPath: path}
}

func optional(r meta.ValuesReference) meta.ValuesReference {
	r.Optional = true

	return r
}

type m = map[string]any

func TestCompose(t *testing.T) {
	cases := map[string]struct {
		reason  string
		maps    map[string]string
		secrets map[string]string
		from    []meta.ValuesReference
		inline  string
		want    m
	}{
		"Nothing": {reason: "no values are an empty map", want: m{}},
		"Null":    {reason: "null is no values", inline: "null", want: m{}},
		"Order": {
			reason:  "the later reference wins, inline values win over all, maps are merged and all else is replaced",
			maps:    map[string]string{"a/values.yaml": "x: 1\nl: [1, 2]\nin: {a: 1, b: 1, c: 1}\nnil: {k: 1}"},
			secrets: map[string]string{"b/values.yaml": "x: 2\nl: [3]\nin: {b: 2, c: 2}\nnil: null"},
			from:    []meta.ValuesReference{configMap("a"), secret("b")},
			inline:  `{"in":{"c":3}}`,
			want:    m{"x": 2.0, "l": []any{3.0}, "in": m{"a": 1.0, "b": 2.0, "c": 3.0}, "nil": nil},
		},
		"YAML11": {
			reason: "keys are read as YAML 1.1", maps: map[string]string{"a/values.yaml": "y: z"},
			from: []meta.ValuesReference{configMap("a")}, want: m{"true": "z"},
		},
		"Empty": {
			reason: "an empty document is no values", maps: map[string]string{"a/values.yaml": "# none\n"},
			from: []meta.ValuesReference{configMap("a")}, want: m{},
		},
		"Aliases": {
			reason: "aliases are copies", maps: map[string]string{"a/values.yaml": "a: &x {k: 1}\nb: *x"},
			from: []meta.ValuesReference{configMap("a")}, inline: `{"a":{"k":2}}`, want: m{"a": m{"k": 2.0}, "b": m{"k": 1.0}},
		},

		// Precedence, as the reference gives it.
		"TopLevelAlsoInline": {
			reason: "inline wins at a top-level key", maps: map[string]string{"a/v": "path"},
			from: []meta.ValuesReference{at("k", "a")}, inline: `{"k":"inline"}`, want: m{"k": "inline"},
		},
		"InMapOfInlineOnly": {
			reason: "the path wins in a map that is inline only", maps: map[string]string{"a/v": "path"},
			from: []meta.ValuesReference{at("in.k", "a")}, inline: `{"in":{"k":"inline","l":1}}`, want: m{"in": m{"k": "path", "l": 1.0}},
		},
		"InMapOfEarlierReference": {
			reason: "inline wins in a map that an earlier reference has too",
			maps:   map[string]string{"a/values.yaml": "in: {o: 1}", "b/v": "path"},
			from:   []meta.ValuesReference{configMap("a"), at("in.k", "b")}, inline: `{"in":{"k":"inline"}}`,
			want: m{"in": m{"k": "inline", "o": 1.0}},
		},
		"InMapOfEarlierReferenceNotInline": {
			reason: "the path wins for a key that is not inline",
			maps:   map[string]string{"a/values.yaml": "in: {k: 1}", "b/v": "path"},
			from:   []meta.ValuesReference{configMap("a"), at("in.k", "b")}, inline: `{"in":{"o":"inline"}}`,
			want: m{"in": m{"k": "path", "o": "inline"}},
		},
		"LaterReference": {
			reason: "a later reference at the root wins over a path",
			maps:   map[string]string{"a/v": "path", "b/values.yaml": "k: later"},
			from:   []meta.ValuesReference{at("k", "a"), configMap("b")}, want: m{"k": "later"},
		},

		// Target paths.
		"Typed": {
			reason: "values are typed as helm --set types them, numbers with leading zeros are text",
			maps: map[string]string{
				"i/v": "3", "t/v": "true", "n/v": "null", "l/v": "{a,1}", "f/v": "1.5", "z/v": "007", "e/v": "", "s/v": "x\n",
			},
			from: []meta.ValuesReference{at("i", "i"), at("t", "t"), at("n", "n"), at("l", "l"), at("f", "f"), at("z", "z"), at("e", "e"), at("s", "s")},
			want: m{"i": int64(3), "t": true, "n": nil, "l": []any{"a", int64(1)}, "f": "1.5", "z": "007", "e": "", "s": "x\n"},
		},
		"Quoted": {
			reason: "in quotes a value is text, and all quotes around it go",
			maps:   map[string]string{"a/v": "'3'", "b/v": `"true"`, "c/v": `'"x"'`, "d/v": `"3' `},
			from:   []meta.ValuesReference{at("a", "a"), at("b", "b"), at("c", "c"), at("d", "d")},
			want:   m{"a": "3", "b": "true", "c": "x", "d": `"3' `},
		},
		"Paths": {
			reason: "a backslash takes the meaning from a dot, and numbers in brackets are indices",
			maps:   map[string]string{"a/v": "1"},
			from:   []meta.ValuesReference{at(`n.a\.b/c`, "a"), at("l[1].k", "a"), at("g[0][1]", "a")},
			want:   m{"n": m{"a.b/c": int64(1)}, "l": []any{nil, m{"k": int64(1)}}, "g": []any{[]any{nil, int64(1)}}},
		},
		"More": {
			reason: "after a comma another path may follow, as with helm --set",
			maps:   map[string]string{"a/v": "1,b.c=2"}, from: []meta.ValuesReference{at("a", "a")},
			want: m{"a": int64(1), "b": m{"c": int64(2)}},
		},
		"ManyIndices": {
			reason: "the depth is that of each key", maps: map[string]string{"a/v": "1" + strings.Repeat(",l[0]=2", 150)},
			from: []meta.ValuesReference{at("l[0]", "a")}, want: m{"l": []any{int64(2)}},
		},
		"Literal": {
			reason: "a literal is text as it stands",
			maps:   map[string]string{"a/v": "{a,b}\n\\[1]=\"x\",y=2", "n/v": "3", "q/v": "'q'", "e/v": ""},
			from:   []meta.ValuesReference{literal("a", "a"), literal("n", "n"), literal("q", "q"), literal("e", "e")},
			want:   m{"a": "{a,b}\n\\[1]=\"x\",y=2", "n": "3", "q": "'q'", "e": ""},
		},
		"LiteralWithoutPath": {
			reason: "a literal without a path is YAML", maps: map[string]string{"a/values.yaml": "k: 1"},
			from: []meta.ValuesReference{{Kind: "ConfigMap", Name: "a", Literal: true}}, want: m{"k": 1.0},
		},

		"Optional": {
			reason: "objects and keys may be missing", maps: map[string]string{"a/o": "k: 1"},
			from: []meta.ValuesReference{optional(configMap("a")), optional(configMap("b")), optional(secret("b")), optional(at("p", "a"))},
			want: m{},
		},
	}

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			var inline *apiextensionsv1.JSON
			if tc.inline != "" {
				inline = &apiextensionsv1.JSON{Raw: []byte(tc.inline)}
			}

			got, err := values.Compose(t.Context(), &cluster{maps: tc.maps, secrets: tc.secrets}, "ns", tc.from, inline)
			if err != nil {
				t.Fatalf("%s: %v", tc.reason, err)
			}

			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("%s: -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}
