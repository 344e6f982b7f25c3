package git

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/go-git/go-git/v5/plumbing"
)

// signedObject is a commit or a tag as somebody signed it.
type signedObject struct {
	payload   []byte // the object without its signature, byte for byte
	signature []byte // in its armour; empty if there is none
}

// Headers with signatures. In a repository with SHA-1 hashes, that for SHA-256 is for the same object in other repositories.
const (
	headerSignature       = "gpgsig"
	headerSignatureSHA256 = "gpgsig-sha256"
)

var errManySignatures = errors.New("it has more than one signature")

// splitCommit takes the signature out of a commit, as Git does. The payload has to be of the tree, which is what is archived.
func splitCommit(raw []byte, tree plumbing.Hash) (signedObject, error) {
	head, body := splitHead(raw)

	payload, signature, n := withoutSignatures(head)
	if n > 1 {
		return signedObject{}, errManySignatures
	}

	if !bytes.HasPrefix(payload, []byte("tree "+tree.String()+"\n")) {
		return signedObject{}, errors.New("it does not begin with its tree")
	}

	return signedObject{payload: append(payload, body...), signature: signature}, nil
}

// splitTag takes the signature off the end of a tag, as Git does: it begins with the last line that begins one.
func splitTag(raw []byte) signedObject {
	head, body := splitHead(raw)
	at := len(body)

	for i := 0; i < len(body); {
		if beginsSignature(body[i:]) {
			at = i
		}

		next := bytes.IndexByte(body[i:], '\n')
		if next < 0 {
			break
		}

		i += next + 1
	}

	payload, _, _ := withoutSignatures(head)

	return signedObject{payload: append(payload, body[:at]...), signature: body[at:]}
}

// beginsSignature tells whether the armour of a signature begins here.
func beginsSignature(b []byte) bool {
	for _, kind := range []string{"PGP SIGNATURE", "PGP MESSAGE", "SSH SIGNATURE", "SIGNED MESSAGE"} {
		if bytes.HasPrefix(b, fmt.Appendf(nil, "-----BEGIN %s-----", kind)) {
			return true
		}
	}

	return false
}

// splitHead returns the headers of an object, and what follows, which begins with an empty line.
func splitHead(raw []byte) (head, body []byte) {
	if i := bytes.Index(raw, []byte("\n\n")); i >= 0 {
		return raw[:i+1], raw[i+1:]
	}

	return raw, nil
}

// withoutSignatures takes the headers with signatures out of the headers of an object. It returns the signature, and how many
// there are.
func withoutSignatures(head []byte) (payload, signature []byte, n int) {
	in := "" // the header with a signature that the line belongs to

	for line := range bytes.Lines(head) {
		name, value, _ := bytes.Cut(line, []byte(" "))

		switch {
		case len(name) == 0: // the line goes on with the one before
		case string(name) == headerSignature:
			in = headerSignature
			n++
		case string(name) == headerSignatureSHA256:
			in = headerSignatureSHA256
		default:
			in = ""
		}

		switch in {
		case "":
			payload = append(payload, line...)
		case headerSignature:
			signature = append(signature, value...)
		}
	}

	return payload, signature, n
}
