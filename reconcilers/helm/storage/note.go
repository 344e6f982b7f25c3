package storage

import (
	"encoding/json"
	"fmt"
	"strconv"
)

const noteField = "weir_note"

// Note is what the maker of a record tells itself, for when it is interrupted before it could write that down elsewhere. Helm and the
// Flux controller take it out when they write a record anew, and have none in the records that they make.
type Note struct {
	// Owner is the UID of the HelmRelease.
	Owner string `json:"owner"`
	// Action that made the release: install, upgrade or rollback.
	Action string `json:"action"`
	// OCIDigest and ConfigDigest are those of its snapshot. An empty ConfigDigest means that of the values in the record.
	OCIDigest    string `json:"oci_digest,omitempty"`
	ConfigDigest string `json:"config_digest,omitempty"`
}

// Sign puts a note into the records that are created from now on.
func (s *Secrets) Sign(n Note) { s.note = n }

// Note returns the note in a record that was read or created, and whether it has one.
func (s *Secrets) Note(name string, revision int) (Note, bool) {
	var n Note
	if err := json.Unmarshal(s.unknown[Key(name, revision)].fields[noteField], &n); err != nil {
		return Note{}, false
	}

	return n, n.Owner != ""
}

// fresh returns what a new record has besides the release.
func (s *Secrets) fresh() (unknown, error) {
	u := unknown{fields: map[string]json.RawMessage{}}

	if s.method != "" {
		u.fields[methodField] = json.RawMessage(strconv.Quote(s.method))
	}

	if s.note.Owner != "" {
		raw, err := json.Marshal(s.note)
		if err != nil {
			return unknown{}, fmt.Errorf("encode note: %w", err)
		}

		u.fields[noteField] = raw
	}

	return u, nil
}
