package git

import (
	"strings"
	"testing"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/google/go-cmp/cmp"
)

func TestSplitCommit(t *testing.T) {
	tree := strings.Repeat("a", 40)
	head := "tree " + tree + "\nparent " + strings.Repeat("b", 40) + "\nauthor A <a> 1 +0000\ncommitter A <a> 1 +0000\n"
	body := "\nFix it\n\ngpgsig is only a word here\n -----BEGIN PGP SIGNATURE-----\n"
	signature := "gpgsig -----BEGIN PGP SIGNATURE-----\n \n abc\n -----END PGP SIGNATURE-----\n"
	plain := "-----BEGIN PGP SIGNATURE-----\n\nabc\n-----END PGP SIGNATURE-----\n"

	cases := map[string]struct {
		reason    string
		raw       string
		payload   string
		signature string
		err       bool
	}{
		"Signed":   {reason: "The signature goes, with the lines that go on.", raw: head + signature + body, payload: head + body, signature: plain},
		"Unsigned": {reason: "Nothing goes.", raw: head + body, payload: head + body},
		"InTheMiddle": {
			reason:  "Headers after it stay, with theirs.",
			raw:     head + signature + "mergetag object x\n type commit\nencoding ISO-8859-1\n" + body,
			payload: head + "mergetag object x\n type commit\nencoding ISO-8859-1\n" + body, signature: plain,
		},
		"SHA256": {
			reason:  "A signature for the same commit with other hashes is not part of either.",
			raw:     head + strings.Replace(signature, "gpgsig", "gpgsig-sha256", 1) + signature + body,
			payload: head + body, signature: plain,
		},
		"SHA256Only": {
			reason:  "It is no signature of this one.",
			raw:     head + strings.Replace(signature, "gpgsig", "gpgsig-sha256", 1) + body,
			payload: head + body,
		},
		"Similar": {
			reason:  "A header with a similar name is one like others.",
			raw:     head + "gpgsigs x\n y\n" + body,
			payload: head + "gpgsigs x\n y\n" + body,
		},
		"Two":       {reason: "It has to be clear which one counts.", raw: head + signature + signature + body, err: true},
		"OtherTree": {reason: "What is signed has to be what is archived.", raw: strings.Replace(head, "a", "c", 1) + signature + body, err: true},
		"TreeTwice": {reason: "The first header counts, and it is the tree.", raw: "tree " + strings.Repeat("c", 40) + "\n" + head + signature + body, err: true},
		"NoMessage": {reason: "A commit need not have a message.", raw: head + signature, payload: head, signature: plain},
	}

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got, err := splitCommit([]byte(tc.raw), plumbing.NewHash(tree))
			if (err != nil) != tc.err {
				t.Fatalf("%s\nerror: %v", tc.reason, err)
			}

			if diff := cmp.Diff([]string{tc.payload, tc.signature}, []string{string(got.payload), string(got.signature)}); diff != "" {
				t.Errorf("%s\n-want +got:\n%s", tc.reason, diff)
			}
		})
	}
}

func TestSplitTag(t *testing.T) {
	head := "object " + strings.Repeat("a", 40) + "\ntype commit\ntag v1\ntagger A <a> 1 +0000\n"
	pgp := "-----BEGIN PGP SIGNATURE-----\n\nabc\n-----END PGP SIGNATURE-----\n"
	ssh := "-----BEGIN SSH SIGNATURE-----\nabc\n-----END SSH SIGNATURE-----\n"

	cases := map[string]struct{ reason, raw, payload, signature string }{
		"OpenPGP":  {reason: "The signature is at the end.", raw: head + "\nv1\n" + pgp, payload: head + "\nv1\n", signature: pgp},
		"SSH":      {reason: "The signature is at the end.", raw: head + "\nv1\n" + ssh, payload: head + "\nv1\n", signature: ssh},
		"Unsigned": {reason: "There need not be one.", raw: head + "\nv1\n", payload: head + "\nv1\n"},
		"Two":      {reason: "The last one is over all that is before it.", raw: head + "\nv1\n" + pgp + ssh, payload: head + "\nv1\n" + pgp, signature: ssh},
		"Quoted":   {reason: "It begins at the beginning of a line.", raw: head + "\n> " + ssh, payload: head + "\n> " + ssh},
		"InHead":   {reason: "Headers with signatures are for other hashes.", raw: head + "gpgsig-sha256 x\n y\n\nv1\n" + pgp, payload: head + "\nv1\n", signature: pgp},
		"After":    {reason: "What follows a signature is part of it, and makes it a wrong one.", raw: head + "\nv1\n" + pgp + "more\n", payload: head + "\nv1\n", signature: pgp + "more\n"},
		"NoBody":   {reason: "A signature is no header: the empty line in its armour ends them.", raw: head + pgp, payload: head + pgp},
	}

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got := splitTag([]byte(tc.raw))
			if diff := cmp.Diff([]string{tc.payload, tc.signature}, []string{string(got.payload), string(got.signature)}); diff != "" {
				t.Errorf("%s\n-want +got:\n%s", tc.reason, diff)
			}
		})
	}
}

func TestReadTag(t *testing.T) {
	object := strings.Repeat("a", 40)
	good := "object " + object + "\ntype commit\ntag v1\ntagger A <a> 1 +0000\n\nv1\n"

	if got, err := readTag([]byte(good)); err != nil || got != (tagHead{object: plumbing.NewHash(object), kind: "commit", name: "v1"}) {
		t.Errorf("got %+v, %v", got, err)
	}

	for reason, raw := range map[string]string{
		"Nothing is no tag.":                "",
		"The object comes first.":           "tag v1\nobject " + object + "\ntype commit\n",
		"An object has a hash.":             strings.Replace(good, object, object[1:], 1),
		"A hash is written in one way.":     strings.Replace(good, object, strings.ToUpper(object), 1),
		"A tag has a name.":                 strings.Replace(good, "tag v1", "tag ", 1),
		"There is nothing between headers.": strings.Replace(good, "type", "odd x\ntype", 1),
		"Lines come to an end.":             "object " + object + "\ntype commit\ntag v1",
	} {
		if got, err := readTag([]byte(raw)); err == nil {
			t.Errorf("%s\ngot %+v", reason, got)
		}
	}
}
