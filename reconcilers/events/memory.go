package events

import (
	"crypto/sha256"
	"encoding/binary"
	"hash"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/weir-dev/weir/reconcilers/engine"
)

// fingerprint tells one event from another. Two that differ only in when they were made, or in the version of the objects they
// are about, are the same.
type fingerprint [16]byte

func fingerprintOf(n engine.Notification) fingerprint {
	h := sha256.New()

	write(h, n.Controller, n.Event.Type, n.Event.Reason, n.Event.Action, n.Event.Message)
	writeReference(h, &n.Object)
	writeReference(h, n.Event.Related)

	var sum [sha256.Size]byte

	return fingerprint(h.Sum(sum[:0])[:16])
}

func writeReference(h hash.Hash, r *corev1.ObjectReference) {
	if r != nil {
		write(h, r.APIVersion, r.Kind, r.Namespace, r.Name, string(r.UID), r.FieldPath)
	}
}

// write adds each text with its length, so that none can pass for parts of two.
func write(h hash.Hash, texts ...string) {
	var buffer [128]byte
	for _, s := range texts {
		b := binary.AppendUvarint(buffer[:0], uint64(len(s)))
		_, _ = h.Write(append(b, s...))
	}
}

// series is one event, and how often it came.
type series struct {
	key             fingerprint
	namespace, name string    // of the object in the API
	count, written  int       // how often it came, and what the API server knows of that: nothing if it was not created yet
	last            time.Time // when it came last
	told            time.Time // when the API server was told last
	due             time.Time // when it is told again, if it is late
	busy            bool      // it is queued, under way or late: who tells the API server sees the count
}

// memory knows the latest series. It is made of two halves, of which the older one is forgotten as a whole.
type memory struct {
	most     int           // that a half has at most
	age      time.Duration // after which a half is the older one
	now      map[fingerprint]*series
	before   map[fingerprint]*series
	turnedAt time.Time
}

// find returns the series if it is remembered, and remembers it for longer.
func (m *memory) find(key fingerprint, at time.Time) *series {
	switch since := at.Sub(m.turnedAt); {
	case since >= 2*m.age:
		m.turn(at)
		m.turn(at)
	case since >= m.age:
		m.turn(at)
	}

	if s := m.now[key]; s != nil {
		return s
	}

	s := m.before[key]
	if s != nil {
		m.put(s, at)
	}

	return s
}

func (m *memory) put(s *series, at time.Time) {
	if len(m.now) >= m.most {
		m.turn(at)
	}

	delete(m.before, s.key)
	m.now[s.key] = s
}

func (m *memory) turn(at time.Time) {
	m.before, m.now, m.turnedAt = m.now, map[fingerprint]*series{}, at
}

// forget drops the series, unless another one has its place.
func (m *memory) forget(s *series) {
	for _, half := range []map[fingerprint]*series{m.now, m.before} {
		if half[s.key] == s {
			delete(half, s.key)
		}
	}
}
