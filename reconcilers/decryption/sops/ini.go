package sops

import (
	"bytes"
	"errors"
	"fmt"
	"strings"

	"gopkg.in/ini.v1"
)

func iniOptions() ini.LoadOptions { return ini.LoadOptions{AllowNonUniqueSections: true} }

func parseINI(data []byte) (document, error) {
	if err := checkMarks(data); err != nil {
		return nil, err
	}

	file, err := ini.LoadSources(iniOptions(), data)
	if err != nil {
		return nil, errors.New("it is not INI")
	}

	var doc document
	for _, s := range file.Sections() {
		doc = append(doc, entry{key: s.Name(), value: sectionOf(s)})
	}

	return doc, nil
}

// sectionOf returns a section with its own comment first, and those of keys behind them.
func sectionOf(s *ini.Section) mapping {
	section := mapping{}

	if s.Comment != "" {
		section = append(section, entry{comment: &comment{text: withoutMark(s.Comment)}})
	}

	for _, k := range s.Keys() {
		section = append(section, entry{key: k.Name(), value: k.Value()})

		if k.Comment != "" {
			section = append(section, entry{comment: &comment{text: withoutMark(k.Comment)}})
		}
	}

	return section
}

func withoutMark(text string) string {
	for _, mark := range []string{";", "#"} {
		if strings.HasPrefix(text, mark) {
			return strings.TrimLeft(text, mark+" ")
		}
	}

	return text
}

func emitINI(doc document) ([]byte, error) {
	file := ini.Empty(iniOptions())
	file.DeleteSection(ini.DefaultSection)

	for _, e := range doc {
		if e.comment != nil {
			continue
		}

		fields, ok := e.value.(mapping)
		if !ok {
			return nil, fmt.Errorf("%s does not fit in an INI file", plain(e.key))
		}

		section, err := file.NewSection(e.key)
		if err != nil {
			return nil, errWrite
		}

		if err := fillSection(section, fields); err != nil {
			return nil, err
		}
	}

	var out bytes.Buffer
	if _, err := file.WriteTo(&out); err != nil {
		return nil, errWrite
	}

	return out.Bytes(), nil
}

func fillSection(section *ini.Section, fields mapping) error {
	var last *ini.Key

	for i, e := range fields {
		if e.comment != nil {
			switch {
			case i == 0:
				section.Comment = e.comment.text
			case last != nil:
				last.Comment = e.comment.text
			}

			continue
		}

		value, ok := scalarText(e.value)
		if !ok {
			return fmt.Errorf("the value of %s does not fit in an INI file", plain(e.key))
		}

		key, err := section.NewKey(e.key, value)
		if err != nil {
			return errWrite
		}

		last = key
	}

	return nil
}
