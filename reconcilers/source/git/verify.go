package git

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/weir-dev/weir/api/meta"
	sourcev1 "github.com/weir-dev/weir/api/source/v1"
	"github.com/weir-dev/weir/reconcilers/engine"
	"github.com/weir-dev/weir/reconcilers/flight"
	"github.com/weir-dev/weir/reconcilers/secrets"
	"github.com/weir-dev/weir/reconcilers/source"
	"github.com/weir-dev/weir/reconcilers/verify"
)

// maxKeyrings bounds the keyrings that are kept ready for use.
const maxKeyrings = 256

// trust finds out who may sign. Without spec.verify, nothing is said about signatures.
func (r *reconciler) trust(ctx context.Context, obj *sourcev1.GitRepository, s *scope) error {
	v := obj.Spec.Verification
	if v == nil {
		obj.Status.SourceVerificationMode, obj.Status.SourceVerificationFingerprint = nil, ""
		engine.Unset(obj, meta.SourceVerifiedCondition)

		return nil
	}

	if v.VerifiesTag() && !namesTag(obj.Spec.Reference) {
		return unverified(obj, engine.Stall(sourcev1.InvalidVerificationModeReason,
			errors.New("cannot verify tag object's signature if a tag reference is not specified")))
	}

	secret, err := secrets.Get(ctx, r.Secrets, obj.Namespace, v.SecretRef.Name)
	if err != nil {
		return unverified(obj, engine.Fail(sourcev1.VerificationErrorReason, err))
	}

	if s.keyring, err = r.keyring(secret.Data); err != nil {
		return unverified(obj, engine.Fail(sourcev1.VerificationErrorReason,
			fmt.Errorf("secret '%s/%s': %w", secret.Namespace, secret.Name, err)))
	}

	return nil
}

// namesTag tells whether the reference is one to a tag. Of its fields, the one counts that resolve takes.
func namesTag(ref *sourcev1.GitRepositoryRef) bool {
	switch {
	case ref == nil, ref.Commit != "":
		return false
	case ref.Name != "":
		return strings.HasPrefix(ref.Name, tagsRef)
	}

	return ref.Tag != "" || ref.SemVer != ""
}

// unverified says that nothing that is new may be trusted, and why.
func unverified(obj *sourcev1.GitRepository, err error) error {
	if v, ok := errors.AsType[*engine.Verdict](err); ok {
		engine.Set(obj, meta.SourceVerifiedCondition, metav1.ConditionFalse, v.Reason, err.Error())
	}

	return err
}

// keyring reads public keys. It is done once for each set of them.
func (r *reconciler) keyring(data map[string][]byte) (*verify.Keyring, error) {
	parts := make([]string, 0, 2*len(data)) //nolint:mnd // each has a name and a value
	for _, name := range slices.Sorted(maps.Keys(data)) {
		parts = append(parts, name, string(data[name]))
	}

	key := flight.FingerprintOf(parts...)
	if k, ok := r.keyrings.Get(key); ok {
		return k, nil
	}

	k, err := verify.NewKeyring(data)
	if err != nil {
		return nil, err //nolint:wrapcheck // it is the whole story
	}

	k.Now = r.Remotes.options.Now
	r.keyrings.Put(key, k)

	return k, nil
}

// due tells whether the target has to be verified although it is the one that is stored: with other keys, in another mode, or
// because what was verified last is something else.
func due(obj *sourcev1.GitRepository, s *scope) bool {
	v := obj.Spec.Verification
	if v == nil {
		return false
	}

	st := &obj.Status
	if st.SourceVerificationMode == nil || *st.SourceVerificationMode != v.GetMode() ||
		st.SourceVerificationFingerprint != s.keyring.Fingerprint() {
		return true
	}

	c := engine.Condition(obj, meta.SourceVerifiedCondition)
	if c == nil || c.Status != metav1.ConditionTrue {
		return true
	}

	return v.VerifiesHEAD() && !strings.Contains(c.Message, s.target.commit.String()) ||
		v.VerifiesTag() && !strings.Contains(c.Message, s.target.want.String())
}

