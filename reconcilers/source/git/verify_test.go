package git_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/weir-dev/weir/api/meta"
	sourcev1 "github.com/weir-dev/weir/api/source/v1"
	"github.com/weir-dev/weir/test/gitserver"
)

// TestVerify runs each mode against what was signed by the right one, and by nobody, by somebody else, after the fact and with
// a key that is good no more. What is refused is not served, and what was served before stays.
func TestVerify(t *testing.T) {
	right, other := sshSigner(t), sshSigner(t)
	pgp, expired := gpgSigner(t, "0"), gpgSigner(t, "1m")
	anyone := []*gitserver.Signer{right}

	const commit, tagged = "commit", "tag"

	cases := map[string]struct {
		reason         string
		mode           string
		commit, tag    *gitserver.Signer // nil signs nothing
		tampered       string            // the kind of object
		light, renamed bool
		trusted        []*gitserver.Signer
		want           string
	}{
		"HEAD":         {reason: "The commit is signed.", mode: "HEAD", commit: right, trusted: anyone},
		"Default":      {reason: "The commit has to be signed if nothing else is said.", mode: "", commit: right, trusted: anyone},
		"Legacy":       {reason: "The old spelling means the same.", mode: "head", commit: right, trusted: anyone},
		"Tag":          {reason: "The tag is signed.", mode: "Tag", tag: right, trusted: anyone},
		"Both":         {reason: "Both are signed.", mode: "TagAndHEAD", commit: right, tag: right, trusted: anyone},
		"BothByTwo":    {reason: "Each may be signed by another one.", mode: "TagAndHEAD", commit: right, tag: pgp, trusted: []*gitserver.Signer{right, pgp}},
		"OpenPGP":      {reason: "Keys may be those of OpenPGP.", mode: "HEAD", commit: pgp, trusted: []*gitserver.Signer{pgp}},
		"OpenPGPTag":   {reason: "Keys may be those of OpenPGP.", mode: "Tag", tag: pgp, trusted: []*gitserver.Signer{other, pgp}},
		"HEADUnsigned": {reason: "A commit without a signature is refused.", mode: "HEAD", tag: right, trusted: anyone, want: "InvalidGitObject: cannot verify signature of commit '"},
		"TagUnsigned":  {reason: "A tag without a signature is refused.", mode: "Tag", commit: right, trusted: anyone, want: "InvalidGitObject: cannot verify signature of tag 'v1@"},
		"TagLight":     {reason: "What is no object cannot be signed.", mode: "Tag", commit: right, light: true, trusted: anyone, want: "InvalidGitObject: cannot verify signature of tag 'v1@"},
		"BothTagOnly":  {reason: "Both means both.", mode: "TagAndHEAD", tag: right, trusted: anyone, want: "InvalidGitObject: cannot verify signature of commit '"},
		"BothHEADOnly": {reason: "Both means both.", mode: "TagAndHEAD", commit: right, trusted: anyone, want: "InvalidGitObject: cannot verify signature of tag 'v1@"},
		"HEADWrong":    {reason: "Somebody else is not trusted.", mode: "HEAD", commit: other, trusted: anyone, want: "InvalidCommitSignature: signature verification of commit '"},
		"TagWrong":     {reason: "Somebody else is not trusted.", mode: "Tag", tag: other, trusted: anyone, want: "InvalidTagSignature: signature verification of tag 'v1@"},
		"PGPWrong":     {reason: "Somebody else is not trusted.", mode: "HEAD", commit: expired, trusted: []*gitserver.Signer{pgp}, want: "InvalidCommitSignature: "},
		"PGPTagWrong":  {reason: "Somebody else is not trusted.", mode: "Tag", tag: expired, trusted: []*gitserver.Signer{pgp}, want: "InvalidTagSignature: "},
		"BothOneWrong": {reason: "Both have to be trusted.", mode: "TagAndHEAD", commit: other, tag: right, trusted: anyone, want: "InvalidCommitSignature: "},
		"HEADTampered": {reason: "A signature is for nothing but what was signed.", mode: "HEAD", commit: right, tampered: commit, trusted: anyone, want: "InvalidCommitSignature: "},
		"PGPTampered":  {reason: "A signature is for nothing but what was signed.", mode: "HEAD", commit: pgp, tampered: commit, trusted: []*gitserver.Signer{pgp}, want: "InvalidCommitSignature: "},
		"TagTampered":  {reason: "A signature is for nothing but what was signed.", mode: "Tag", tag: right, tampered: tagged, trusted: anyone, want: "InvalidTagSignature: "},
		"PGPTagBroken": {reason: "A signature is for nothing but what was signed.", mode: "Tag", tag: pgp, tampered: tagged, trusted: []*gitserver.Signer{pgp}, want: "InvalidTagSignature: "},
		"Expired":      {reason: "A key that has expired is not trusted.", mode: "HEAD", commit: expired, trusted: []*gitserver.Signer{expired}, want: "InvalidCommitSignature: "},
		"TagExpired":   {reason: "A key that has expired is not trusted.", mode: "Tag", tag: expired, trusted: []*gitserver.Signer{expired}, want: "InvalidTagSignature: "},
		"TagRenamed":   {reason: "An old release under a new name is not what was signed.", mode: "Tag", tag: right, renamed: true, trusted: anyone, want: "InvalidGitObject: cannot verify signature of tag 'v1@"},
	}

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.trust(tc.trusted...)

			r := w.repository(t, "app")
			hash := signed(t, r, tc.commit)

			if tc.tampered == commit {
				hash = tamper(t, r, commit, hash)
				check(t, r.SetRef(t.Context(), "refs/heads/main", hash))
			}

			name := "v1"
			if tc.renamed {
				name = "v0"
			}

			switch {
			case tc.tag != nil:
				check(t, r.TagSigned(t.Context(), name, hash, "The signed words", tc.tag))
			case tc.light:
				check(t, r.Tag(t.Context(), name, hash, ""))
			default:
				check(t, r.Tag(t.Context(), name, hash, "Words"))
			}

			if tc.tampered == tagged {
				check(t, r.SetRef(t.Context(), "refs/tags/v1", tamper(t, r, tagged, "v1")))
			}

			if tc.renamed {
				check(t, r.SetRef(t.Context(), "refs/tags/v1", mustGit(t, r, "rev-parse", "refs/tags/v0")))
			}

			obj := object("app", w.serve(t, gitserver.HTTPOptions{}).URL(r),
				withRef(sourcev1.GitRepositoryRef{Tag: "v1"}), withVerify(tc.mode, "keys"))
			got := w.bench(t, obj).run(t, obj)

			if tc.want != "" {
				expect(t, got.Object, meta.ReadyCondition, "False "+tc.want)
				expect(t, got.Object, meta.SourceVerifiedCondition, "False "+tc.want)

				if a := got.Object.Status.Artifact; a != nil || got.Object.Status.SourceVerificationMode != nil {
					t.Errorf("%s\nwhat was refused is served: %+v", tc.reason, a)
				}

				if left := w.archived(t); len(left) > 0 {
					t.Errorf("%s\nwhat was refused was stored: %q", tc.reason, left)
				}

				return
			}

			var lines []string
			if tc.tag != nil && tc.mode != "HEAD" {
				lines = append(lines, "\n\t- tag 'v1@"+mustGit(t, r, "rev-parse", "refs/tags/v1")+"' with key '"+keyOf(t, tc.tag))
			}

			if tc.commit != nil && tc.mode != "Tag" {
				lines = append(lines, "\n\t- commit '"+hash+"' with key '"+keyOf(t, tc.commit))
			}

			message := condition(got.Object, meta.SourceVerifiedCondition)
			for _, line := range lines {
				if !strings.HasPrefix(message, "True Succeeded: verified signature of\n\t- ") || !strings.Contains(message, line) {
					t.Errorf("%s\ngot:  %q\nwant: %q", tc.reason, message, line)
				}
			}

			if n := strings.Count(message, "\n\t- "); n != len(lines) {
				t.Errorf("%s\n%q has %d lines, want %d", tc.reason, message, n, len(lines))
			}

			expect(t, got.Object, meta.ReadyCondition, "True Succeeded: stored artifact for revision 'v1@sha1:"+hash+"'")

			mode := tc.mode
			if mode == "" || mode == "head" {
				mode = "HEAD"
			}

			if st := got.Object.Status; *st.SourceVerificationMode != mode || !strings.HasPrefix(st.SourceVerificationFingerprint, "sha256:") {
				t.Errorf("%s\nmode %q, fingerprint %q", tc.reason, *st.SourceVerificationMode, st.SourceVerificationFingerprint)
			}
		})
	}
}

