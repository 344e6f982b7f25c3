package access

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"sync/atomic"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/internalversion/scheme"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer/json"
	"k8s.io/apimachinery/pkg/runtime/serializer/protobuf"
	utiljson "k8s.io/apimachinery/pkg/util/json"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/rest"
)

const (
	pageSize  = 500
	frameSize = 16 << 10
	frameKeep = 256 << 10
	maxEvent  = 8 << 20 // bytes; etcd stores a fifth of that
)

// errLongEvent is what an event of a watch is that is longer than maxEvent.
var errLongEvent = fmt.Errorf("an event of a watch is longer than %d bytes", maxEvent)

// Query selects objects of one kind.
type Query struct {
	// Namespace to look in. Empty stands for all of them.
	Namespace string
	// Labels and Fields are selectors. Empty selects everything.
	Labels, Fields string
	// Full asks for whole objects instead of their metadata.
	Full bool
}

// Item is an object of a list or a watch event: its metadata, or, of a full query, the JSON that the API server sent.
// That JSON is valid until the next item is read, and may lack apiVersion and kind.
type Item struct {
	Meta *metav1.PartialObjectMetadata
	Raw  []byte
}

// Each lists the objects page by page and hands each one to fn, whose error ends the list. It returns the resource
// version from which a watch goes on. An expired continuation (apierrors.IsResourceExpired) means: start again.
func (c *Client) Each(ctx context.Context, gk schema.GroupKind, q Query, fn func(Item) error) (resourceVersion string, err error) {
	m, err := c.selected(ctx, gk, q)
	if err != nil {
		return "", err
	}
	next := ""
	for {
		req := c.query(m, q).Param("limit", strconv.Itoa(pageSize))
		if next != "" {
			req.Param("continue", next)
		}
		p, err := c.page(ctx, gk, req, q.Full, fn)
		if err != nil {
			return "", err
		}
		if next = p.Continue; next == "" {
			return p.ResourceVersion, nil
		}
	}
}

// Page lists one page, the first one or that of the token that the page before it returned, and hands each object of it to fn, as Each
// does. Without a token there is no further page. A token that has expired (apierrors.IsResourceExpired) may be in exchange for one in
// the error that goes on with what is there now: see Renewed.
func (c *Client) Page(ctx context.Context, gk schema.GroupKind, q Query, token string, fn func(Item) error) (next string, err error) {
	m, err := c.selected(ctx, gk, q)
	if err != nil {
		return "", err
	}
	req := c.query(m, q).Param("limit", strconv.Itoa(pageSize))
	if token != "" {
		req.Param("continue", token)
	}
	p, err := c.page(ctx, gk, req, q.Full, fn)
	return p.Continue, err
}

// Renewed returns the token that an API server gives for one that has expired; empty if the list has to begin anew.
func Renewed(err error) string {
	var status apierrors.APIStatus
	if !errors.As(err, &status) || !apierrors.IsResourceExpired(err) {
		return ""
	}
	return status.Status().Continue
}

// List returns all selected objects, whole, whatever q.Full says.
func (c *Client) List(ctx context.Context, gk schema.GroupKind, q Query) ([]unstructured.Unstructured, error) {
	m, err := c.Mapping(ctx, gk, "")
	if err != nil {
		return nil, err
	}
	q.Full = true
	var out []unstructured.Unstructured
	_, err = c.Each(ctx, gk, q, func(i Item) error {
		obj := unstructured.Unstructured{}
		if err := utiljson.Unmarshal(i.Raw, &obj.Object); err != nil {
			return fmt.Errorf("decode %q: %w", gk, err)
		}
		obj.SetGroupVersionKind(m.GroupVersion().WithKind(m.Kind))
		out = append(out, obj)
		return nil
	})
	return out, err
}

// selected returns where the objects of a query are served.
func (c *Client) selected(ctx context.Context, gk schema.GroupKind, q Query) (Mapping, error) {
	if err := checkSegments(q.Namespace); err != nil {
		return Mapping{}, err
	}
	return c.Mapping(ctx, gk, "")
}

