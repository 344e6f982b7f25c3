package values_test

import (
	"context"
	"errors"
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
	"github.com/weir-dev/weir/reconcilers/ingest"
)

func TestComposeErrors(t *testing.T) {
	const prefix = "could not resolve "

	cases := map[string]struct {
		reason  string
		maps    map[string]string
		secrets map[string]string
		refuse  error
		from    meta.ValuesReference
		want    string
	}{
		"NoConfigMap": {
			reason: "an object has to exist", from: configMap("a"),
			want: prefix + `ConfigMap chart values reference 'ns/a' with key 'values.yaml': configmaps "a" not found`,
		},
		"NoSecret": {
			reason: "an object has to exist", from: secretAt("p", "a"),
			want: prefix + `Secret chart values reference 'ns/a' with key 'v': secrets "a" not found`,
		},
		"NoKey": {
			reason: "a key has to exist", maps: map[string]string{"a/o": ""}, from: configMap("a"),
			want: prefix + `ConfigMap chart values reference 'ns/a' with key 'values.yaml': key not found`,
		},
		"NoKind": {
			reason: "other kinds hold no values, optional or not", from: meta.ValuesReference{Kind: "Pod", Name: "a", Optional: true},
			want: prefix + `optional Pod chart values reference 'ns/a' with key 'values.yaml': unsupported values reference kind`,
		},
		"Forbidden": {
			reason: "optional does not mean that one may not be allowed to read it",
			refuse: apierrors.NewForbidden(schema.GroupResource{Resource: "secrets"}, "a", errors.New("no")), from: optional(secret("a")),
			want: prefix + `optional Secret chart values reference 'ns/a' with key 'values.yaml': secrets "a" is forbidden: no`,
		},
		"OptionalNotYAML": {
			reason: "optional does not mean that it may be broken",
			maps:   map[string]string{"a/values.yaml": "a: 1\n  b: 2\n"}, from: optional(configMap("a")),
			want: prefix + `optional ConfigMap chart values reference 'ns/a' with key 'values.yaml': ` +
				`error converting YAML to JSON: yaml: line 2: mapping values are not allowed in this context`,
		},
		"NotAMap": {
			reason: "values are a map", maps: map[string]string{"a/values.yaml": "some text"}, from: configMap("a"),
			want: prefix + `ConfigMap chart values reference 'ns/a' with key 'values.yaml': ` +
				`error unmarshaling JSON: while decoding JSON: json: cannot unmarshal string into Go value of type map[string]interface {}`,
		},
		"NotSet": {
			reason: "after a comma a path has to follow", maps: map[string]string{"a/v": "x,rest"}, from: at("p", "a"),
			want: prefix + `ConfigMap chart values reference 'ns/a' with key 'v': set "p": key "rest" has no value`,
		},
		"LargeIndex": {
			reason: "Helm takes no larger one", maps: map[string]string{"a/v": "1"}, from: at("p[65537]", "a"),
			want: prefix + `ConfigMap chart values reference 'ns/a' with key 'v': set "p[65537]": ` +
				`index of 65537 is greater than maximum supported index of 65536`,
		},
		"Binary": {
			reason: "what is no text would be set as something else", maps: map[string]string{"a/v": "\xff\xfe"}, from: at("p", "a"),
			want: prefix + `ConfigMap chart values reference 'ns/a' with key 'v': the content is not UTF-8`,
		},

		// Of a Secret only the place is told.
		"SecretNotYAML": {
			reason:  "the parser quotes what it does not understand",
			secrets: map[string]string{"a/values.yaml": "a: 1\nb: *hush\n"}, from: secret("a"),
			want: prefix + `Secret chart values reference 'ns/a' with key 'values.yaml': the content is not YAML of a map`,
		},
		"SecretLine": {
			reason:  "the line is no secret",
			secrets: map[string]string{"a/values.yaml": "a: hush\n  b: 2\n"}, from: secret("a"),
			want: prefix + `Secret chart values reference 'ns/a' with key 'values.yaml': the content is not YAML of a map, see line 2 of it`,
		},
		"SecretNotSet": {
			reason: "the parser quotes what comes after a comma", secrets: map[string]string{"a/v": "x,hush"}, from: secretAt("p", "a"),
			want: prefix + `Secret chart values reference 'ns/a' with key 'v': set "p": ` +
				`the content cannot be parsed, see the syntax of helm --set`,
		},
	}

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			c := &cluster{maps: tc.maps, secrets: tc.secrets, refuse: tc.refuse}

			_, err := values.Compose(t.Context(), c, "ns", []meta.ValuesReference{tc.from}, nil)

			if _, ok := errors.AsType[*values.ReferenceError](err); !ok {
				t.Fatalf("%s: got %v", tc.reason, err)
			}

			if diff := cmp.Diff(tc.want, err.Error()); diff != "" {
				t.Errorf("%s: -want, +got:\n%s", tc.reason, diff)
			}

			if strings.Contains(err.Error(), "hush") {
				t.Errorf("%s: the secret is told", tc.reason)
			}
		})
	}
}

