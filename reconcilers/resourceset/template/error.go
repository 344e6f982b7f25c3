package template

import (
	"errors"
	"regexp"
	"slices"
	"strings"
)

// Error is a fault of a ResourceSet, its inputs, or what it refers to: to try again changes nothing before they do.
type Error struct {
	// Step of the spec, empty without steps.
	Step string

	// Place in the spec, such as resources[2] or resourcesTemplate, or the object, such as ConfigMap/ns/name.
	Place string

	// Input that was rendered: its id in quotes, or its position as in [0]. Empty if none was.
	Input string

	// Err is what is wrong with it. It holds no values of inputs, unless the template itself puts some into fail.
	Err error
}

// Error names the step, the place and the input, and says what is wrong.
func (e *Error) Error() string {
	var b strings.Builder

	if e.Step != "" {
		b.WriteString("step \"" + e.Step + "\": ")
	}

	if e.Place != "" {
		b.WriteString(e.Place)

		if e.Input != "" {
			b.WriteString(" with input " + e.Input)
		}

		b.WriteString(": ")
	}

	return b.String() + e.Err.Error()
}

// Unwrap returns what is wrong.
func (e *Error) Unwrap() error { return e.Err }

// fault is an error that a function of a template, or its guard, words itself: it may be shown.
type fault string

func (f fault) Error() string { return string(f) }

// plain returns what of a message of a YAML library may be shown: nothing that follows after the first quote, for libraries
// quote values.
func plain(err error) string {
	message := err.Error()
	if i := strings.IndexAny(message, "\"'`\n"); i >= 0 {
		message = message[:i]
	}

	return strings.TrimRight(message, " :(,")
}

// These take apart what the template library says: "template: NAME:LINE: …" when it parses, and when it executes
// "template: NAME:LINE:COLUMN: executing "NAME" at <CONTEXT>: …".
var (
	parseMessage   = regexp.MustCompile(`(?s)^template: [^:]*:(\d+): (.*)$`)
	executeMessage = regexp.MustCompile(`(?s)^template: [^:]*:(\d+):\d+: executing ".*?" at <(.*)>: (.*)$`)
	callMessage    = regexp.MustCompile(`(?s)^error calling (\w+): (.*)$`)
)

// harmless returns the beginnings of messages of the template library that hold names of fields and types, and numbers, but
// no values.
func harmless() []string {
	return []string{
		"map has no entry for key ", "nil data; no entry for key ", "can't evaluate field ", "nil pointer evaluating ",
		"wrong number of args for ", "wrong type for value; ", "invalid value; expected ", "exceeded maximum template depth ",
		"index out of range: ", "cannot index slice/array with ", "can't index item of type ", "index of untyped nil",
		"index of nil pointer", "incompatible types for comparison: ", "invalid type for comparison", "missing argument for comparison",
		"len of ", "can't slice item of type ", "invalid slice index: ", "can't give argument to non-function ",
		"value is nil; should be of type ", "value has type ",
	}
}

// parseFault words an error of parsing a template. It may quote the template, which is no secret.
func parseFault(err error) error {
	if m := parseMessage.FindStringSubmatch(err.Error()); m != nil {
		return fault("parse the template: line " + m[1] + ": " + m[2])
	}

	return fault("the template cannot be parsed")
}

// evaluationFault words an error of executing a template. The library quotes values of inputs in some of them.
func evaluationFault(err error) error {
	m := executeMessage.FindStringSubmatch(err.Error())
	if m == nil {
		return fault("the template cannot be evaluated")
	}

	line, context, message := m[1], m[2], m[3]

	call := ""
	if c := callMessage.FindStringSubmatch(message); c != nil {
		call, message = c[1]+": ", c[2]
	}

	if own, ok := errors.AsType[fault](err); ok {
		message = string(own)
	} else if !slices.ContainsFunc(harmless(), func(p string) bool { return strings.HasPrefix(message, p) }) {
		message = "it cannot be evaluated with such a value"
	}

	// A guard is nothing that the user wrote, and a literal may be a secret.
	context = strings.TrimSuffix(context, " | "+guardName)
	if strings.HasPrefix(call, ours) {
		call = ""
	}

	if len(context) > 60 || strings.HasPrefix(context, ours) || strings.ContainsAny(context, "\"`'\n") {
		context = ""
	} else {
		context = " at <" + context + ">"
	}

	return fault("line " + line + context + ": " + call + message)
}