func (c *Client) query(m Mapping, q Query) *rest.Request {
	req := c.request("GET").AbsPath(path(m, q.Namespace, "")...)
	if q.Labels != "" {
		req.Param("labelSelector", q.Labels)
	}
	if q.Fields != "" {
		req.Param("fieldSelector", q.Fields)
	}
	return req
}

func (c *Client) page(ctx context.Context, gk schema.GroupKind, req *rest.Request, full bool, fn func(Item) error) (metav1.ListMeta, error) {
	if !full {
		req.SetHeader("Accept", acceptMetaList)
	}
	raw, err := c.do(ctx, gk, req)
	if err != nil {
		return metav1.ListMeta{}, err
	}
	if full {
		return eachRaw(raw, fn)
	}
	obj, err := decode(raw)
	if err != nil {
		return metav1.ListMeta{}, fmt.Errorf("decode metadata of %q: %w", gk, err)
	}
	list, ok := obj.(*metav1.PartialObjectMetadataList)
	if !ok {
		return metav1.ListMeta{}, fmt.Errorf("decode metadata of %q: got %T", gk, obj)
	}
	for i := range list.Items {
		if err := fn(Item{Meta: &list.Items[i]}); err != nil {
			return metav1.ListMeta{}, err
		}
	}
	return list.ListMeta, nil
}

func eachRaw(raw []byte, fn func(Item) error) (metav1.ListMeta, error) {
	var m metav1.ListMeta
	var items []byte
	err := EachField(raw, func(key, value []byte) error {
		switch string(key) {
		case "metadata":
			return utiljson.Unmarshal(value, &m)
		case "items":
			items = value
		}
		return nil
	})
	if err == nil && items != nil && string(items) != "null" {
		err = EachElement(items, func(value []byte) error { return fn(Item{Raw: value}) })
	}
	if err != nil {
		return m, fmt.Errorf("read a list: %w", err)
	}
	return m, nil
}

// Event is what a watch reports. A bookmark has no item.
type Event struct {
	Type watch.EventType
	Item
	// ResourceVersion of a bookmark.
	ResourceVersion string
}

// Watch is an open watch. It is read by one goroutine; Close may be called by another.
type Watch struct {
	body   io.ReadCloser
	left   int64 // bytes that the event being read may still take
	room   *Room // for the largest event so far: buffers keep its size
	taken  atomic.Int64
	frames io.Reader // of body, made when the first event tells the format
	buf    []byte
	proto  bool
	full   bool
}

// Watch opens a watch with bookmarks from a resource version on. It ends with the context. An expired resource version
// (apierrors.IsResourceExpired or IsGone), here or from Next, means: list again.
func (c *Client) Watch(ctx context.Context, gk schema.GroupKind, q Query, resourceVersion string) (*Watch, error) {
	m, err := c.selected(ctx, gk, q)
	if err != nil {
		return nil, err
	}
	req := c.query(m, q).Param("watch", "true").Param("allowWatchBookmarks", "true").Param("resourceVersion", resourceVersion)
	if !q.Full {
		req.SetHeader("Accept", acceptMeta)
	}
	body, err := req.Stream(quiet(ctx))
	if err != nil {
		c.unserved(gk, err)
		return nil, err
	}
	return &Watch{body: body, buf: make([]byte, frameSize), full: q.Full, room: c.factory.room}, nil
}

// Close ends the watch. Next then returns an error.
func (w *Watch) Close() {
	_ = w.body.Close()
	w.room.Give(w.taken.Swap(0))
}

// Next waits for an event. The error is io.EOF when the API server has ended the watch in good order, which it does
// from time to time, and an API error when it reported one.
func (w *Watch) Next() (Event, error) {
	frame, err := w.frame()
	if err != nil {
		return Event{}, err
	}
	var e metav1.WatchEvent
	if w.proto {
		err = e.Unmarshal(frame)
	} else {
		err = cutEvent(frame, &e)
	}
	if err != nil {
		return Event{}, fmt.Errorf("read a watch event: %w", err)
	}
	return w.event(watch.EventType(e.Type), e.Object.Raw)
}

