package health

import (
	"bytes"
	stdjson "encoding/json"
	"fmt"
	"strconv"
	"time"

	"github.com/cespare/xxhash/v2"
	"github.com/fluxcd/cli-utils/pkg/kstatus/status"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/json"

	"github.com/weir-dev/weir/reconcilers/access"
)

// LastApplied is the annotation in which kubectl keeps a copy of an object. The hub keeps that it is there, not the copy.
const LastApplied = "kubectl.kubernetes.io/last-applied-configuration"

// Of returns what the hub would keep of an object with this metadata, but for its status.
func Of(m *metav1.ObjectMeta) Live {
	l := Live{
		UID:             m.UID,
		ResourceVersion: m.ResourceVersion,
		Generation:      m.Generation,
		Labels:          m.Labels,
		Annotations:     m.Annotations,
		Deleting:        m.DeletionTimestamp != nil,
	}
	if _, ok := l.Annotations[LastApplied]; ok {
		l.Annotations[LastApplied] = ""
	}
	for i := range m.ManagedFields {
		e := &m.ManagedFields[i]
		if e.Subresource != "" {
			continue
		}
		l.Managers = append(l.Managers, Manager{
			Name:    e.Manager,
			Applied: e.Operation == metav1.ManagedFieldsOperationApply,
			Time:    unix(e.Time),
			Fields:  fingerprint(e.FieldsV1.GetRawBytes()),
		})
	}
	return l
}

func unix(t *metav1.Time) int64 {
	if t == nil {
		return 0
	}
	return t.Unix()
}

// fingerprint is the same for fields that came as JSON, in which these characters are escaped, and as protobuf.
func fingerprint(fields []byte) uint64 {
	if escapable(fields) {
		var escaped bytes.Buffer
		stdjson.HTMLEscape(&escaped, fields)
		fields = escaped.Bytes()
	}
	return xxhash.Sum64(fields)
}

// escapable tells whether there may be something to escape: one of the characters, or the first byte of a line separator.
func escapable(fields []byte) bool {
	for _, b := range [...]byte{'<', '>', '&', 0xe2} {
		if bytes.IndexByte(fields, b) >= 0 {
			return true
		}
	}
	return false
}

// sight is one look at an object. What is raw is valid during the event.
type sight struct {
	key                   key
	live                  Live
	raw                   []byte // a whole object
	spec, status, created []byte // parts of it
}

// see reads what an item of a list or watch shows.
func see(item access.Item) (sight, error) {
	if m := item.Meta; m != nil {
		s := sight{key: key{m.Namespace, m.Name}, live: Of(&m.ObjectMeta)}
		s.live.Status, s.live.Message = existing(s.live.Deleting)
		return s, nil
	}
	s := sight{raw: item.Raw}
	err := access.EachField(item.Raw, func(field, value []byte) error {
		switch string(field) {
		case "metadata":
			return s.metadata(value)
		case "spec":
			s.spec = value
		case "status":
			s.status = value
		}
		return nil
	})
	if err != nil {
		return s, fmt.Errorf("read an object: %w", err)
	}
	return s, nil
}

// metadata picks what is kept out of an object's metadata, and leaves the managed fields undecoded: they are the
// largest part of many objects.
func (s *sight) metadata(raw []byte) error {
	return access.EachField(raw, func(field, value []byte) error {
		switch string(field) {
		case "name":
			return text(value, &s.key.name)
		case "namespace":
			return text(value, &s.key.namespace)
		case "uid":
			return text(value, (*string)(&s.live.UID))
		case "resourceVersion":
			return text(value, &s.live.ResourceVersion)
		case "generation":
			var err error
			s.live.Generation, err = strconv.ParseInt(string(value), 10, 64)
			return err
		case "labels":
			return json.Unmarshal(value, &s.live.Labels)
		case "annotations":
			return annotations(value, &s.live.Annotations)
		case "creationTimestamp":
			s.created = value
		case "deletionTimestamp":
			s.live.Deleting = string(value) != "null"
		case "managedFields":
			return access.EachElement(value, s.manager)
		}
		return nil
	})
}

func (s *sight) manager(raw []byte) error {
	var m Manager
	var subresource string
	err := access.EachField(raw, func(field, value []byte) error {
		switch string(field) {
		case "manager":
			return text(value, &m.Name)
		case "operation":
			m.Applied = string(value) == `"Apply"`
		case "subresource":
			return text(value, &subresource)
		case "time":
			return moment(value, &m.Time)
		case "fieldsV1":
			m.Fields = fingerprint(value)
		}
		return nil
	})
	if err == nil && subresource == "" {
		s.live.Managers = append(s.live.Managers, m)
	}
	return err
}

func annotations(raw []byte, out *map[string]string) error {
	*out = map[string]string{}
	return access.EachField(raw, func(field, value []byte) error {
		var k, v string
		if err := text(quote(field), &k); err != nil {
			return err
		}
		if k != LastApplied {
			if err := text(value, &v); err != nil {
				return err
			}
		}
		(*out)[k] = v
		return nil
	})
}

func quote(field []byte) []byte {
	return append(append([]byte{'"'}, field...), '"')
}

// text decodes a JSON string, most of which have nothing to decode.
func text(raw []byte, out *string) error {
	if n := len(raw); n >= 2 && raw[0] == '"' && bytes.IndexByte(raw, '\\') < 0 {
		*out = string(raw[1 : n-1])
		return nil
	}
	return json.Unmarshal(raw, out)
}

func moment(raw []byte, out *int64) error {
	var s string
	if err := text(raw, &s); err != nil || s == "" {
		return err
	}
	t, err := time.Parse(time.RFC3339, s)
	*out = t.Unix()
	return err
}

func existing(deleting bool) (status.Status, string) {
	if deleting {
		return status.TerminatingStatus, "Resource scheduled for deletion"
	}
	return status.CurrentStatus, "Resource exists"
}

// Revision returns a resource version as the number that it is in practice, and zero for one that is not a number,
// which then is never waited for.
func Revision(resourceVersion string) uint64 {
	n, err := strconv.ParseUint(resourceVersion, 10, 64)
	if err != nil {
		return 0
	}
	return n
}

// key is an object within one feed.
type key struct{ namespace, name string }
