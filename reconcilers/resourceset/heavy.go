package resourceset

import "errors"

// maxHeavy is how many sets may be there at a time that take seconds to render, or tens of megabytes: all who render what takes long
// must not hold the workers that others need, and what they render must not fill the memory together.
const maxHeavy = 4

// errBusy says that there are as many as there may be. Who meets it gives its worker back.
var errBusy = errors.New("other large sets are being built")

// admit lets the run have a heavy set until its end.
func (r *reconciler) admit(s *scope) error {
	select {
	case r.heavy <- struct{}{}:
		s.release = func() { <-r.heavy }
		return nil
	default:
		return errBusy
	}
}

// drop forgets the objects of a heavy set at the end of the run, and leaves of it what the next run of the attempt compares: a set that
// waits for health may wait long, and is rendered again when there is news.
func (s *scope) drop() {
	if s.release == nil {
		return
	}
	if a := s.memo.attempt; a != nil && a.set != nil {
		a.set = &set{digest: a.set.digest}
	}
	s.release()
}
