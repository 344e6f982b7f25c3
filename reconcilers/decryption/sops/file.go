package sops

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path"
	"strings"
)

// Format of a file.
type Format string

// The formats.
const (
	YAML   Format = "yaml"
	JSON   Format = "json"
	Dotenv Format = "dotenv"
	INI    Format = "ini"
	// Binary is anything, in an envelope of JSON.
	Binary Format = "binary"
)

// FormatOf returns the format of a file by its name: Binary if the name says nothing.
func FormatOf(name string) Format {
	base := path.Base(name)

	switch path.Ext(base) {
	case ".yaml", ".yml":
		return YAML
	case ".json":
		return JSON
	case ".env":
		return Dotenv
	case ".ini":
		return INI
	}

	if base == ".dockerconfigjson" {
		return JSON
	}

	return Binary
}

// Marked tells cheaply whether a file may be encrypted. What it says no to is not.
func Marked(data []byte) bool {
	return bytes.Contains(data, []byte(valuePrefix)) && bytes.Contains(data, []byte(metadataKey)) &&
		bytes.Contains(data, []byte("mac"))
}

// Detect returns the format of an encrypted file by its content, and whether it is one at all. A file of JSON that holds nothing
// but data is Binary.
func Detect(data []byte) (Format, bool) {
	if !Marked(data) {
		return "", false
	}

	start := bytes.TrimSpace(data)

	switch {
	case bytes.HasPrefix(start, []byte("{")):
		return detectJSON(data)
	case hasLine(data, "[sops]"):
		return INI, true
	case hasLine(data, "sops_mac="):
		return Dotenv, true
	case hasLine(data, "sops:"):
		return YAML, true
	default:
		return "", false
	}
}

func detectJSON(data []byte) (Format, bool) {
	doc, err := parseJSON(data)
	if err != nil {
		return YAML, hasLine(data, "sops:") // in flow style, for one
	}

	rest, _, found := doc.take(metadataKey)

	switch {
	case found == 0:
		return "", false
	case len(rest) == 1 && rest[0].key == binaryKey:
		return Binary, true
	default:
		return JSON, true
	}
}

// hasLine tells whether a line begins so.
func hasLine(data []byte, start string) bool {
	return bytes.HasPrefix(data, []byte(start)) || bytes.Contains(data, []byte("\n"+start))
}

// Clear is what was decrypted.
type Clear struct {
	// Content of the file.
	Content []byte
	// Values that were encrypted, as text: what must not show up in messages.
	Values []string
}

// Decrypt returns the content of an encrypted file of one format in another, which may be the same. A file without metadata is
// ErrNotEncrypted. No error holds any of the content.
func Decrypt(ctx context.Context, data []byte, from, to Format, keys Keys) (c Clear, err error) {
	defer guard(&err)

	if len(data) > MaxSize {
		return Clear{}, fmt.Errorf("the file has %d bytes, more than the limit of %d", len(data), MaxSize)
	}

	docs, fields, err := parse(data, from)
	if err != nil {
		return Clear{}, err
	}

	w, err := newWalker(ctx, fields, keys)
	if err != nil {
		return Clear{}, err
	}

	for _, doc := range docs {
		if err := w.mapping(doc, root()); err != nil {
			return Clear{}, err
		}
	}

	if err := w.rules.check(); err != nil {
		return Clear{}, err
	}

	content, err := emit(docs, to)
	if err != nil {
		return Clear{}, err
	}

	return Clear{Content: content, Values: w.opened}, nil
}

// ErrInternal says that a library could not cope with a file, for errors.Is.
var ErrInternal = errors.New("the file cannot be read")

// guard turns a panic of a library that reads foreign bytes into an error.
func guard(err *error) {
	if recover() != nil {
		*err = ErrInternal
	}
}

// newWalker gets the data key of a file with the metadata.
func newWalker(ctx context.Context, fields map[string]any, keys Keys) (*walker, error) {
	m, err := parseMetadata(fields)
	if err != nil {
		return nil, fmt.Errorf("metadata: %w", err)
	}

	key, err := m.dataKey(ctx, keys)
	if err != nil {
		return nil, err
	}

	v, err := newValues(key)
	if err != nil {
		return nil, err
	}

	return &walker{values: v, rules: m.rules, ctx: ctx}, nil
}

// parse returns what is in a file beside its metadata, and these.
func parse(data []byte, format Format) (docs []document, fields map[string]any, err error) {
	switch format {
	case YAML:
		docs, err = parseYAML(data)
	case JSON, Binary:
		docs, err = only(parseJSON(data))
	case Dotenv:
		docs, err = only(parseDotenv(data))
	case INI:
		docs, err = only(parseINI(data))
	default:
		err = fmt.Errorf("%q is no format", format)
	}

	if err != nil {
		return nil, nil, err
	}

	if len(docs) == 0 {
		return nil, nil, ErrNotEncrypted
	}

	if format == Dotenv {
		docs[0], fields = takeFlat(docs[0])

		return docs, fields, nilOr(fields == nil, ErrNotEncrypted)
	}

	return extract(docs, format)
}

func only(doc document, err error) ([]document, error) { return []document{doc}, err }

func nilOr(failed bool, err error) error {
	if failed {
		return err
	}

	return nil
}

// extract takes the metadata out of all documents. Those of the first one count.
func extract(docs []document, format Format) ([]document, map[string]any, error) {
	var fields map[string]any

	for i, doc := range docs {
		rest, value, found := doc.take(metadataKey)
		docs[i] = rest

		if i > 0 {
			continue
		}

		if found == 0 {
			return nil, nil, ErrNotEncrypted
		}

		var ok bool
		if fields, ok = plainValue(value).(map[string]any); !ok || found > 1 {
			return nil, nil, fmt.Errorf("%q is not one mapping", metadataKey)
		}
	}

	if format == INI {
		fields = unflattenINI(fields)
	}

	return docs, fields, nil
}

// takeFlat takes the metadata out of a file in which they stand among the values.
func takeFlat(doc document) (rest document, fields map[string]any) {
	const prefix = metadataKey + "_"

	flat := map[string]any{}
	rest = make(document, 0, len(doc))

	for _, e := range doc {
		if name, ok := strings.CutPrefix(e.key, prefix); ok && e.comment == nil {
			flat[name] = e.value
		} else {
			rest = append(rest, e)
		}
	}

	if len(flat) == 0 {
		return rest, nil
	}

	return rest, unflatten(flat)
}

// unflattenINI makes metadata of a section, in which newlines are written as \n.
func unflattenINI(flat map[string]any) map[string]any {
	for key, value := range flat {
		if s, ok := value.(string); ok {
			flat[key] = strings.ReplaceAll(s, `\n`, "\n")
		}
	}

	return unflatten(flat)
}

func emit(docs []document, format Format) ([]byte, error) {
	if format == YAML {
		return emitYAML(docs)
	}

	if len(docs) != 1 {
		return nil, fmt.Errorf("%d documents do not fit in a file of format %s", len(docs), format)
	}

	switch format {
	case JSON:
		return emitJSON(docs[0])
	case Dotenv:
		return emitDotenv(docs[0])
	case INI:
		return emitINI(docs[0])
	case Binary:
		return emitBinary(docs[0])
	default:
		return nil, fmt.Errorf("%q is no format", format)
	}
}
