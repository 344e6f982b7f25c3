package bucket

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"

	"github.com/weir-dev/weir/reconcilers/ingest"
	"github.com/weir-dev/weir/reconcilers/source"
)

// listing is what was seen of a bucket. It is shared, and does not change.
type listing struct {
	// objects by their keys, without those that stand for directories, and without the ignore rules.
	objects []object

	// rules are those of the bucket.
	rules string
}

// maxListing bounds what is kept of a listing, in bytes.
const maxListing = 64 << 20

// objectOverhead is more than what one object takes beside its key and etag.
const objectOverhead = 64

func (l *listing) weight() int64 {
	weight := int64(len(l.rules))
	for _, o := range l.objects {
		weight += o.weight()
	}

	return weight
}

func (o object) weight() int64 { return int64(len(o.key)+len(o.etag)) + objectOverhead }

// look lists the bucket, and reads its ignore rules.
func (b *bucket) look(ctx context.Context, prefix string) (*listing, error) {
	l := &listing{}
	ignore, seen := object{key: source.IgnoreFile}, false

	var weight int64

	err := b.store.list(ctx, prefix, func(o object) error {
		if weight += o.weight(); weight > maxListing {
			return &ingest.LimitError{Max: maxListing, Unit: "bytes of keys"}
		}

		switch {
		case o.key == source.IgnoreFile:
			ignore, seen = o, true
		case !strings.HasSuffix(o.key, "/"):
			l.objects = append(l.objects, o)
		}

		return nil
	})
	if err != nil {
		return nil, &listError{confirmed: weight > 0, err: err}
	}

	slices.SortFunc(l.objects, func(a, b object) int { return cmp.Compare(a.key, b.key) })
	l.objects = slices.Clip(l.objects)

	// The rules are those of the bucket, whatever the prefix.
	if seen || prefix != "" {
		if l.rules, err = b.rules(ctx, ignore); err != nil {
			return nil, &listError{confirmed: true, err: err}
		}
	}

	return l, nil
}

// listError says how far a listing came.
type listError struct {
	confirmed bool // the bucket is there
	err       error
}

// Error implements error.
func (e *listError) Error() string { return e.err.Error() }

// Unwrap returns the cause.
func (e *listError) Unwrap() error { return e.err }

// maxRules bounds the ignore rules of a bucket, in bytes.
const maxRules = 1 << 20

// rules returns the ignore rules. An object without an etag may not be there.
func (b *bucket) rules(ctx context.Context, o object) (string, error) {
	key := rulesKey{bucket: b.key, etag: o.etag}
	if known, ok := b.buckets.rules.Get(key); ok {
		return known, nil
	}

	content, etag, err := b.open(ctx, o)
	if errors.Is(err, errGone) {
		return "", nil
	}

	if err != nil {
		return "", fmt.Errorf("read %q: %w", source.IgnoreFile, err)
	}
	defer content.Close() //nolint:errcheck // it was only read

	text, err := io.ReadAll(io.LimitReader(content, maxRules+1))
	if err != nil {
		return "", fmt.Errorf("read %q: %w", source.IgnoreFile, err)
	}

	if len(text) > maxRules {
		return "", &ingest.LimitError{Names: []string{source.IgnoreFile}, Max: maxRules, Unit: "bytes of ignore rules"}
	}

	if etag != "" {
		b.buckets.rules.Put(rulesKey{bucket: b.key, etag: etag}, string(text))
	}

	return string(text), nil
}

// choose returns the objects that are wanted, given the ignore rules of who wants them. Many rules for many objects take a while.
func (l *listing) choose(ctx context.Context, ignore *string) ([]object, error) {
	book := &source.RuleBook{}
	if err := book.File(source.IgnoreFile, strings.NewReader(l.rules)); err != nil {
		return nil, err //nolint:wrapcheck // it names the file
	}

	if err := book.Spec(ignore); err != nil {
		return nil, err //nolint:wrapcheck // it names the field
	}

	rules := book.Bare()
	chosen := make([]object, 0, len(l.objects))

	for _, o := range l.objects {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}

		if !rules.Skip(strings.Split(o.key, "/"), false) {
			chosen = append(chosen, o)
		}
	}

	return chosen, nil
}

// revision stands for objects, which are in the order of their keys. Source: reference §2.5.
func revision(objects []object) digest.Digest {
	sum := digest.SHA256.Digester()
	for _, o := range objects {
		_, _ = io.WriteString(sum.Hash(), o.key+" "+o.etag+"\n") // hashes never fail
	}

	return sum.Digest()
}