// TestVerifyConfiguration shows what is refused before any server is asked.
func TestVerifyConfiguration(t *testing.T) {
	signer := sshSigner(t)
	tagged := sourcev1.GitRepositoryRef{Tag: "v1"}

	cases := map[string]struct {
		reason  string
		mode    string
		ref     sourcev1.GitRepositoryRef
		secret  map[string]string // nil if it is not there
		want    string
		stalled bool
	}{
		"TagOfBranch": {
			reason: "A branch is no tag.", mode: "Tag", ref: sourcev1.GitRepositoryRef{Branch: "main"}, stalled: true,
			want: "InvalidVerificationMode: cannot verify tag object's signature if a tag reference is not specified",
		},
		"TagOfName": {
			reason: "A reference may be one to a branch.", mode: "TagAndHEAD", ref: sourcev1.GitRepositoryRef{Name: "refs/heads/main", Tag: "v1"},
			want: "InvalidVerificationMode: cannot verify tag object's signature", stalled: true,
		},
		"TagOfCommit": {
			reason: "A commit is no tag, and wins over one.", mode: "Tag",
			ref:  sourcev1.GitRepositoryRef{Commit: strings.Repeat("1", 40), Tag: "v1"},
			want: "InvalidVerificationMode: cannot verify tag object's signature", stalled: true,
		},
		"NoSecret":  {reason: "Without keys nobody is trusted.", mode: "HEAD", ref: tagged, want: "VerificationError: failed to get secret 'apps/keys': "},
		"NoKeys":    {reason: "Without keys nobody is trusted.", mode: "HEAD", ref: tagged, secret: map[string]string{}, want: "VerificationError: secret 'apps/keys': no public keys found"},
		"EmptyKeys": {reason: "Empty keys are none.", mode: "HEAD", ref: tagged, secret: map[string]string{"a.asc": "", "b.sshpub": string(signer.Public)}, want: "VerificationError: secret 'apps/keys': "},
		"Garbage":   {reason: "Keys have to be readable.", mode: "HEAD", ref: tagged, secret: map[string]string{"a.sshpub": "x"}, want: "VerificationError: secret 'apps/keys': "},
	}

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			if tc.secret != nil {
				w.secret("keys", tc.secret)
			}

			r := w.repository(t, "app")
			s := w.serve(t, gitserver.HTTPOptions{})
			obj := object("app", s.URL(r), withRef(tc.ref), withVerify(tc.mode, "keys"))

			got := w.bench(t, obj).run(t, obj)
			expect(t, got.Object, meta.ReadyCondition, "False "+tc.want)
			expect(t, got.Object, meta.SourceVerifiedCondition, "False "+tc.want)

			if stalled := condition(got.Object, meta.StalledCondition) != ""; stalled != tc.stalled || stalled != (got.Result.RequeueAfter == 0) {
				t.Errorf("%s\nstalled: %t, result %+v", tc.reason, stalled, got.Result)
			}

			if got.Object.Status.Artifact != nil || s.Counts() != (gitserver.Counts{}) {
				t.Errorf("%s\nartifact %v, requests %+v", tc.reason, got.Object.Status.Artifact, s.Counts())
			}
		})
	}
}

