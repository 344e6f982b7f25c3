package registry

import (
	"net/http"
	"strings"
)

// challenge says what a registry wants to see: a part of the WWW-Authenticate header.
type challenge struct {
	scheme string // in lower case
	params map[string]string
}

// maxChallenge bounds the header, in bytes.
const maxChallenge = 8 << 10

// findChallenge returns the first challenge of an answer that can be met.
func findChallenge(h http.Header) (challenge, bool) {
	for _, value := range h.Values("WWW-Authenticate") {
		if len(value) > maxChallenge {
			continue
		}

		for _, c := range parseChallenges(value) {
			if c.scheme == "basic" || c.scheme == "bearer" && c.params["realm"] != "" {
				return c, true
			}
		}
	}

	return challenge{}, false
}

// parseChallenges reads the challenges of one header: <scheme> <name>=<value>, <name>="<value>", <scheme> …
func parseChallenges(s string) []challenge {
	var all []challenge

	for s = strings.TrimLeft(s, ", \t"); s != ""; s = strings.TrimLeft(s, ", \t") {
		word, rest := cutToken(s)
		if word == "" {
			return all // no header that can be understood
		}

		after := strings.TrimLeft(rest, " \t")
		if !strings.HasPrefix(after, "=") {
			all = append(all, challenge{scheme: strings.ToLower(word), params: map[string]string{}})
			s = rest

			continue
		}

		var value string
		value, s = cutValue(strings.TrimLeft(after[1:], " \t"))

		if len(all) > 0 {
			all[len(all)-1].params[strings.ToLower(word)] = value
		}
	}

	return all
}

// cutToken takes the characters off that a token may have.
func cutToken(s string) (token, rest string) {
	i := strings.IndexFunc(s, func(r rune) bool {
		return r <= ' ' || r >= 0x7f || strings.ContainsRune(`()<>@,;:\"/[]?={}`, r)
	})
	if i < 0 {
		return s, ""
	}

	return s[:i], s[i:]
}

// cutValue takes a token or a quoted string off.
func cutValue(s string) (value, rest string) {
	if !strings.HasPrefix(s, `"`) {
		i := strings.IndexAny(s, ", \t")
		if i < 0 {
			return s, ""
		}

		return s[:i], s[i:]
	}

	var b strings.Builder

	for i := 1; i < len(s); i++ {
		switch {
		case s[i] == '"':
			return b.String(), s[i+1:]
		case s[i] == '\\' && i+1 < len(s):
			i++
		}

		b.WriteByte(s[i])
	}

	return b.String(), ""
}
