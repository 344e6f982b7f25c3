package build

import (
	"bytes"
	"errors"
	"fmt"

	"go.yaml.in/yaml/v3"
	"sigs.k8s.io/kustomize/api/types"
)

// Limits of one build. What is above them fits into no cluster, or is made to cost much.
const (
	// maxReads bounds the files that one build reads. Kustomizations that include each other in a lattice would otherwise be
	// read exponentially often.
	maxReads = 20_000
	// maxReadBytes bounds what one build reads, in files of the default size limit: a generator may name one large file under
	// thousands of keys, and each becomes a copy of its own in memory.
	maxReadBytes = 8 * DefaultMaxFileSize
	// maxValues bounds the YAML values in all that one build reads. A parsed value takes some
	// two hundred bytes, and in the library six times as many, so that a file of sixteen megabytes of them took gigabytes.
	maxValues = 1_000_000
	// maxObjects bounds the objects: an inventory with more fits into no status, and the library compares each with each.
	maxObjects = 10_000
)

// A build is large if it has read more than this. Large ones run one after another, because of the memory that they take.
const (
	largeBytes  = 2 << 20
	largeValues = 100_000
)

// A build with a schema of its own is alone, and all others wait for it.
const (
	aloneObjects = 2_000
	aloneWork    = 100_000
)

// budget is what one build has spent.
type budget struct {
	alone bool // while all others wait

	reads  int
	bytes  int64 // that were read
	values int   // that may be in them

	largest int64 // file
	work    work

	// objects that may be in them at most, and those counted exactly from when that was too many.
	rough, exact int
}

func (b *budget) large() bool { return b.bytes > largeBytes || b.values > largeValues }

// file counts a file of so many bytes.
func (b *budget) file(size int64) error {
	if b.reads++; b.reads > maxReads {
		return fmt.Errorf("the build reads more than %d files", maxReads)
	}

	b.largest = max(b.largest, size)

	if b.bytes += size; b.bytes > maxReadBytes {
		return fmt.Errorf("the build reads more than %d bytes", maxReadBytes)
	}

	return nil
}

// content counts what is in a file.
func (b *budget) content(data []byte) error {
	if b.values += countValues(data); b.values > maxValues {
		return fmt.Errorf("more than %d values in the files of the build", maxValues)
	}

	b.work.uses += int64(bytes.Count(data, []byte("$(")))

	return nil
}

// resources counts the objects in a file. Aliases were checked before.
func (b *budget) resources(data []byte) error {
	if n := roughObjects(data); !b.alone && b.rough+n <= maxObjects {
		b.rough += n

		return b.check()
	}

	n, err := countObjects(data)
	if err != nil {
		return nil //nolint:nilerr // The library fails on it with the better message.
	}

	b.exact += n

	return b.check()
}

// kustomization counts what a kustomization generates and does. Read returns the content of a file that it names.
func (b *budget) kustomization(k *types.Kustomization, read func(string) []byte) error {
	b.exact += len(k.ConfigMapGenerator) + len(k.SecretGenerator) + len(k.Generators)
	b.work.kustomization(k, read)

	return b.check()
}

func (b *budget) check() error {
	if b.exact > maxObjects {
		return fmt.Errorf("the build has more than %d objects", maxObjects)
	}

	n := b.rough + b.exact

	switch {
	case b.alone && n > aloneObjects:
		return fmt.Errorf("with a schema of its own, a build has no more than %d objects", aloneObjects)
	case b.alone && n*b.work.steps > aloneWork:
		return fmt.Errorf("with a schema of its own, %d patches, replacements and the like are too many for %d objects", b.work.steps, n)
	}

	return b.work.check(n, b.bytes, b.largest)
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
	case yaml.SequenceNode, yaml.ScalarNode:
	}

	return 0 // no object
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
