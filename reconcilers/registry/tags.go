package registry

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// Tags returns all tags, in no certain order. The answer is not older than since. It is shared and must not be changed.
func (r *Repository) Tags(ctx context.Context, since time.Time) ([]string, error) {
	tags, release, err := r.all.tags.Join(ctx, r.key, since, r.list)
	if err != nil {
		return nil, err
	}

	release()

	return tags, nil
}

// pageSize is how many tags are asked for at a time. Some registries refuse more.
const pageSize = 1000

// maxPages bounds a listing whose pages are short, or lead nowhere.
const maxPages = 1000

func (r *Repository) list(ctx context.Context) ([]string, error) {
	l := tagList{limits: r.all.options.Limits}

	next, err := r.url(ctx, "/tags/list?n="+strconv.Itoa(pageSize))

	for range maxPages {
		if err != nil || next == "" {
			return l.tags, err
		}

		next, err = r.page(ctx, next, &l)
	}

	if err == nil {
		err = fmt.Errorf("the tags have more than %d pages", maxPages)
	}

	return nil, err
}

// page adds the tags of a page, and returns the URL of the next one, if there is one.
func (r *Repository) page(ctx context.Context, u string, l *tagList) (next string, err error) {
	resp, err := r.get(ctx, http.MethodGet, u, l.limits.TagBytes) //nolint:bodyclose // discard does
	if err != nil {
		return "", err
	}
	defer discard(resp.Body)

	if err := l.read(resp.Body); err != nil {
		return "", fmt.Errorf("read tags: %w", err)
	}

	return nextPage(resp)
}

// nextPage returns the URL of the next page, which has to be on the same server, or nothing.
func nextPage(resp *http.Response) (string, error) {
	link, _, ok := strings.Cut(strings.TrimPrefix(resp.Header.Get("Link"), "<"), ">")
	if !ok || link == "" {
		return "", nil
	}

	u, err := url.Parse(link)
	if err != nil {
		return "", errors.New("the link to the next tags is no URL")
	}

	u = resp.Request.URL.ResolveReference(u)
	if u.Scheme != resp.Request.URL.Scheme || !sameHost(u.Host, resp.Request.URL.Host) {
		return "", errors.New("the next tags are on another server")
	}

	return u.String(), nil
}

// tagList collects tags within the limits.
type tagList struct {
	limits Limits
	tags   []string
	bytes  int64
}

// read adds the tags of a page: {"name": …, "tags": […]}.
func (l *tagList) read(body io.Reader) error {
	page := json.NewDecoder(body)
	if t, err := page.Token(); err != nil || t != json.Delim('{') {
		return noTags(err)
	}

	for page.More() {
		key, err := page.Token()
		if err != nil {
			return noTags(err)
		}

		if key != "tags" {
			var skipped json.RawMessage
			if err := page.Decode(&skipped); err != nil {
				return noTags(err)
			}

			continue
		}

		if err := l.array(page); err != nil {
			return err
		}
	}

	return nil
}

var errNoTags = errors.New("the answer is no list of tags")

// noTags is errNoTags, with the cause if there is one.
func noTags(cause error) error {
	if cause == nil {
		return errNoTags
	}

	return fmt.Errorf("%w: %w", errNoTags, cause)
}

// maxTag is how long a tag may be, in bytes.
const maxTag = 128

func (l *tagList) array(page *json.Decoder) error {
	t, err := page.Token()
	if err != nil || t != json.Delim('[') && t != nil {
		return noTags(err)
	}

	if t == nil { // null is none
		return nil
	}

	for page.More() {
		var tag string
		if err := page.Decode(&tag); err != nil {
			return noTags(err)
		}

		if len(tag) > maxTag { // nobody could ask for it
			continue
		}

		l.bytes += int64(len(tag))

		if len(l.tags) >= l.limits.Tags || l.bytes > l.limits.TagBytes {
			return fmt.Errorf("there are more than %d tags, or %d bytes of them", l.limits.Tags, l.limits.TagBytes)
		}

		l.tags = append(l.tags, tag)
	}

	if _, err := page.Token(); err != nil {
		return noTags(err)
	}

	return nil
}

// weighTags returns what a list takes in memory, in bytes.
func weighTags(tags []string) int64 {
	var n int64
	for _, t := range tags {
		n += int64(len(t)) + 16
	}

	return n
}
