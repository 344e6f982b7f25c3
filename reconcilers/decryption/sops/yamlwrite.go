package sops

import (
	"bytes"
	"errors"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

var errWrite = errors.New("a value cannot be written in the format")

func emitYAML(docs []document) ([]byte, error) {
	var out bytes.Buffer

	enc := yaml.NewEncoder(&out)
	enc.SetIndent(indent)

	for _, doc := range docs {
		content, err := mappingNode(doc)
		if err != nil {
			return nil, err
		}

		if err := enc.Encode(&yaml.Node{Kind: yaml.DocumentNode, Content: []*yaml.Node{content}}); err != nil {
			return nil, errWrite
		}
	}

	if err := enc.Close(); err != nil {
		return nil, errWrite
	}

	return out.Bytes(), nil
}

func nodeOf(v any) (*yaml.Node, error) {
	switch v := v.(type) {
	case mapping:
		return mappingNode(v)
	case list:
		return listNode(v)
	default:
		node := &yaml.Node{}
		if err := node.Encode(v); err != nil {
			return nil, errWrite
		}

		return node, nil
	}
}

func mappingNode(m mapping) (*yaml.Node, error) {
	node := &yaml.Node{Kind: yaml.MappingNode}

	var held heldComments

	for _, e := range m {
		if e.comment != nil {
			held.add(e.comment)

			continue
		}

		key, err := nodeOf(e.key)
		if err != nil {
			return nil, err
		}

		value, err := nodeOf(e.value)
		if err != nil {
			return nil, err
		}

		held.place(node, key, value)
		node.Content = append(node.Content, key, value)
	}

	if n := len(node.Content); n > 0 {
		held.close(node, node.Content[n-2])
	} else {
		held.close(node, nil)
	}

	return node, nil
}

func listNode(l list) (*yaml.Node, error) {
	node := &yaml.Node{Kind: yaml.SequenceNode}

	var held heldComments

	for _, item := range l {
		if c, ok := item.(*comment); ok {
			held.add(c)

			continue
		}

		value, err := nodeOf(item)
		if err != nil {
			return nil, err
		}

		held.place(node, value, value)
		node.Content = append(node.Content, value)
	}

	if n := len(node.Content); n > 0 {
		held.close(node, node.Content[n-1])
	} else {
		held.close(node, nil)
	}

	return node, nil
}

// heldComments are the comments since the last value, which go with the next one.
type heldComments struct{ head, inline []string }

func (h *heldComments) add(c *comment) {
	// The library panics at what is not UTF-8, and writes lines as they are.
	text := strings.ReplaceAll(strings.ToValidUTF8(c.text, "\uFFFD"), "\n", "\n#")

	if c.inline {
		h.inline = append(h.inline, text)
	} else {
		h.head = append(h.head, text)
	}
}

// place puts them at what comes next in the parent: above the first thing they belong to the parent, and else to what is below.
func (h *heldComments) place(parent, below, behind *yaml.Node) {
	if len(parent.Content) == 0 {
		parent.HeadComment = joinComments(h.head, parent.HeadComment)
	} else {
		below.HeadComment = joinComments(h.head, below.HeadComment)
	}

	behind.LineComment = joinComments(nil, behind.LineComment, h.inline...)
	h.head, h.inline = nil, nil
}

// close puts what is left at the end.
func (h *heldComments) close(parent, last *yaml.Node) {
	all := slices.Concat(h.head, h.inline)
	if last == nil {
		parent.HeadComment = joinComments(all, parent.HeadComment)
	} else {
		last.FootComment = joinComments(nil, last.FootComment, all...)
	}
}

// joinComments puts lines of comment before and after some that are there.
func joinComments(before []string, there string, after ...string) string {
	var all []string
	for _, line := range before {
		all = append(all, "#"+line)
	}

	if there != "" {
		all = append(all, there)
	}

	for _, line := range after {
		all = append(all, "#"+line)
	}

	return strings.Join(all, "\n")
}
