package sops

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"

	"go.yaml.in/yaml/v3"
)

const indent = 4 // as the sops program does by itself

// maxMarks bounds the characters of a file that make up structure, before anything is made of it: a node takes some two hundred
// bytes.
const maxMarks = maxValues

// checkMarks refuses what would take far more memory than it looks.
func checkMarks(data []byte) error {
	n := 0
	for _, mark := range []string{"\n", ",", ":", "[", "{", "- ", "-\t", "? "} {
		n += bytes.Count(data, []byte(mark))
	}

	if n > maxMarks {
		return errValues
	}

	return nil
}

// errYAML is what the parser's errors become: they quote what they read.
var errYAML = errors.New("it is not YAML")

func parseYAML(data []byte) ([]document, error) {
	if err := checkMarks(data); err != nil {
		return nil, err
	}

	var docs []document

	r := &yamlReader{}
	dec := yaml.NewDecoder(bytes.NewReader(data))

	for {
		var node yaml.Node

		err := dec.Decode(&node)
		if errors.Is(err, io.EOF) {
			return docs, nil
		}

		if err != nil {
			return nil, errYAML
		}

		doc, err := r.fields(&node, mapping{}, 0, false)
		if err != nil {
			return nil, fmt.Errorf("read YAML: %w", err)
		}

		docs = append(docs, doc)
	}
}

// yamlReader turns nodes into trees. Comments become entries and items of their own, in the order in which sops has them: their
// encryption depends on it.
type yamlReader struct{ meter meter }

// fields appends what is in a document, a mapping or an alias of one. Handled says that the caller has taken the comments.
func (r *yamlReader) fields(node *yaml.Node, into mapping, depth int, handled bool) (mapping, error) {
	if err := r.meter.add(depth, len(node.Value)); err != nil {
		return nil, err
	}

	if !handled {
		into = withComments(into, node.HeadComment, false)
		into = withComments(into, node.LineComment, false)
	}

	var err error

	switch {
	case node.Kind == yaml.DocumentNode && len(node.Content) == 1:
		into, err = r.fields(node.Content[0], into, depth+1, false)
	case node.Kind == yaml.AliasNode:
		into, err = r.fields(node.Alias, into, depth+1, false)
	case node.Kind == yaml.MappingNode:
		into, err = r.pairs(node, into, depth)
	case node.Kind == yaml.ScalarNode && node.ShortTag() == "!!null":
		return into, nil
	default:
		err = errors.New("the document is not a mapping")
	}

	if err != nil {
		return nil, err
	}

	if !handled {
		into = withComments(into, node.FootComment, false)
	}

	return into, nil
}

// pairs appends the keys and values of a mapping.
func (r *yamlReader) pairs(node *yaml.Node, into mapping, depth int) (mapping, error) {
	seen := make(map[string]bool, len(node.Content)/2)

	for i := 0; i+1 < len(node.Content); i += 2 {
		k, v := node.Content[i], node.Content[i+1]

		into = withComments(into, k.HeadComment, false)
		into = withComments(into, k.LineComment, false)

		simple := v.Kind == yaml.ScalarNode || v.Kind == yaml.AliasNode
		if simple {
			into = withComments(into, v.HeadComment, false)
			into = withComments(into, v.LineComment, true)
		}

		key, err := keyOf(k)
		if err != nil {
			return nil, err
		}

		if seen[key] {
			return nil, fmt.Errorf("key %s is there twice", plain(key))
		}

		seen[key] = true

		if err := r.meter.add(depth, len(key)); err != nil {
			return nil, err
		}

		value, err := r.value(v, depth+1, simple)
		if err != nil {
			return nil, err
		}

		into = append(into, entry{key: key, value: value})

		if simple {
			into = withComments(into, v.FootComment, false)
		}

		into = withComments(into, k.FootComment, false)
	}

	return into, nil
}

func keyOf(node *yaml.Node) (string, error) {
	var key any
	if err := node.Decode(&key); err != nil {
		return "", errKey
	}

	name, ok := key.(string)
	if !ok {
		return "", errKey
	}

	return name, nil
}

func (r *yamlReader) value(node *yaml.Node, depth int, handled bool) (any, error) {
	switch node.Kind {
	case yaml.MappingNode:
		return r.fields(node, mapping{}, depth, handled)
	case yaml.SequenceNode:
		return r.items(node, depth, handled)
	case yaml.AliasNode:
		if err := r.meter.add(depth, 0); err != nil {
			return nil, err
		}

		return r.value(node.Alias, depth+1, false)
	case yaml.ScalarNode:
		if err := r.meter.add(depth, len(node.Value)); err != nil {
			return nil, err
		}

		var value any
		if err := node.Decode(&value); err != nil {
			return nil, fmt.Errorf("line %d: the value is not what its tag says", node.Line)
		}

		return value, nil
	default:
		return nil, errYAML
	}
}

func (r *yamlReader) items(node *yaml.Node, depth int, handled bool) (list, error) {
	if err := r.meter.add(depth, 0); err != nil {
		return nil, err
	}

	into := list{}

	if !handled {
		into = withCommentItems(into, node.HeadComment, false)
		into = withCommentItems(into, node.LineComment, false)
	}

	for _, item := range node.Content {
		into = withCommentItems(into, item.HeadComment, false)
		into = withCommentItems(into, item.LineComment, true)

		value, err := r.value(item, depth+1, true)
		if err != nil {
			return nil, err
		}

		into = append(into, value)
		into = withCommentItems(into, item.FootComment, false)
	}

	if !handled {
		into = withCommentItems(into, node.FootComment, false)
	}

	return into, nil
}

// comments returns the lines of a comment without their marks.
func comments(text string, inline bool) []*comment {
	var all []*comment

	for line := range strings.SplitSeq(text, "\n") {
		if line != "" {
			all = append(all, &comment{text: line[1:], inline: inline})
		}
	}

	return all
}

func withComments(m mapping, text string, inline bool) mapping {
	for _, c := range comments(text, inline) {
		m = append(m, entry{comment: c})
	}

	return m
}

func withCommentItems(l list, text string, inline bool) list {
	for _, c := range comments(text, inline) {
		l = append(l, c)
	}

	return l
}
