package apply

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/labels"

	"github.com/weir-dev/weir/api/meta"
)

// mostIgnored is how many paths all rules of a set may have: each is looked for in each object that it is for.
const mostIgnored = 1000

// ignoreRule is a rule that was read: which objects, and which of their fields.
type ignoreRule struct {
	fields   [5]*regexp.Regexp // group, version, kind, namespace and name; nil matches anything
	labels   labels.Selector
	notes    labels.Selector // of annotations
	pointers []pointers
}

// pointers is one JSON pointer, as the names and indexes on the way to a field.
type pointers []string

// readIgnores reads the rules.
func readIgnores(rules []meta.IgnoreRule) ([]ignoreRule, error) {
	out := make([]ignoreRule, 0, len(rules))
	paths := 0
	for i, rule := range rules {
		if paths += len(rule.Paths); paths > mostIgnored {
			return nil, fmt.Errorf("the ignore rules have more than %d paths", mostIgnored)
		}
		r, err := readIgnore(rule)
		if err != nil {
			return nil, fmt.Errorf("invalid ignore rule %d: %w", i+1, err)
		}
		out = append(out, r)
	}
	return out, nil
}

func readIgnore(rule meta.IgnoreRule) (ignoreRule, error) {
	r := ignoreRule{labels: labels.Everything(), notes: labels.Everything()}
	for _, path := range rule.Paths {
		p, err := readPointer(path)
		if err != nil {
			return r, err
		}
		r.pointers = append(r.pointers, p)
	}
	t := rule.Target
	if t == nil {
		return r, nil
	}
	for i, text := range [...]string{t.Group, t.Version, t.Kind, t.Namespace, t.Name} {
		if text == "" {
			continue
		}
		expr, err := regexp.Compile("^(?:" + text + ")$")
		if err != nil {
			return r, fmt.Errorf("target %q: %w", text, err)
		}
		r.fields[i] = expr
	}
	var err error
	if r.labels, err = labels.Parse(t.LabelSelector); err != nil {
		return r, fmt.Errorf("label selector %q: %w", t.LabelSelector, err)
	}
	if r.notes, err = labels.Parse(t.AnnotationSelector); err != nil {
		return r, fmt.Errorf("annotation selector %q: %w", t.AnnotationSelector, err)
	}
	return r, nil
}

func readPointer(text string) (pointers, error) {
	if text == "" {
		return pointers{}, nil
	}
	if !strings.HasPrefix(text, "/") {
		return nil, fmt.Errorf("path %q is not a JSON pointer: it does not begin with a slash", text)
	}
	p := pointers(strings.Split(text[1:], "/"))
	for i := range p {
		p[i] = strings.NewReplacer("~1", "/", "~0", "~").Replace(p[i])
	}
	return p, nil
}

// matches tells whether the rule is for the object.
func (r *ignoreRule) matches(d *desired) bool {
	for i, text := range [...]string{d.Group, d.Version, d.Kind, d.Namespace, d.Name} {
		if r.fields[i] != nil && !r.fields[i].MatchString(text) {
			return false
		}
	}
	return r.labels.Matches(labels.Set(d.labels)) && r.notes.Matches(labels.Set(d.annotations))
}

// ignored returns the fields of the object that drift is ignored of.
func ignored(rules []ignoreRule, d *desired) []pointers {
	var out []pointers
	for i := range rules {
		if rules[i].matches(d) {
			out = slices.Concat(out, rules[i].pointers)
		}
	}
	return out
}
