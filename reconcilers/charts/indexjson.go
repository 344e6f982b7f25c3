package charts

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"helm.sh/helm/v3/pkg/repo"
)

// jsonReader reads an index in JSON version by version.
type jsonReader struct {
	*json.Decoder

	in *input
	b  *builder
}

func (in *input) readJSON(r *bufio.Reader, b *builder) (*Index, *repo.IndexFile, error) {
	j := &jsonReader{Decoder: json.NewDecoder(r), in: in, b: b}
	head := &repo.IndexFile{}

	err := j.object(func(key string) error {
		if strings.EqualFold(key, "entries") { // as encoding/json finds it
			return j.charts()
		}

		return j.field(key, head)
	})
	if err != nil {
		return nil, nil, err
	}

	if _, err := j.token(); !errors.Is(err, io.EOF) {
		return nil, nil, errLayout
	}

	return b.close(head, true)
}

// field reads something that is not about charts.
func (j *jsonReader) field(key string, head *repo.IndexFile) error {
	var raw json.RawMessage
	if err := j.decode(&raw); err != nil {
		return err
	}

	one, err := json.Marshal(map[string]json.RawMessage{key: raw})
	if err != nil {
		return err
	}

	return json.Unmarshal(one, head)
}

// charts reads all charts. What came before under the same name counts no more.
func (j *jsonReader) charts() error {
	err := j.object(func(name string) error {
		if err := j.b.chart(name); err != nil {
			return err
		}

		err := j.list(func() error {
			var cv *repo.ChartVersion
			if err := j.decode(&cv); err != nil {
				return err
			}

			return j.b.add(cv)
		})
		if err != nil {
			return fmt.Errorf("chart %q: %w", name, err)
		}

		return nil
	})
	if errors.Is(err, errNull) {
		j.b.clear()

		return nil
	}

	return err
}

// errNull says that null is in the place of an object.
var errNull = errors.New("null is no object")

// object calls visit for each key of an object, which reads the value.
func (j *jsonReader) object(visit func(key string) error) error {
	switch t, err := j.token(); {
	case err != nil:
		return err
	case t == nil:
		return errNull
	case t != json.Delim('{'):
		return fmt.Errorf("offset %d: no object", j.InputOffset())
	}

	for j.More() {
		key, err := j.token()
		if err != nil {
			return err
		}

		if err := visit(key.(string)); err != nil { //nolint:forcetypeassert // the decoder knows that it is a key
			return err
		}
	}

	_, err := j.token()

	return err
}

// list calls visit for each element of a list, which reads it. Null is an empty list.
func (j *jsonReader) list(visit func() error) error {
	switch t, err := j.token(); {
	case err != nil:
		return err
	case t == nil:
		return nil
	case t != json.Delim('['):
		return fmt.Errorf("offset %d: no list", j.InputOffset())
	}

	for j.More() {
		if err := visit(); err != nil {
			return err
		}
	}

	_, err := j.token()

	return err
}

func (j *jsonReader) token() (json.Token, error) {
	j.in.bound(j.InputOffset())

	return j.Token()
}

func (j *jsonReader) decode(into any) error {
	j.in.bound(j.InputOffset())

	return j.Decode(into)
}
