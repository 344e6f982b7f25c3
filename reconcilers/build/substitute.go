package build

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/fluxcd/pkg/envsubst"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	k8sjson "sigs.k8s.io/json"
	"sigs.k8s.io/kustomize/kyaml/resid"
	"sigs.k8s.io/yaml"

	kustomizev1 "github.com/weir-dev/weir/api/kustomize/v1"
	"github.com/weir-dev/weir/api/meta"
)

// substitute replaces the variables in the objects, in place. Objects in which no dollar sign occurs stay as they are.
// Lenient makes those that are not set empty.
func substitute(ctx context.Context, objects []*unstructured.Unstructured, variables *Variables, lenient bool) error {
	left := maxAllSubstituted
	value := variables.get

	if lenient {
		value = variables.getOrEmpty
	}

	for _, u := range objects {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}

		if isExempt(u) || !hasDollar(u.Object) {
			continue
		}

		if err := substituteObject(u, variables, value, &left); err != nil {
			return &substituteError{object: typeOf(u) + "/" + u.GetName(), err: err}
		}
	}

	return nil
}

// typeOf names the type in the way of the library: kind.version.group.
func typeOf(u *unstructured.Unstructured) string {
	gvk := u.GroupVersionKind()

	return resid.Gvk{Group: gvk.Group, Version: gvk.Version, Kind: gvk.Kind}.String()
}

func isExempt(u *unstructured.Unstructured) bool {
	return u.GetLabels()[kustomizev1.SubstituteMark] == meta.DisabledValue ||
		u.GetAnnotations()[kustomizev1.SubstituteMark] == meta.DisabledValue
}

func hasDollar(v any) bool {
	switch v := v.(type) {
	case string:
		return strings.Contains(v, "$")
	case []any:
		return slices.ContainsFunc(v, hasDollar)
	case map[string]any:
		for k, e := range v {
			if strings.Contains(k, "$") || hasDollar(e) {
				return true
			}
		}
	}

	return false
}

// substituteObject replaces the variables in an object by what value returns for them. Left is how many bytes they may still
// add.
func substituteObject(
	u *unstructured.Unstructured, variables *Variables, value func(name string) (string, bool), left *int,
) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = errors.New("envsubst error: recovered from panic")
		}
	}()

	text, err := yaml.Marshal(u.Object)
	if err != nil {
		return err
	}

	added, err := checkGrowth(string(text), variables)
	if err != nil {
		return fmt.Errorf("envsubst error: %w", err)
	}

	if *left -= added; *left < 0 {
		return fmt.Errorf("envsubst error: the variables add more than %d bytes to all objects", maxAllSubstituted)
	}

	result, err := envsubst.Eval(string(text), value)
	if err != nil {
		return fmt.Errorf("envsubst error: %s", variables.Redact(err.Error()))
	}

	object, err := parseObject([]byte(result))
	if err != nil {
		return variables.parseError(err)
	}

	u.Object = object

	return nil
}

func parseObject(text []byte) (map[string]any, error) {
	data, err := yaml.YAMLToJSON(text)
	if err != nil {
		return nil, err
	}

	var object map[string]any

	return object, k8sjson.UnmarshalCaseSensitivePreserveInts(data, &object)
}

// substituteError says in which object it failed.
type substituteError struct {
	object string
	err    error
}

// Error implements error.
func (e *substituteError) Error() string {
	return fmt.Sprintf("post build failed for '%s': %v", e.object, e.err)
}

// Unwrap returns the reason.
func (e *substituteError) Unwrap() error { return e.err }

// parseError says that the text is no YAML after substitution. The parser quotes parts of the text, cut off at any place.
type parseError struct{ err error }

// Error implements error.
func (e *parseError) Error() string { return fmt.Sprintf("the result is not a YAML object: %v", e.err) }

// Unwrap returns what the parser says.
func (e *parseError) Unwrap() error { return e.err }

var lineNumber = regexp.MustCompile(`line \d+`)

// onlyLine returns the error with nothing but the line: the text holds secrets.
func (e *parseError) onlyLine() error {
	if line := lineNumber.FindString(e.err.Error()); line != "" {
		return &parseError{errors.New(line)}
	}

	return errors.New("the result is not a YAML object")
}

func (v *Variables) parseError(err error) error {
	e := &parseError{err}
	if v.hasSecrets() {
		return e.onlyLine()
	}

	return e
}

// quiet returns the error of a substitution without what a parser quotes, if anything was decrypted.
func (m *Mask) quiet(err error) error {
	in, ok := errors.AsType[*substituteError](err)
	if !ok || m == nil || m.size == 0 {
		return err
	}

	if e, ok := errors.AsType[*parseError](in.err); ok {
		return &substituteError{object: in.object, err: e.onlyLine()}
	}

	return err
}
