package storage

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"helm.sh/helm/v3/pkg/release"
	"helm.sh/helm/v3/pkg/storage/driver"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/weir-dev/weir/reconcilers/access"
)

// List implements driver.Driver. It reads every record of the namespace, and keeps those that the filter lets pass.
func (s *Secrets) List(filter func(*release.Release) bool) ([]*release.Release, error) {
	var out []*release.Release

	q := access.Query{Namespace: s.namespace, Labels: labels.Set{ownerLabel: owner}.String(), Full: true}

	_, err := s.client.Each(s.ctx, secrets(), q, func(item access.Item) error {
		r, err := s.decode(item.Raw)
		if err != nil {
			s.skipped(err)

			return nil
		}

		if filter(r) {
			out = append(out, r)
		}

		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list Secrets of namespace %q: %w", s.namespace, err)
	}

	return out, nil
}

// Query implements driver.Driver. Of each release, the newest revision that can be read and those that are deployed have their
// content. If none can be read, there is no release.
func (s *Secrets) Query(by map[string]string) ([]*release.Release, error) {
	for _, v := range by {
		if problems := validation.IsValidLabelValue(v); len(problems) > 0 {
			return nil, fmt.Errorf("invalid label value %q: %s", v, strings.Join(problems, "; "))
		}
	}

	found, err := s.find(by)
	if err != nil {
		return nil, err
	}

	var (
		out  []*release.Release
		have = map[string]bool{} // releases of which the newest revision was read
	)

	for _, r := range found {
		if have[r.Name] && r.Info.Status != release.StatusDeployed {
			out = append(out, r)

			continue
		}

		full, err := s.full(r)
		if err != nil {
			return nil, err
		}

		if full != nil {
			have[r.Name] = true
			out = append(out, full)
		}
	}

	if len(out) == 0 {
		return nil, driver.ErrReleaseNotFound
	}

	return out, nil
}

// find returns the revisions that have the labels, without content and with the newest first.
func (s *Secrets) find(by map[string]string) ([]*release.Release, error) {
	all, err := s.metas(by)
	if err != nil {
		return nil, err
	}

	var found []*release.Release

	for _, m := range all {
		if r := s.stub(m); r != nil {
			found = append(found, r)
		}
	}

	slices.SortFunc(found, func(a, b *release.Release) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(b.Version, a.Version))
	})

	return found, nil
}

// metas returns the metadata of the records that have the labels. Those of one release are read once, whatever their status.
func (s *Secrets) metas(by map[string]string) ([]*metav1.PartialObjectMetadata, error) {
	if found, ok := s.memory.revisions(by); ok {
		return found, nil
	}

	selector := by
	one := s.memory != nil && by[nameLabel] != "" && by[ownerLabel] == owner
	if one {
		selector = map[string]string{nameLabel: by[nameLabel], ownerLabel: owner}
	}

	var all []*metav1.PartialObjectMetadata

	_, err := s.client.Each(s.ctx, secrets(), access.Query{Namespace: s.namespace, Labels: labels.Set(selector).AsSelector().String()},
		func(item access.Item) error {
			all = append(all, item.Meta)

			return nil
		})
	if err != nil {
		return nil, fmt.Errorf("list Secrets of namespace %q: %w", s.namespace, err)
	}

	if !one {
		return all, nil
	}

	s.memory.learn(by[nameLabel], all)
	all, _ = s.memory.revisions(by)

	return all, nil
}

// full reads the content of a revision. It is nil if that cannot be read, or is gone.
func (s *Secrets) full(r *release.Release) (*release.Release, error) {
	full, err := s.Get(Key(r.Name, r.Version))

	corrupt := &CorruptError{}

	switch {
	case errors.Is(err, driver.ErrReleaseNotFound):
		return nil, nil //nolint:nilnil // as the comment says
	case errors.As(err, &corrupt):
		s.skipped(err)

		return nil, nil //nolint:nilnil // as the comment says
	case err != nil:
		return nil, err
	}

	delete(s.bare, r)

	return full, nil
}

// stub returns what the metadata of a record says of a release. It is nil if that is none.
func (s *Secrets) stub(m *metav1.PartialObjectMetadata) *release.Release {
	name, revision, ok := parse(m.Name)
	if !ok {
		s.skipped(&CorruptError{Namespace: m.Namespace, Name: m.Name, Err: errors.New("its name is not that of a release")})

		return nil
	}

	r := &release.Release{
		Name: name, Version: revision, Labels: own(m.Labels),
		Info: &release.Info{Status: release.Status(cmp.Or(m.Labels[statusLabel], release.StatusUnknown.String()))},
	}
	s.bare[r] = struct{}{}

	return r
}

func secrets() schema.GroupKind { return schema.GroupKind{Kind: "Secret"} }
