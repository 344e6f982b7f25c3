package oci

import (
	"cmp"
	"context"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/Masterminds/semver/v3"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/weir-dev/weir/api/meta"
	sourcev1 "github.com/weir-dev/weir/api/source/v1"
	"github.com/weir-dev/weir/reconcilers/engine"
	"github.com/weir-dev/weir/reconcilers/source"
)

// bounded runs what waits for servers: not longer than the object says, and beside those who need not wait.
func (r *reconciler) bounded(ctx context.Context, obj *sourcev1.OCIRepository, wait func(context.Context) error) error {
	return r.lane.Bounded(ctx, obj.Namespace, obj.GetTimeout(), wait) //nolint:wrapcheck // it is the error of wait
}

// resolve finds out which manifest is meant.
func (r *reconciler) resolve(ctx context.Context, obj *sourcev1.OCIRepository, s *scope) error {
	since := s.started
	if !source.Asked(obj) {
		since = since.Add(-r.Registries.Moment())
	}

	reference, err := r.reference(ctx, obj, s, since)
	if err != nil {
		return engine.Fail(meta.ReadOperationFailedReason,
			fmt.Errorf("failed to determine the artifact tag for '%s': %w", obj.Spec.URL, err))
	}

	// A digest stays what it is. But who changed something, or asks for a look, wants to know whether it can be reached.
	if isDigest(reference) && !source.Asked(obj) && settled(obj) && obj.Status.Artifact.HasRevision(reference) {
		s.revision = reference
		s.digest, err = v1.NewHash(reference)

		return err //nolint:wrapcheck // it was checked when it was stored
	}

	look := s.repository.Resolve
	if obj.Status.Artifact == nil {
		look = s.repository.Pull // it will be needed
	}

	err = r.bounded(ctx, obj, func(ctx context.Context) error {
		d, err := look(ctx, reference, since)
		s.digest = d.Digest

		return err
	})
	if err != nil {
		return fmt.Errorf("failed to determine artifact digest: %w", err)
	}

	s.revision = s.digest.String()
	if !isDigest(reference) {
		s.revision = reference + "@" + s.revision
	}

	if !obj.Status.Artifact.HasRevision(s.revision) {
		source.Outdated(ctx, obj, sourcev1.NewRevisionReason, fmt.Sprintf("new revision '%s' for '%s'", s.revision, obj.Spec.URL))
	}

	return nil
}

func isDigest(reference string) bool { return strings.Contains(reference, ":") }

// reference returns the tag or the digest that the object asks for.
func (r *reconciler) reference(ctx context.Context, obj *sourcev1.OCIRepository, s *scope, since time.Time) (string, error) {
	ref := obj.Spec.Reference

	switch {
	case ref == nil:
		return sourcev1.DefaultOCITag, nil
	case ref.Digest != "":
		if _, err := v1.NewHash(ref.Digest); err != nil {
			return "", fmt.Errorf("'%s' is no digest", ref.Digest)
		}

		return ref.Digest, nil
	case ref.SemVer == "":
		return cmp.Or(ref.Tag, sourcev1.DefaultOCITag), nil
	}

	choice, err := newChoice(ref, obj.GetLayerMediaType() == helmContent)
	if err != nil {
		return "", err
	}

	var tag string

	err = r.bounded(ctx, obj, func(ctx context.Context) error {
		tags, err := s.repository.Tags(ctx, since)
		if err != nil {
			return err
		}

		tag, err = choice.of(ctx, tags)

		return err
	})

	return tag, err
}

// helmContent is the media type of charts, whose tags have "_" where the version has "+".
const helmContent = "application/vnd.cncf.helm.chart.content.v1.tar+gzip"

// choice is what decides between tags.
type choice struct {
	text   string
	within *semver.Constraints
	filter *regexp.Regexp
	chart  bool
}

func newChoice(ref *sourcev1.OCIRepositoryRef, chart bool) (choice, error) {
	c := choice{text: ref.SemVer, chart: chart}

	var err error
	if c.within, err = semver.NewConstraint(ref.SemVer); err != nil {
		return c, fmt.Errorf("semver '%s' parse error: %w", ref.SemVer, err)
	}

	if ref.SemverFilter == "" {
		return c, nil
	}

	if c.filter, err = regexp.Compile(ref.SemverFilter); err != nil {
		return c, fmt.Errorf("semverFilter '%s' parse error: %w", ref.SemverFilter, err)
	}

	return c, nil
}

// of returns the tag of the highest version. Of those that only differ in what does not count, it is the last one by name. A
// filter may be of any size, and tags are many: it ends with the context.
func (c choice) of(ctx context.Context, tags []string) (string, error) {
	var (
		best    *semver.Version
		bestTag string
	)

	for _, tag := range tags {
		if err := ctx.Err(); err != nil {
			return "", err
		}

		if c.filter != nil && !c.filter.MatchString(tag) {
			continue
		}

		text := tag
		if c.chart {
			text = strings.ReplaceAll(tag, "_", "+")
		}

		version, err := semver.NewVersion(text)
		if err != nil || !c.within.Check(version) {
			continue
		}

		if best == nil || cmp.Or(version.Compare(best), strings.Compare(tag, bestTag)) > 0 {
			best, bestTag = version, tag
		}
	}

	if best == nil {
		return "", fmt.Errorf("no match found for semver: %s", c.text)
	}

	return bestTag, nil
}
