package verify

import (
	"errors"
	"fmt"
	"strings"
)

// maxReasons bounds how many reasons an error gives, and maxReason the bytes of each.
const (
	maxReasons = 3
	maxReason  = 300
)

// refusals collects why signatures do not count, and what stood in the way of knowing.
type refusals struct{ reasons, obstacles list }

// note keeps what went wrong when a signature was read.
func (r *refusals) note(err error) {
	if errors.Is(err, errUnfit) {
		r.reasons.add(err)
	} else {
		r.obstacles.add(err)
	}
}

// add keeps why a signature does not count.
func (r *refusals) add(err error) { r.reasons.add(err) }

// err is what stood in the way, or ErrNotTrusted with the reasons, or ErrNoSignature when there are none.
func (r *refusals) err() error {
	switch {
	case len(r.obstacles.errs) > 0:
		return &refusal{text: r.obstacles.text(), causes: r.obstacles.errs}
	case len(r.reasons.errs) > 0:
		return &refusal{
			text: ErrNotTrusted.Error() + ": " + r.reasons.text(), causes: append([]error{ErrNotTrusted}, r.reasons.errs...),
		}
	default:
		return ErrNoSignature
	}
}

// list is a bounded list of errors.
type list struct {
	errs []error
	more int
}

// add keeps one error of each kind, up to a number.
func (l *list) add(err error) {
	err = plain(err)

	for _, have := range l.errs {
		if have.Error() == err.Error() {
			return
		}
	}

	if len(l.errs) >= maxReasons {
		l.more++

		return
	}

	l.errs = append(l.errs, err)
}

func (l *list) text() string {
	words := make([]string, 0, len(l.errs)+1)
	for _, err := range l.errs {
		words = append(words, err.Error())
	}

	if l.more > 0 {
		words = append(words, fmt.Sprintf("and %d more reasons", l.more))
	}

	return strings.Join(words, "; ")
}

// refusal is an error with causes.
type refusal struct {
	text   string
	causes []error
}

// Error implements error.
func (r *refusal) Error() string { return r.text }

// Unwrap returns the causes.
func (r *refusal) Unwrap() []error { return r.causes }

// notTrusted is ErrNotTrusted for one reason.
func notTrusted(reason error) error {
	reason = plain(reason)

	return &refusal{text: ErrNotTrusted.Error() + ": " + reason.Error(), causes: []error{ErrNotTrusted, reason}}
}

// reason is an error fit for a condition: what is signed badly may hold anything, in any length.
type reason struct {
	text string
	err  error
}

// Error implements error.
func (r *reason) Error() string { return r.text }

// Unwrap returns the error as it was.
func (r *reason) Unwrap() error { return r.err }

// plain returns the error in one line of bounded length, without control characters.
func plain(err error) error {
	text := err.Error()
	cut := text[:min(len(text), maxReason)]

	clean := strings.Join(strings.FieldsFunc(strings.ToValidUTF8(cut, ""), func(r rune) bool {
		return r < ' ' || r == 0x7f || r == '\u2028' || r == '\u2029' || r == ' '
	}), " ")

	if len(cut) < len(text) {
		clean += "…"
	}

	if clean == text {
		return err
	}

	return &reason{text: clean, err: err}
}
