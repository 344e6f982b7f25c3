package access

import (
	"errors"
	"fmt"
	"sync"
)

// ErrNoRoom says that what a cluster answers, or what is kept of it, takes more memory than it may.
var ErrNoRoom = errors.New("there is no room")

// Room bounds the memory that the answers of clusters take, and what is kept of them: one that is not trusted must not use up
// the process. Rooms lie within each other, such as that of a cluster in that of its tenant. A nil *Room has no bounds. Its
// methods may be called concurrently.
type Room struct {
	within *Room
	what   string
	most   int64

	mu   sync.Mutex
	used int64
}

// NewRoom makes a room of so many bytes within another one, or within nothing. Errors name it by what it is for.
func NewRoom(what string, most int64, within *Room) *Room {
	return &Room{within: within, what: what, most: most}
}

// Take takes so many bytes, or none and returns an error that wraps ErrNoRoom. Less than nothing gives back.
func (r *Room) Take(n int64) error {
	if r == nil || n == 0 {
		return nil
	}
	if err := r.take(n); err != nil {
		return err
	}
	if err := r.within.Take(n); err != nil {
		r.give(n)
		return err
	}
	return nil
}

// Give gives back what was taken.
func (r *Room) Give(n int64) { _ = r.Take(-n) }

// Used returns how many bytes are taken.
func (r *Room) Used() int64 {
	if r == nil {
		return 0
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.used
}

func (r *Room) take(n int64) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if n > 0 && r.used+n > r.most {
		return fmt.Errorf("%w: %s would take more than %d bytes", ErrNoRoom, r.what, r.most)
	}
	r.used += n
	return nil
}

func (r *Room) give(n int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.used -= n
}