// verify lets only what somebody signed who is trusted go on to be archived.
func (r *reconciler) verify(_ context.Context, obj *sourcev1.GitRepository, s *scope) error {
	v := obj.Spec.Verification
	if v == nil {
		return nil
	}

	lines, err := attest(v, s.keyring, s.target, s.facts)
	if err != nil {
		return unverified(obj, err)
	}

	engine.Set(obj, meta.SourceVerifiedCondition, metav1.ConditionTrue, meta.SucceededReason,
		"verified signature of\n\t- "+strings.Join(lines, "\n\t- "))

	if !stored(obj, s) {
		return nil
	}

	verified(obj, s)
	source.Current(obj)

	return engine.Done()
}

// verified writes down how the artifact was verified.
func verified(obj *sourcev1.GitRepository, s *scope) {
	if v := obj.Spec.Verification; v != nil {
		obj.Status.SourceVerificationMode = new(v.GetMode())
		obj.Status.SourceVerificationFingerprint = s.keyring.Fingerprint()
	}
}

// signers is a keyring.
type signers interface {
	// Verify returns who signed the payload.
	Verify(payload, signature []byte) (signer string, err error)
}

// attest verifies what has to be signed, and says by whom it was. Its errors are verdicts.
func attest(v *sourcev1.GitRepositoryVerification, k signers, t target, f facts) ([]string, error) {
	var lines []string

	if v.VerifiesTag() {
		signer, err := attestTag(k, t, f)
		if err != nil {
			return nil, err
		}

		lines = append(lines, fmt.Sprintf("tag '%s@%s' with key '%s'", t.tag, t.want, signer))
	}

	if v.VerifiesHEAD() {
		signer, err := attestCommit(k, f)
		if err != nil {
			return nil, err
		}

		lines = append(lines, fmt.Sprintf("commit '%s' with key '%s'", f.hash, signer))
	}

	return lines, nil
}

func attestTag(k signers, t target, f facts) (signer string, err error) {
	name := fmt.Sprintf("tag '%s@%s'", t.tag, t.want)
	invalid := func(reason string) error {
		return engine.Fail(sourcev1.InvalidGitObjectReason, fmt.Errorf("cannot verify signature of %s: %s", name, reason))
	}

	if len(f.raw) < 2 { //nolint:mnd // a tag and a commit
		return "", invalid("it is not an annotated tag")
	}

	head, err := readTag(f.raw[0])
	if err != nil {
		return "", invalid(err.Error())
	}

	// A signature is over the name too: whoever may push tags, but not sign them, must not make an old release a new one.
	if head.name != t.tag {
		return "", invalid(fmt.Sprintf("it is the tag object of '%s'", head.name))
	}

	o := splitTag(f.raw[0])
	if len(o.signature) == 0 {
		return "", invalid("it is not signed")
	}

	if signer, err = k.Verify(o.payload, o.signature); err != nil {
		return "", engine.Fail(sourcev1.InvalidTagSignatureReason, fmt.Errorf("signature verification of %s failed: %w", name, err))
	}

	return signer, nil
}

func attestCommit(k signers, f facts) (signer string, err error) {
	invalid := func(reason string) error {
		return engine.Fail(sourcev1.InvalidGitObjectReason,
			fmt.Errorf("cannot verify signature of commit '%s': %s", f.hash, reason))
	}

	o, err := splitCommit(f.raw[len(f.raw)-1], f.tree)

	switch {
	case err != nil:
		return "", invalid(err.Error())
	case len(o.signature) == 0:
		return "", invalid("it is not signed")
	}

	if signer, err = k.Verify(o.payload, o.signature); err != nil {
		return "", engine.Fail(sourcev1.InvalidCommitSignatureReason,
			fmt.Errorf("signature verification of commit '%s' failed: %w", f.hash, err))
	}

	return signer, nil
}