// What is refused leaves what was served before.
func TestRefusedRevision(t *testing.T) {
	signer, stranger := sshSigner(t), sshSigner(t)
	w := newWorld(t)
	w.trust(signer)

	r := w.repository(t, "app")
	good := signed(t, r, signer)
	s := w.serve(t, gitserver.HTTPOptions{})
	obj := object("app", s.URL(r), withVerify("HEAD", "keys"))
	b := w.bench(t, obj)
	first := b.run(t, obj).Object
	expect(t, first, meta.ReadyCondition, "True Succeeded: ")

	bad := signed(t, r, stranger)

	for range 3 { // it is tried again, and asks the server for nothing but the references
		w.clock.Advance(time.Minute)

		got := b.run(t, obj).Object
		expect(t, got, meta.ReadyCondition, "False InvalidCommitSignature: signature verification of commit '"+bad+"' failed: ")

		if diff := cmp.Diff(first.Status.Artifact, got.Status.Artifact); diff != "" {
			t.Errorf("-want +got:\n%s", diff)
		}
	}

	if got := s.Counts(); got.UploadPack != 2 {
		t.Errorf("requests: %+v", got)
	}

	// The revision that was good still is.
	check(t, r.SetRef(t.Context(), "refs/heads/main", good))
	w.clock.Advance(time.Minute)

	back := b.run(t, obj).Object
	expect(t, back, meta.ReadyCondition, "True Succeeded: stored artifact for revision 'main@sha1:"+good+"'")
	expect(t, back, meta.SourceVerifiedCondition, "True Succeeded: verified signature of\n\t- commit '"+good+"' with key 'SHA256:")
}

