package template

import (
	"fmt"
	"reflect"
)

// eq tells whether a value equals one of the others, as that of text/template does. That one prints what it cannot compare into its
// error, however large that is.
func eq(v any, others ...any) (bool, error) {
	if len(others) == 0 {
		return false, fault("missing argument for comparison")
	}

	for _, other := range others {
		if same, err := equal(reflect.ValueOf(v), reflect.ValueOf(other)); same || err != nil {
			return same, err
		}
	}

	return false, nil
}

func ne(v, other any) (bool, error) {
	same, err := eq(v, other)

	return !same, err
}

func equal(a, b reflect.Value) (bool, error) {
	switch {
	case !a.IsValid() || !b.IsValid():
		return a.IsValid() == b.IsValid(), nil
	case a.CanInt() && b.CanInt():
		return a.Int() == b.Int(), nil
	case a.CanUint() && b.CanUint():
		return a.Uint() == b.Uint(), nil
	case a.CanInt() && b.CanUint():
		return a.Int() >= 0 && uint64(a.Int()) == b.Uint(), nil //nolint:gosec // it is not negative
	case a.CanUint() && b.CanInt():
		return equal(b, a)
	case a.Kind() != b.Kind():
		return false, fault(fmt.Sprintf("incompatible types for comparison: %s and %s", a.Type(), b.Type()))
	case !a.Comparable() || !b.Comparable():
		return false, fault(fmt.Sprintf("values of type %s cannot be compared", a.Type()))
	default:
		return a.Equal(b), nil
	}
}
