package ingest

import (
	"bytes"
	"errors"
	"fmt"

	"go.yaml.in/yaml/v3"
)

// Limits of what the aliases of one document may expand to.
const (
	maxExpandedNodes = 1_000_000
	maxExpandedBytes = 64 << 20
)

// Errors of CheckAliases, for errors.Is.
var (
	// ErrAliasLoop says that an alias never comes to an end.
	ErrAliasLoop = errors.New("a YAML alias refers to itself")

	// ErrAliasSize says that a small document stands for a huge one.
	ErrAliasSize = fmt.Errorf("the YAML aliases expand to more than %d values or %d bytes", maxExpandedNodes, maxExpandedBytes)
)

// CheckAliases refuses a YAML document whose aliases refer to themselves or expand beyond all measure: who turns YAML into JSON
// replaces them by copies, and a megabyte becomes hundreds of gigabytes in memory. It is to be called before that is done to
// foreign bytes. A document that may hold aliases and cannot be read is an error too, for another reader may be less strict.
// Only the first document is looked at.
func CheckAliases(document []byte) error {
	_, err := ExpandedAliases(document)

	return err
}

// Expanded is how large a YAML document is with copies in the place of its aliases.
type Expanded struct {
	// Nodes are values, keys, lists and maps.
	Nodes int

	// Bytes of their text.
	Bytes int
}

// ExpandedAliases is CheckAliases for those who read many documents, and have to bound what all of them expand to. It returns
// zeros for a document that cannot have aliases: that is as large as it looks.
func ExpandedAliases(document []byte) (Expanded, error) {
	if !mayHaveAliases(document) {
		return Expanded{}, nil
	}

	var node yaml.Node
	if err := yaml.Unmarshal(document, &node); err != nil {
		return Expanded{}, fmt.Errorf("parse YAML: %w", err)
	}

	e := expansion{known: map[*yaml.Node]Expanded{}, open: map[*yaml.Node]bool{}}

	return e.of(&node)
}

// mayHaveAliases tells cheaply whether there may be both an anchor and an alias. UTF-16 is not looked into.
func mayHaveAliases(data []byte) bool {
	if len(data) > 1 && (data[0] == 0xfe && data[1] == 0xff || data[0] == 0xff && data[1] == 0xfe) {
		return true
	}

	return hasMark(data, '&') && hasMark(data, '*')
}

func hasMark(data []byte, mark byte) bool {
	for i := 0; ; i++ {
		j := bytes.IndexByte(data[i:], mark)
		if j < 0 {
			return false
		}

		i += j

		if (i == 0 || !isWord(data[i-1])) && i+1 < len(data) && data[i+1] > ' ' {
			return true
		}
	}
}

func isWord(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
}

func (s *Expanded) add(o Expanded) { s.Nodes, s.Bytes = s.Nodes+o.Nodes, s.Bytes+o.Bytes }

// expansion computes what nodes grow to when aliases are replaced by copies.
type expansion struct {
	known map[*yaml.Node]Expanded
	open  map[*yaml.Node]bool
}

func (e *expansion) of(node *yaml.Node) (Expanded, error) {
	if node.Kind == yaml.AliasNode {
		node = node.Alias
	}

	if s, ok := e.known[node]; ok {
		return s, nil
	}

	if e.open[node] {
		return Expanded{}, ErrAliasLoop
	}

	e.open[node] = true
	total := Expanded{Nodes: 1, Bytes: len(node.Value)}

	for _, n := range node.Content {
		s, err := e.of(n)
		if err != nil {
			return Expanded{}, err
		}

		if total.add(s); total.Nodes > maxExpandedNodes || total.Bytes > maxExpandedBytes {
			return Expanded{}, ErrAliasSize
		}
	}

	delete(e.open, node)

	if node.Anchor != "" {
		e.known[node] = total
	}

	return total, nil
}