// update changes the object in the cluster.
func (b bench) update(t *testing.T, obj *sourcev1.GitRepository, change func(*sourcev1.GitRepositorySpec)) {
	t.Helper()

	current := &sourcev1.GitRepository{}
	check(t, b.api.Get(t.Context(), client.ObjectKeyFromObject(obj), current))
	change(&current.Spec)
	current.Generation++
	check(t, b.api.Update(t.Context(), current))
}

// TestVerifyAgain changes what decides on trust, of a revision that does not change.
func TestVerifyAgain(t *testing.T) {
	signer, stranger := sshSigner(t), sshSigner(t)

	// The last one says that it leaves out things, and refuses to leave out trees.
	for name, config := range map[string][]string{
		"Filters": {"uploadpack.allowFilter"}, "NoFilters": nil, "SomeFilters": {"uploadpack.allowFilter", "uploadpackfilter.blob:none.allow"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.trust(signer)

			r := w.repository(t, "app")
			hash := signed(t, r, signer)
			check(t, r.TagSigned(t.Context(), "v1", hash, "Release", signer))

			check(t, r.Configure(t.Context(), "uploadpackfilter.allow", fmt.Sprint(len(config) < 2)))

			for _, key := range config {
				check(t, r.Configure(t.Context(), key, "true"))
			}

			obj := object("app", w.serve(t, gitserver.HTTPOptions{}).URL(r), withRef(sourcev1.GitRepositoryRef{Tag: "v1"}))
			b := w.bench(t, obj)
			kept := b.run(t, obj).Object
			expect(t, kept, meta.SourceVerifiedCondition, "")

			step := func(reason, ready, verified string) *sourcev1.GitRepository {
				t.Helper()

				w.clock.Advance(time.Minute)

				// Another process has nothing in memory.
				b = bench{run: w.another(t, b), api: b.api}
				got := b.run(t, obj)
				expect(t, got.Object, meta.ReadyCondition, ready)
				expect(t, got.Object, meta.SourceVerifiedCondition, verified)

				if diff := cmp.Diff(kept.Status.Artifact, got.Object.Status.Artifact); diff != "" {
					t.Errorf("%s\n-want +got:\n%s", reason, diff)
				}

				return got.Object
			}

			b.update(t, obj, withVerify("HEAD", "keys"))
			step("switched on", "True ", "True Succeeded: verified signature of\n\t- commit '"+hash+"' with")

			b.update(t, obj, withVerify("Tag", "keys"))
			got := step("another mode", "True ", "True Succeeded: verified signature of\n\t- tag 'v1@")

			if *got.Status.SourceVerificationMode != "Tag" {
				t.Errorf("mode %q", *got.Status.SourceVerificationMode)
			}

			w.trust(stranger)
			step("other keys", "False InvalidTagSignature: ", "False InvalidTagSignature: ")

			w.trust(stranger, signer)
			again := step("both keys", "True ", "True Succeeded: verified signature of\n\t- tag 'v1@")

			if again.Status.SourceVerificationFingerprint == got.Status.SourceVerificationFingerprint {
				t.Error("the fingerprint is still that of the old keys")
			}

			b.update(t, obj, func(s *sourcev1.GitRepositorySpec) { s.Verification = nil })

			off := step("switched off", "True ", "")
			if off.Status.SourceVerificationMode != nil || off.Status.SourceVerificationFingerprint != "" {
				t.Errorf("status %+v", off.Status)
			}
		})
	}
}

// TestVerifyCosts shows that nothing is verified twice.
func TestVerifyCosts(t *testing.T) {
	signer := sshSigner(t)
	w := newWorld(t)
	w.trust(signer)

	r := w.repository(t, "app")
	signed(t, r, signer)

	s := w.serve(t, gitserver.HTTPOptions{})
	obj := object("app", s.URL(r), withVerify("HEAD", "keys"))
	b := w.bench(t, obj)
	first := b.run(t, obj).Object
	before := s.Counts()
	w.clock.Advance(time.Minute)

	second := b.run(t, obj)
	if diff := cmp.Diff(first.Status, second.Object.Status); diff != "" || len(second.Patches) > 0 {
		t.Errorf("-first +second:\n%s", diff)
	}

	if got := s.Counts(); got.InfoRefs != before.InfoRefs+1 || got.UploadPack != before.UploadPack {
		t.Errorf("requests before %+v, after %+v", before, got)
	}
}
