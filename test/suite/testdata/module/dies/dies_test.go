package dies

import "testing"

func TestBefore(t *testing.T) {}

func TestDies(t *testing.T) { panic("this is the end") }

func TestAfter(t *testing.T) {}
