package storage

import (
	"encoding/json"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
)

// maxKept is how large a record may be that is kept, in bytes of its Secret.
const maxKept = 64 << 10

// Memory is what was read and written of the records of a namespace, so that nothing is read twice: Helm asks again for each step of
// an action. It is for one reconcile, which takes the records to be as it has seen them first. What somebody else writes meanwhile
// shows when a revision is created that is there already, or in the next reconcile. It is not safe for concurrent use.
type Memory struct {
	releases map[string]map[string]*metav1.PartialObjectMetadata // by release and key; of those whose revisions are all known
	content  map[string][]byte                                   // Secrets by key
}

// revisions returns those of a release that have the labels, and whether they are known.
func (m *Memory) revisions(by map[string]string) ([]*metav1.PartialObjectMetadata, bool) {
	if m == nil || by[ownerLabel] != owner {
		return nil, false
	}

	all, ok := m.releases[by[nameLabel]]

	var found []*metav1.PartialObjectMetadata

	for _, meta := range all {
		if labels.SelectorFromSet(by).Matches(labels.Set(meta.Labels)) {
			found = append(found, meta)
		}
	}

	return found, ok
}

// learn takes in all revisions of a release.
func (m *Memory) learn(name string, all []*metav1.PartialObjectMetadata) {
	if m == nil {
		return
	}

	if m.releases == nil {
		m.releases = map[string]map[string]*metav1.PartialObjectMetadata{}
	}

	known := make(map[string]*metav1.PartialObjectMetadata, len(all))
	for _, meta := range all {
		known[meta.Name] = meta
	}

	m.releases[name] = known
}

// meta returns the metadata of a record, nil if it is not known.
func (m *Memory) meta(key string) *metav1.PartialObjectMetadata {
	if m == nil {
		return nil
	}

	name, _, _ := parse(key)

	return m.releases[name][key]
}

// read returns the Secret of a record, nil if it is not known.
func (m *Memory) read(key string) []byte {
	if m == nil {
		return nil
	}

	return m.content[key]
}

// keep takes in the Secret of a record.
func (m *Memory) keep(key string, raw []byte) {
	if m == nil {
		return
	}

	delete(m.content, key)

	if len(raw) > maxKept {
		return
	}

	if m.content == nil {
		m.content = map[string][]byte{}
	}

	m.content[key] = raw
}

// wrote takes in a record as it was written.
func (m *Memory) wrote(meta *metav1.PartialObjectMetadata, content []byte) {
	if m == nil {
		return
	}

	name, _, _ := parse(meta.Name)
	if known, ok := m.releases[name]; ok {
		known[meta.Name] = meta
	}

	var in secret
	in.Metadata.Name, in.Metadata.Labels, in.Data.Release = meta.Name, meta.Labels, content

	raw, err := json.Marshal(in)
	if err != nil {
		m.forget()

		return
	}

	m.keep(meta.Name, raw)
}

// deleted drops a record.
func (m *Memory) deleted(key string) {
	if m == nil {
		return
	}

	name, _, _ := parse(key)
	delete(m.releases[name], key)
	delete(m.content, key)
}

// forget drops all: nobody knows what a write that has failed has done.
func (m *Memory) forget() {
	if m != nil {
		m.releases, m.content = nil, nil
	}
}
