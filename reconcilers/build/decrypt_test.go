package build

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/weir-dev/weir/api/meta"
)

// rot decrypts what begins with "rot:", and refuses what is bad.
type rot struct {
	who   string
	asked *[]string
}

func (r rot) Fingerprint() string { return r.who }

func (r rot) File(_ context.Context, file, as string, data []byte) ([]byte, []string, error) {
	*r.asked = append(*r.asked, file+" as "+as)

	text, ok := strings.CutPrefix(string(data), "rot:")
	if !ok {
		return data, nil, nil
	}

	if text == "bad" {
		return nil, []string{"half-open"}, errors.New("it is bad: half-open")
	}

	if text == "many" {
		return bytes.Repeat([]byte("- a\n"), maxValues), nil, nil
	}

	return []byte(text), strings.Fields(text), nil
}

func (r rot) Object(_ context.Context, u *unstructured.Unstructured) ([]string, error) {
	text, ok := strings.CutPrefix(u.GetAnnotations()["secret"], "rot:")
	if !ok {
		return nil, nil
	}

	u.SetAnnotations(map[string]string{"secret": text})

	return []string{text}, nil
}

func TestFilesAreDecryptedBeforeTheBuild(t *testing.T) {
	const (
		generator = "secretGenerator:\n- name: s\n  options: {disableNameSuffixHash: true}\n"
		object    = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\n"
		patch     = "rot:apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\ndata: {k: hidden}\n"
	)

	for name, c := range map[string]struct {
		reason string
		files  map[string]string
		spec   Spec
		path   string
		asked  []string
		want   map[string]string // data of the only object
		err    string
	}{
		"Files": {
			reason: "files of a secret generator, by their names and by others",
			files: map[string]string{
				"kustomization.yaml": generator + "  files: [a.txt, key.json=d/b.yaml]\n", "a.txt": "rot:one", "d/b.yaml": "rot:two",
			},
			asked: []string{"a.txt as a.txt", "d/b.yaml as key.json"},
			want:  map[string]string{"a.txt": "one", "key.json": "two"},
		},
		"Envs": {
			reason: "files with variables",
			files:  map[string]string{"kustomization.yaml": generator + "  envs: [a.env]\n", "a.env": "rot:A=one\nB=two"},
			asked:  []string{"a.env as "},
			want:   map[string]string{"A": "one", "B": "two"},
		},
		"InAnOverlay": {
			reason: "bases and components, and theirs",
			path:   "overlay",
			files: map[string]string{
				"overlay/kustomization.yaml": "resources: [../base]\n",
				"base/kustomization.yaml":    "components: [../part]\n",
				"part/kustomization.yaml":    "kind: Component\napiVersion: kustomize.config.k8s.io/v1alpha1\n" + generator + "  files: [a]\n",
				"part/a":                     "rot:deep",
			},
			asked: []string{"part/a as a"},
			want:  map[string]string{"a": "deep"},
		},
		"ComponentOfTheSpec": {
			reason: "components that the spec adds",
			spec:   Spec{Components: []string{"../part"}},
			path:   "app",
			files: map[string]string{
				"app/kustomization.yaml":  "namePrefix: \"\"\n",
				"part/kustomization.yaml": "kind: Component\napiVersion: kustomize.config.k8s.io/v1alpha1\n" + generator + "  files: [a]\n",
				"part/a":                  "rot:deep",
			},
			asked: []string{"part/a as a"},
			want:  map[string]string{"a": "deep"},
		},
		"InAPlainDirectory": {
			reason: "a kustomization below a directory without one",
			files: map[string]string{
				"sub/kustomization.yaml": generator + "  files: [a]\n", "sub/a": "rot:deep",
			},
			asked: []string{"sub/a as a"},
			want:  map[string]string{"a": "deep"},
		},
		"Patch": {
			reason: "patches in files",
			files:  map[string]string{"kustomization.yaml": "resources: [c.yaml]\npatches: [{path: p.yaml}]\n", "c.yaml": object, "p.yaml": patch},
			asked:  []string{"p.yaml as p.yaml"},
			want:   map[string]string{"k": "hidden"},
		},
		"OldPatch": {
			reason: "and in the field of old",
			files:  map[string]string{"kustomization.yaml": "resources: [c.yaml]\npatchesStrategicMerge: [p.yaml]\n", "c.yaml": object, "p.yaml": patch},
			asked:  []string{"p.yaml as p.yaml"},
			want:   map[string]string{"k": "hidden"},
		},
		"ConfigMapsAreLeftAlone": {
			reason: "nobody wants secrets in a ConfigMap",
			files:  map[string]string{"kustomization.yaml": "configMapGenerator:\n- name: c\n  files: [a]\n", "a": "rot:one"},
			want:   map[string]string{"a": "rot:one"},
		},
		"OnlyOnce": {
			reason: "a file that is named twice is decrypted once",
			files:  map[string]string{"kustomization.yaml": generator + "  files: [a, b=a]\n", "a": "rot:rot:one"},
			asked:  []string{"a as a"},
			want:   map[string]string{"a": "rot:one", "b": "rot:one"},
		},
		"Fails": {
			reason: "an error ends the build, without what came to light",
			files:  map[string]string{"kustomization.yaml": generator + "  files: [a]\n", "a": "rot:bad"},
			asked:  []string{"a as a"},
			err:    "it is bad: *****",
		},
		"LibraryFails": {
			reason: "what the library says of a file in the clear is masked",
			files:  map[string]string{"kustomization.yaml": "resources: [c.yaml]\npatches: [{path: p}]\n", "c.yaml": object, "p": "rot:apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: wrong-name\n"},
			asked:  []string{"p as p"},
			err:    "*****",
		},
		"TooMuch": {
			reason: "what comes out counts as what is read",
			files:  map[string]string{"kustomization.yaml": "resources: [c.yaml]\npatches: [{path: p}]\n", "c.yaml": object, "p": "rot:many"},
			asked:  []string{"p as p"},
			err:    "values in the files of the build",
		},
		"Outside": {
			reason: "nothing outside the artifact is read",
			files:  map[string]string{"kustomization.yaml": generator + "  files: [a=../../etc/hosts]\n"},
			err:    "path is outside of the artifact",
		},
		"Missing": {
			reason: "the library says what is missing",
			files:  map[string]string{"kustomization.yaml": generator + "  files: [a]\n"},
			err:    "kustomize build failed",
		},
	} {
		t.Run(name, func(t *testing.T) {
			var asked []string

			set, err := New(Options{}).Build(t.Context(), Request{
				Dir: files(c.files).write(t), Path: c.path, Spec: c.spec, Decrypter: rot{who: "me", asked: &asked},
			})

			if diff := cmp.Diff(c.asked, asked); diff != "" {
				t.Errorf("%s: asked for (-want +got):\n%s", c.reason, diff)
			}

			if c.err != "" {
				if err == nil || !strings.Contains(err.Error(), c.err) || strings.Contains(err.Error(), "half-open") ||
					strings.Contains(err.Error(), "wrong-name") {
					t.Errorf("%s: error is %v, want %q", c.reason, err, c.err)
				}

				return
			}

			if err != nil {
				t.Fatalf("%s: %v", c.reason, err)
			}

			if diff := cmp.Diff(c.want, dataOf(t, set.Objects)); diff != "" {
				t.Errorf("%s: -want +got:\n%s", c.reason, diff)
			}
		})
	}
}

