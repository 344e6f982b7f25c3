package build

import (
	"bytes"
	"errors"
	"fmt"

	"go.yaml.in/yaml/v3"
)

// Limits of one build. What is above them fits into no cluster, or is made to cost much.
const (
	// maxReads bounds the files that one build reads. Kustomizations that include each other in a lattice would otherwise be
	// read exponentially often.
	maxReads = 20_000
	// maxReadBytes bounds what one build reads, in files of the default size limit: a generator may name one large file under
	// thousands of keys, and each becomes a copy of its own in memory.
	maxReadBytes = 8 * DefaultMaxFileSize
	// maxFileValues and maxValues bound the YAML values in one file and in all that one build reads. A parsed value takes some
	// two hundred bytes, so that a file of sixteen megabytes of them took two gigabytes.
	maxFileValues = 2_000_000
	maxValues     = 3 * maxFileValues
	// maxObjects bounds the objects: an inventory with more fits into no status, and the library compares each with each.
	maxObjects = 10_000
)

// A build is large if it has read more than this. Large ones run one after another, because of the memory that they take.
const (
	largeBytes  = 4 << 20
	largeValues = 200_000
)

// budget is what one build has spent.
type budget struct {
	reads  int
	bytes  int64 // that were read
	values int   // that may be in them

	// objects that may be in them at most, and those counted exactly from when that was too many.
	rough, exact int
}

func (b *budget) large() bool { return b.bytes > largeBytes || b.values > largeValues }

// file counts a file of so many bytes.
func (b *budget) file(size int64) error {
	if b.reads++; b.reads > maxReads {
		return fmt.Errorf("the build reads more than %d files", maxReads)
	}

	if b.bytes += size; b.bytes > maxReadBytes {
		return fmt.Errorf("the build reads more than %d bytes", maxReadBytes)
	}

	return nil
}

// content counts what is in a file.
func (b *budget) content(data []byte) error {
	n := countValues(data)
	if b.values += n; n > maxFileValues || b.values > maxValues {
		return fmt.Errorf("more than %d values in the file, or %d in all files of the build", maxFileValues, maxValues)
	}

	return nil
}

// resources counts the objects in a file. Aliases were checked before.
func (b *budget) resources(data []byte) error {
	if n := roughObjects(data); b.rough+n <= maxObjects {
		b.rough += n

		return nil
	}

	n, err := countObjects(data)
	if err != nil {
		return nil //nolint:nilerr // The library fails on it with the better message.
	}

	return b.add(n)
}

var errTooManyObjects = fmt.Errorf("the build has more than %d objects", maxObjects)

// add counts objects.
func (b *budget) add(n int) error {
	if b.exact += n; b.exact > maxObjects {
		return errTooManyObjects
	}

	return nil
}

// countValues returns how many values the text holds at most, if it is YAML: each has one of the marks before it.
func countValues(data []byte) int {
	n := 1
	for _, mark := range []string{"\n", ",", ":", "[", "{", "- ", "-\t", "? "} {
		n += bytes.Count(data, []byte(mark))
	}

	return n
}

// roughObjects returns how many objects the text holds at most, if it is YAML: each has a kind, which may be written in
// escapes, or come from an alias.
func roughObjects(data []byte) int {
	n := 0
	for _, mark := range []string{"kind", "*", `\x`, `\u`, `\U`} {
		n += bytes.Count(data, []byte(mark))
	}

	return n
}

// countObjects returns how many objects the text holds, those in lists of objects included.
func countObjects(data []byte) (int, error) {
	documents, err := split(data)
	if err != nil {
		return 0, err
	}

	total := 0

	for _, doc := range documents {
		var node yaml.Node
		if err := yaml.Unmarshal(doc, &node); err != nil {
			return 0, fmt.Errorf("count objects: %w", err)
		}

		if total += objectsIn(&node); total > maxObjects {
			break
		}
	}

	return total, nil
}

// objectsIn returns how many objects there are in the value: one, or what its items are.
func objectsIn(node *yaml.Node) int {
	switch node.Kind {
	case yaml.DocumentNode:
		return objectsIn(node.Content[0])
	case yaml.AliasNode:
		return objectsIn(node.Alias)
	case yaml.MappingNode:
		return 1 + itemsIn(node)
	}

	return 0
}

func itemsIn(node *yaml.Node) int {
	total := 0

	for i := 0; i+1 < len(node.Content); i += 2 {
		value := node.Content[i+1]
		if value.Kind == yaml.AliasNode {
			value = value.Alias
		}

		if node.Content[i].Value != "items" || value.Kind != yaml.SequenceNode {
			continue
		}

		for _, item := range value.Content {
			if total += objectsIn(item); total > maxObjects {
				return total
			}
		}
	}

	return total
}

// errOwnSchema says that a kustomization brings a schema of its own, while other builds use that of the library.
var errOwnSchema = errors.New("the kustomization has a schema of its own")