// TestComposeBounds holds that a few bytes do not ask for a lot of memory.
func TestComposeBounds(t *testing.T) {
	many := func(n int, r meta.ValuesReference) []meta.ValuesReference {
		var all []meta.ValuesReference
		for range n {
			all = append(all, r)
		}

		return all
	}

	cases := map[string]struct {
		reason string
		data   string
		from   []meta.ValuesReference
		unit   string
		want   string
	}{
		"IndicesInOne": {
			reason: "each of them makes a list of its own", data: "1", from: many(1, at("p"+strings.Repeat("[60000]", 3), "a")),
			unit: "items in lists that indices of target paths make",
		},
		"IndicesInMany": {
			reason: "references add up", data: "1", from: many(5, at("p[60000]", "a")),
			unit: "items in lists that indices of target paths make",
		},
		"IndicesInContent": {
			reason: "paths may come from the content", data: `{x\,y=[9]},q=1` + strings.Repeat(`,p[60000]=\,[`, 3), from: many(1, at("p", "a")),
			unit: "items in lists that indices of target paths make",
		},
		"DeepIndices": {
			reason: "lists in lists are bounded before they are made", data: "1,p" + strings.Repeat("[0]", 101) + "=1",
			from: many(1, at("q", "a")), want: "the values are nested deeper than 100 levels",
		},
		"Deep": {
			reason: "so are maps in maps", data: strings.Repeat("{a: ", 101) + "1" + strings.Repeat("}", 101), from: many(1, configMap("a")),
			want: "the values are nested deeper than 100 levels",
		},
		"Values": {
			reason: "each value takes memory", data: "a: [" + strings.Repeat("1,", 100_000) + "]", from: many(3, configMap("a")),
			unit: "values",
		},
		"Bytes": {
			reason: "so does each byte", data: "a: " + strings.Repeat("x", 1<<20), from: many(17, configMap("a")), unit: "bytes of values",
		},
		"Aliases": {
			reason: "aliases become copies",
			data:   "a: &x " + strings.Repeat("x", 1<<17) + "\nb: [" + strings.Repeat("*x, ", 300) + "]", from: many(1, configMap("a")),
			unit: "bytes of values",
		},
	}

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			c := &cluster{maps: map[string]string{"a/v": tc.data, "a/values.yaml": tc.data}}
			_, err := values.Compose(t.Context(), c, "ns", tc.from, nil)

			var limit *ingest.LimitError
			if tc.unit != "" && (!errors.As(err, &limit) || limit.Unit != tc.unit) {
				t.Errorf("%s: got %v, want the limit of %s", tc.reason, err, tc.unit)
			}

			if tc.want != "" && (err == nil || !strings.HasSuffix(err.Error(), tc.want)) {
				t.Errorf("%s: got %v, want %s", tc.reason, err, tc.want)
			}
		})
	}
}

// TestComposeIndicesInText holds that numbers in brackets are no indices where the parser sees none.
func TestComposeIndicesInText(t *testing.T) {
	c := &cluster{maps: map[string]string{
		"text/v": "see [99999] and [99999] and [99999]", "list/v": "{[99999],[99999],[99999]}", "literal/v": "a,b[99999]=,[99999]=1,c[99999]=",
		"large/v": "1",
	}}

	from := []meta.ValuesReference{at("a", "text"), at("b", "list"), literal("c", "literal"), at("l[65536]", "large")}
	got, err := values.Compose(t.Context(), c, "ns", from, nil)
	if err != nil {
		t.Fatal(err)
	}

	l, _ := got["l"].([]any)
	delete(got, "l")

	want := m{
		"a": "see [99999] and [99999] and [99999]", "b": []any{"[99999]", "[99999]", "[99999]"},
		"c": "a,b[99999]=,[99999]=1,c[99999]=",
	}
	if diff := cmp.Diff(want, got); diff != "" || len(l) != 65_537 {
		t.Errorf("a list of %d, -want, +got:\n%s", len(l), diff)
	}
}

// TestComposeReadsOnce holds that all references to an object see one version of it, and that it is not touched.
func TestComposeReadsOnce(t *testing.T) {
	shared := &corev1.ConfigMap{Data: map[string]string{"values.yaml": "k: {a: 1}", "v": "2"}}
	r := reader{configMap: shared, reads: new(int)}

	inline := &apiextensionsv1.JSON{Raw: []byte(`{"k":{"b":1}}`)}
	if _, err := values.Compose(t.Context(), r, "ns", []meta.ValuesReference{configMap("a"), at("k.a", "a"), at("k.b", "a")}, inline); err != nil {
		t.Fatal(err)
	}

	if *r.reads != 1 {
		t.Errorf("read %d times", *r.reads)
	}

	want := &corev1.ConfigMap{Data: map[string]string{"values.yaml": "k: {a: 1}", "v": "2"}}
	if diff := cmp.Diff(want, shared); diff != "" || string(inline.Raw) != `{"k":{"b":1}}` {
		t.Errorf("%s, -want, +got:\n%s", inline.Raw, diff)
	}
}

func TestComposeInline(t *testing.T) {
	_, err := values.Compose(t.Context(), reader{}, "ns", nil, &apiextensionsv1.JSON{Raw: []byte(`["a"]`)})
	if err == nil || !strings.HasPrefix(err.Error(), "read spec.values: ") {
		t.Errorf("got %v", err)
	}
}

type reader struct {
	configMap *corev1.ConfigMap
	reads     *int
}

func (r reader) ConfigMap(context.Context, types.NamespacedName) (*corev1.ConfigMap, error) {
	*r.reads++

	return r.configMap, nil
}

func (r reader) Secret(context.Context, types.NamespacedName) (*corev1.Secret, error) {
	return nil, errors.New("not asked for")
}
