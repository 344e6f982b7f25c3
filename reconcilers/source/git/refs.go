package git

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/Masterminds/semver/v3"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp/capability"

	sourcev1 "github.com/weir-dev/weir/api/source/v1"
	"github.com/weir-dev/weir/reconcilers/source/git/transport"
)

const (
	headRef     = "HEAD"
	branchesRef = "refs/heads/"
	tagsRef     = "refs/tags/"
	peeledMark  = "^{}"

	// allowAnySHA1 is a capability that the library has no name for.
	allowAnySHA1 = capability.Capability("allow-any-sha1-in-want")
)

// listing is what a server advertises. It must not be changed: it is shared.
type listing struct {
	*packp.AdvRefs
	transport transport.Transport
}

// weight is about what a listing takes in memory, in bytes.
func (l *listing) weight() int64 {
	const each = 200

	return int64(len(l.References)+len(l.Peeled)) * each
}

// tip returns the object that a full reference names.
func (l *listing) tip(ref string) (plumbing.Hash, bool) {
	if ref == headRef {
		if l.Head == nil {
			return plumbing.ZeroHash, false
		}

		return *l.Head, true
	}

	h, ok := l.References[ref]

	return h, ok
}

// advertises tells whether any reference names the object.
func (l *listing) advertises(hash plumbing.Hash) bool {
	if l.Head != nil && *l.Head == hash {
		return true
	}

	for _, h := range l.References {
		if h == hash {
			return true
		}
	}

	return false
}

// givesAny tells whether the server gives objects that no reference names.
func (l *listing) givesAny() bool {
	return l.Capabilities.Supports(capability.AllowReachableSHA1InWant) || l.Capabilities.Supports(allowAnySHA1)
}

// filters tells whether the server can leave out objects by their kind or size.
func (l *listing) filters() bool { return l.Capabilities.Supports(capability.Filter) }

// tips returns what branches and tags point at, each once, in order.
func (l *listing) tips() []plumbing.Hash {
	var tips []plumbing.Hash

	for ref, h := range l.References {
		if strings.HasPrefix(ref, branchesRef) || strings.HasPrefix(ref, tagsRef) {
			tips = append(tips, h)
		}
	}

	slices.SortFunc(tips, func(a, b plumbing.Hash) int { return bytes.Compare(a[:], b[:]) })

	return slices.Compact(tips)
}

// target is a commit that an object asks for.
type target struct {
	// name of the branch, tag or reference, as it stands in the revision. It may be empty.
	name string

	// commit to store. It is what want leads to.
	commit plumbing.Hash

	// want is the object to ask the server for: the commit, or the tag that points to it.
	want plumbing.Hash

	// tag is the short name of the tag that was asked for, if it was one.
	tag string

	// within is the tip of the branch whose history has to hold the commit. Zero means that it need not be looked for.
	within plumbing.Hash

	// anywhere means that it is looked for in the history of all branches and tags.
	anywhere bool
}

// searched tells whether the commit has to be looked for in a history.
func (t target) searched() bool { return t.anywhere || !t.within.IsZero() }

// tips are what to ask for, so that what comes holds the target.
func (t target) tips(l *listing) []plumbing.Hash {
	switch {
	case t.anywhere:
		return l.tips()
	case !t.within.IsZero():
		return []plumbing.Hash{t.within}
	}

	return []plumbing.Hash{t.want}
}

// revision of the target, such as main@sha1:<commit>.
func (t target) revision() string {
	if t.name == "" {
		return "sha1:" + t.commit.String()
	}

	return t.name + "@sha1:" + t.commit.String()
}

// resolve returns the commit that the reference stands for. If several tags are equally high in the range of a semver, all of
// them are returned: the youngest one is meant. Of several fields the first of commit, name, tag, semver and branch counts.
func resolve(ref *sourcev1.GitRepositoryRef, l *listing) ([]target, error) {
	if ref == nil {
		ref = &sourcev1.GitRepositoryRef{}
	}

	switch {
	case ref.Commit != "":
		return one(resolveCommit(ref, l))
	case ref.Name != "":
		return one(resolveRef(ref.Name, ref.Name, l))
	case ref.Tag != "":
		return one(resolveRef(ref.Tag, tagsRef+ref.Tag, l))
	case ref.SemVer != "":
		return resolveSemVer(ref.SemVer, l)
	case ref.Branch != "":
		return one(resolveRef(ref.Branch, branchesRef+ref.Branch, l))
	}

	return one(resolveRef(sourcev1.DefaultGitBranch, branchesRef+sourcev1.DefaultGitBranch, l))
}

func one(t target, err error) ([]target, error) { return []target{t}, err }

// resolveRef finds a full reference. One that ends in ^{} means what an annotated tag points at, as one without it does.
func resolveRef(name, full string, l *listing) (target, error) {
	full = strings.TrimSuffix(full, peeledMark)

	want, ok := l.tip(full)
	if !ok {
		return target{}, fmt.Errorf("couldn't find remote ref %q", full)
	}

	t := target{name: name, commit: want, want: want}
	if tag, ok := strings.CutPrefix(full, tagsRef); ok {
		t.tag = tag
	}

	if peeled, ok := l.Peeled[full]; ok {
		t.commit = peeled
	}

	return t, nil
}

var errBadCommit = errors.New("a commit is given by the 40 hexadecimal digits of its hash")

// resolveCommit finds out how to get at a commit.
func resolveCommit(ref *sourcev1.GitRepositoryRef, l *listing) (target, error) {
	if !isCommit(ref.Commit) {
		return target{}, fmt.Errorf("commit %q: %w", ref.Commit, errBadCommit)
	}

	t := pinned(ref)

	branch := headRef
	if ref.Branch != "" {
		branch = branchesRef + ref.Branch
	}

	tip, ok := l.tip(branch)

	switch {
	case ok && tip == t.commit:
	case ref.Branch == "" && (l.givesAny() || l.advertises(t.commit)):
	case !ok:
		return target{}, fmt.Errorf("couldn't find remote ref %q", branch)
	default:
		t.within = tip
	}

	return t, nil
}

func isCommit(s string) bool {
	return len(s) == len(plumbing.ZeroHash.String()) && strings.Trim(s, "0123456789abcdef") == ""
}

// pinned is the target of a reference to a commit, as far as it is known without the server.
func pinned(ref *sourcev1.GitRepositoryRef) target {
	hash := plumbing.NewHash(ref.Commit)

	return target{name: ref.Branch, commit: hash, want: hash}
}

// resolveSemVer finds the tags of the highest version in a range. Tags that are no versions do not count.
func resolveSemVer(expression string, l *listing) ([]target, error) {
	constraint, err := semver.NewConstraint(expression)
	if err != nil {
		return nil, fmt.Errorf("semver %q: %w", expression, err)
	}

	var (
		best *semver.Version
		tags []string
	)

	for full := range l.References {
		tag, ok := strings.CutPrefix(full, tagsRef)
		if !ok {
			continue
		}

		v, err := semver.NewVersion(tag)
		if err != nil || !constraint.Check(v) {
			continue
		}

		switch {
		case best == nil || v.GreaterThan(best):
			best, tags = v, []string{tag}
		case v.Equal(best):
			tags = append(tags, tag)
		}
	}

	if best == nil {
		return nil, fmt.Errorf("no match found for semver: %s", expression)
	}

	slices.Sort(tags)

	targets := make([]target, 0, len(tags))
	for _, tag := range tags {
		t, err := resolveRef(tag, tagsRef+tag, l)
		if err != nil {
			return nil, err
		}

		targets = append(targets, t)
	}

	return targets, nil
}
