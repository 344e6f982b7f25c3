package source

import "regexp"

// steadyError is an error in words that are the same each time.
type steadyError struct {
	err  error
	text string
}

// Error implements error.
func (e *steadyError) Error() string { return e.text }

// Unwrap returns the error.
func (e *steadyError) Unwrap() error { return e.err }

// steady leaves out of an error what is another thing each time that the same goes wrong, and would be news each time: our side of
// a connection, of which the port changes, the number of a stream of HTTP/2, and the time at which a certificate was found to have
// expired.
func steady(err error) error {
	if err == nil {
		return nil
	}

	text := err.Error()
	for _, r := range []struct{ changing, instead string }{
		{`\b((?:tcp|udp)[46]?) \S+->`, "$1 "},
		{`\b(?:stream ID \d+; |LastStreamID=\d+, )`, ""},
		{`: current time \S+ is (after|before) `, ": the time is $1 "},
	} {
		text = regexp.MustCompile(r.changing).ReplaceAllString(text, r.instead)
	}

	if text == err.Error() {
		return err
	}

	return &steadyError{err: err, text: text}
}
