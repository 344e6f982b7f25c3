package template

import (
	"fmt"
	"reflect"
)

// weigh returns about how many bytes a value has when it is printed. It returns a fault if it is too large or nested too deep,
// which is also so if it contains itself.
func weigh(values ...any) (int, error) {
	s := scale{}
	for _, v := range values {
		if err := s.add(v, 0); err != nil {
			return 0, err
		}
	}

	return s.bytes, nil
}

type scale struct{ bytes int }

const (
	errTooLarge = fault("a value is too large")
	errTooDeep  = fault("a value is nested too deep, or contains itself")
)

func (s *scale) add(v any, depth int) error {
	if s.bytes += 8; s.bytes > maxValue {
		return errTooLarge
	}

	if depth > maxDepth {
		return errTooDeep
	}

	switch v := v.(type) {
	case nil, bool, int, int64, float64:
		return nil
	case string:
		s.bytes += len(v)
	case map[string]any:
		return addMap(s, v, depth)
	case []any:
		return addList(s, v, depth)
	default:
		return s.addOther(reflect.ValueOf(v), depth)
	}

	if s.bytes > maxValue {
		return errTooLarge
	}

	return nil
}

func addMap(s *scale, m map[string]any, depth int) error {
	for key, v := range m {
		s.bytes += len(key)
		if err := s.add(v, depth+1); err != nil {
			return err
		}
	}

	return nil
}

func addList(s *scale, list []any, depth int) error {
	for _, v := range list {
		if err := s.add(v, depth+1); err != nil {
			return err
		}
	}

	return nil
}

// addOther adds the lists and maps of other types that functions return.
func (s *scale) addOther(v reflect.Value, depth int) error {
	switch v.Kind() {
	case reflect.Slice, reflect.Array:
		for i := range v.Len() {
			if err := s.add(v.Index(i).Interface(), depth+1); err != nil {
				return err
			}
		}
	case reflect.Map:
		for it := v.MapRange(); it.Next(); {
			s.bytes += it.Key().Len()
			if err := s.add(it.Value().Interface(), depth+1); err != nil {
				return err
			}
		}
	case reflect.String:
		s.bytes += v.Len()
	case reflect.Func, reflect.Chan, reflect.Pointer, reflect.UnsafePointer:
		return fault(fmt.Sprintf("a value has the type %s", v.Type()))
	default:
	}

	if s.bytes > maxValue {
		return errTooLarge
	}

	return nil
}

// length returns how many bytes a value takes beside what it refers to.
func length(v reflect.Value) int {
	for v.Kind() == reflect.Interface {
		v = v.Elem()
	}

	switch v.Kind() {
	case reflect.String:
		return v.Len()
	case reflect.Slice, reflect.Map:
		return v.Len() * 16
	default:
		return 8
	}
}