func (w *Watch) event(t watch.EventType, raw []byte) (Event, error) {
	switch {
	case t == watch.Error:
		return Event{}, statusError(raw)
	case w.full && t == watch.Bookmark:
		obj := metav1.PartialObjectMetadata{}
		err := utiljson.Unmarshal(raw, &obj)
		return Event{Type: t, ResourceVersion: obj.ResourceVersion}, err
	case w.full:
		return Event{Type: t, Item: Item{Raw: raw}}, nil
	}
	obj, err := decode(raw)
	if err != nil {
		return Event{}, fmt.Errorf("read a watch event: %w", err)
	}
	m, ok := obj.(*metav1.PartialObjectMetadata)
	if !ok {
		return Event{}, fmt.Errorf("read a watch event: got %T", obj)
	}
	if t == watch.Bookmark {
		return Event{Type: t, ResourceVersion: m.ResourceVersion}, nil
	}
	return Event{Type: t, Item: Item{Meta: m}}, nil
}

// frame reads one event into the buffer, which grows as far as the largest event asks, and shrinks again.
func (w *Watch) frame() ([]byte, error) {
	if err := w.sniff(); err != nil {
		return nil, err
	}
	if cap(w.buf) > frameKeep {
		w.buf = make([]byte, frameSize)
	}
	n := 0
	w.left = maxEvent // the decoder of JSON reads an event to its end before it gives any of it
	for {
		m, err := w.frames.Read(w.buf[n:])
		n += m
		switch {
		case err == nil:
			return w.buf[:n], nil
		case !errors.Is(err, io.ErrShortBuffer):
			return nil, err
		}
		if n > maxEvent {
			return nil, errLongEvent
		}
		w.buf = append(w.buf, make([]byte, len(w.buf))...)
	}
}

// sniff tells the format of the events, which the API server chooses, by their first byte: JSON begins with a brace,
// the length in front of a protobuf message, of four bytes, with a zero.
func (w *Watch) sniff() error {
	if w.frames != nil {
		return nil
	}
	r := bufio.NewReader(w.body)
	first, err := r.Peek(1)
	if err != nil {
		return err
	}
	body := struct {
		io.Reader
		io.Closer
	}{&measured{r, w}, w.body}
	if w.proto = first[0] == 0; w.proto {
		w.frames = protobuf.LengthDelimitedFramer.NewFrameReader(body)
	} else {
		w.frames = json.Framer.NewFrameReader(body)
	}
	return nil
}

// measured reads as long as there is something left.
type measured struct {
	io.Reader
	watch *Watch
}

// Read implements io.Reader.
func (m *measured) Read(p []byte) (int, error) {
	w := m.watch
	if w.left < 0 {
		return 0, errLongEvent
	}
	n, err := m.Reader.Read(p)
	w.left -= int64(n)
	if more := maxEvent - w.left - w.taken.Load(); more > 0 {
		if full := w.room.Take(more); full != nil {
			return 0, fmt.Errorf("read a watch event: %w", full)
		}
		w.taken.Add(more)
	}
	return n, err
}

func cutEvent(frame []byte, e *metav1.WatchEvent) error {
	return EachField(frame, func(key, value []byte) error {
		switch string(key) {
		case "type":
			return utiljson.Unmarshal(value, &e.Type)
		case "object":
			e.Object.Raw = value
		}
		return nil
	})
}

func decode(raw []byte) (runtime.Object, error) {
	obj, _, err := scheme.Codecs.UniversalDeserializer().Decode(raw, nil, nil)
	return obj, err
}

func statusError(raw []byte) error {
	obj, _, err := scheme.Codecs.UniversalDeserializer().Decode(raw, &schema.GroupVersionKind{Version: "v1", Kind: "Status"}, &metav1.Status{})
	if err != nil {
		return fmt.Errorf("read an error in a watch: %w", err)
	}
	return apierrors.FromObject(obj)
}