func dataOf(t *testing.T, objects []*unstructured.Unstructured) map[string]string {
	t.Helper()

	if len(objects) != 1 {
		t.Fatalf("%d objects", len(objects))
	}

	data, _, _ := unstructured.NestedStringMap(objects[0].Object, "data")
	if objects[0].GetKind() != meta.KindSecret {
		return data
	}

	for key, value := range data {
		plain, err := base64.StdEncoding.DecodeString(value)
		if err != nil {
			t.Fatal(err)
		}

		data[key] = string(plain)
	}

	return data
}

func TestObjectsAreDecryptedForThoseWhoMay(t *testing.T) {
	dir := files{
		"c.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c, annotations: {secret: \"rot:${v}-hidden\"}}\n",
	}.write(t)

	var asked []string

	b, v := New(Options{}), &Variables{}
	if err := v.Set("v", "value", false); err != nil {
		t.Fatal(err)
	}

	request := func(by Decrypter) Request {
		return Request{Dir: dir, Digest: "sha256:1", Variables: v, Decrypter: by}
	}
	secret := func(set *Set) string { return set.Objects[0].GetAnnotations()["secret"] }

	mine, err := b.Build(t.Context(), request(rot{who: "me", asked: &asked}))
	if err != nil {
		t.Fatal(err)
	}

	if got := secret(mine); got != "value-hidden" {
		t.Errorf("the object has %q: variables come after decryption", got)
	}

	for who, by := range map[string]Decrypter{"nobody": nil, "somebody else": rot{who: "them", asked: &asked}} {
		if set, err := b.Lookup(request(by)); set != nil || err != nil {
			t.Errorf("%s got what I have decrypted, error %v", who, err)
		}
	}

	again, err := b.Lookup(request(rot{who: "me", asked: &asked}))
	if err != nil || again == nil || secret(again) != "value-hidden" {
		t.Fatalf("I did not get it again: %v", err)
	}

	for _, set := range []*Set{mine, again} {
		if got := set.Mask.Hide("denied: ${v}-hidden"); got != "denied: *****" {
			t.Errorf("the message is %q", got)
		}
	}
}

func TestMask(t *testing.T) {
	var many []string
	for i := range maxMasked + 1 {
		many = append(many, "value-"+string(rune('a'+i%26))+strings.Repeat("x", i%700)+strings.Repeat("y", i/700))
	}

	slices.Sort(many)

	for name, c := range map[string]struct {
		reason     string
		values     []string
		text, want string
	}{
		"Nothing": {"nothing is hidden", nil, "a b", "a b"},
		"Longest": {"longer values go first", []string{"pass", "password"}, "password", "*****"},
		"Short":   {"holes would give short ones away", []string{"ab"}, "ab abc", "ab abc"},
		"Lines":   {"each line counts", []string{"first\nsecond"}, "x second y first", "x ***** y *****"},
		"Quoted":  {"as it is in quotes", []string{"a\"b\tc"}, `x "a\"b\tc"`, `x "*****"`},
		"TooMany": {"nothing is said if not all is known", many, "anything", hidden},
	} {
		t.Run(name, func(t *testing.T) {
			m := &Mask{}
			m.Add(c.values...)

			if got := m.Hide(c.text); got != c.want {
				t.Errorf("%s: got %q, want %q", c.reason, got, c.want)
			}
		})
	}

	var none *Mask
	if got := none.Hide("a"); got != "a" {
		t.Errorf("no mask makes %q", got)
	}
}
