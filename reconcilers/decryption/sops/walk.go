package sops

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// ValueError says which value of a file could not be decrypted. It does not hold the value.
type ValueError struct {
	// Path of the value: the keys and indexes that lead to it.
	Path []string
	// Err is the reason.
	Err error
}

// Error implements error.
func (e *ValueError) Error() string {
	return fmt.Sprintf("value at %s: %v", plain(strings.Join(e.Path, ".")), e.Err)
}

// Unwrap returns the reason.
func (e *ValueError) Unwrap() error { return e.Err }

// walker decrypts a tree.
type walker struct {
	values *values
	rules  *rules
	opened []string // values as text

	ctx   context.Context // of one call, which goes through all levels
	steps int
}

// step ends a walk whose context has ended, or that costs too much.
func (w *walker) step() error {
	const often = 256

	if err := w.rules.check(); err != nil {
		return err
	}

	if w.steps++; w.steps%often == 0 && w.ctx.Err() != nil {
		return context.Cause(w.ctx)
	}

	return nil
}

// note keeps a value that was decrypted.
func (w *walker) note(value any) {
	if text, ok := scalarText(value); ok && text != "" {
		w.opened = append(w.opened, text)
	}
}

// place is where in a file a value is.
type place struct {
	path []string // with indexes, for messages

	// bound is what a value is authenticated with: the keys that lead to it, without indexes.
	bound string
	// key and comment say that a key above, or a comment before this or anything above, was selected by a rule.
	key, comment bool
}

// root is the place of what is not below any key.
func root() place { return place{bound: ":"} }

func (p place) child(key string, r *rules) place {
	bound := key + ":"
	if p.bound != ":" || len(p.path) > 0 {
		bound = p.bound + bound
	}

	return place{path: extend(p.path, key), bound: bound, key: p.key || r.selectsKey(key), comment: p.comment}
}

func (p place) item(i int) place {
	p.path = extend(p.path, strconv.Itoa(i))

	return p
}

func extend(path []string, step string) []string {
	return append(slices.Clip(path), step)
}

// enter refuses to go below what would cost too much: the way there is authenticated with each value.
func (w *walker) enter(at place) error {
	if len(at.bound) > maxBound {
		return errBound
	}

	return w.step()
}

// mapping decrypts all that is in a mapping, in place.
func (w *walker) mapping(m mapping, at place) error {
	if err := w.enter(at); err != nil {
		return err
	}

	above := at.comment // what comments in this mapping select ends with the next key

	for i := range m {
		e := &m[i]

		if e.comment != nil {
			e.comment, at.comment = w.comment(e.comment, at)

			continue
		}

		value, err := w.value(e.value, at.child(e.key, w.rules))
		if err != nil {
			return err
		}

		if _, ok := value.(*comment); ok {
			return &ValueError{Path: extend(at.path, e.key), Err: errType}
		}

		e.value, at.comment = value, above
	}

	return nil
}

// list decrypts all that is in a list, in place.
func (w *walker) list(l list, at place) error {
	above := at.comment

	for i, item := range l {
		if c, ok := item.(*comment); ok {
			l[i], at.comment = w.comment(c, at)

			continue
		}

		value, err := w.value(item, at.item(i))
		if err != nil {
			return err
		}

		l[i], at.comment = value, above
	}

	return nil
}

// comment decrypts a comment, and tells whether what follows is selected by it or those before. A comment that is not encrypted
// stays as it is, for older versions left them so.
func (w *walker) comment(c *comment, at place) (*comment, bool) {
	selected := at.comment || w.rules.selectsComment(c.text)

	encrypted := w.rules.encrypted(at.key, selected)
	if w.rules.encrypts { // the comment that says so is itself not encrypted
		encrypted = w.rules.encrypted(at.key, at.comment)
	}

	if !encrypted {
		return c, selected
	}

	switch plain, err := w.values.open(c.text, at.bound); plain := plain.(type) {
	case *comment:
		return plain, selected
	case string:
		if err == nil {
			return &comment{text: plain, inline: c.inline}, selected
		}
	}

	return c, selected
}

// value decrypts a value, and what is in it.
func (w *walker) value(v any, at place) (any, error) {
	switch v := v.(type) {
	case mapping:
		return v, w.mapping(v, at)
	case list:
		return v, w.list(v, at)
	default:
		return w.scalar(v, at)
	}
}

func (w *walker) scalar(v any, at place) (any, error) {
	if err := w.step(); err != nil {
		return nil, err
	}

	if v == nil || !w.rules.encrypted(at.key, at.comment) {
		return v, nil
	}

	text, ok := v.(string)
	if !ok {
		return nil, &ValueError{Path: at.path, Err: errNotEncrypted}
	}

	value, err := w.values.open(text, at.bound)
	if err != nil {
		return nil, &ValueError{Path: at.path, Err: err}
	}

	w.note(value)

	return value, nil
}
