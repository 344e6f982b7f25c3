package expression

import (
	"fmt"
	"strings"
	"sync"
	"testing"
)

// TestNobodyWaitsForOthers shows that what is kept is there while programs of others are made, that one of them leaves room for
// another, and that those who want the same one get the same.
func TestNobodyWaitsForOthers(t *testing.T) {
	c, err := New()
	if err != nil {
		t.Fatal(err)
	}

	known, err := c.Object("a == 1")
	if err != nil {
		t.Fatal(err)
	}

	c.places <- struct{}{} // somebody else's takes long

	if _, err := c.Object("a == 2"); err != nil {
		t.Errorf("a program beside one that takes long: %v", err)
	}

	for range maxMaking - 1 {
		c.places <- struct{}{}
	}

	if again, err := c.Object("a == 1"); err != nil || again != known {
		t.Errorf("a known program while all places are taken is %p (%v), want %p", again, err, known)
	}

	var all sync.WaitGroup

	programs := make([]*Program, 10)
	for i := range programs {
		all.Go(func() { programs[i], _ = c.Object("a == 3") })
	}

	for range maxMaking {
		<-c.places
	}

	all.Wait()

	for i, p := range programs {
		if p == nil || p != programs[0] {
			t.Errorf("program %d is %p, want %p", i, p, programs[0])
		}
	}
}

// TestKeptIsBounded shows that it is the size of programs that counts, and that it is counted right.
func TestKeptIsBounded(t *testing.T) {
	c, err := New()
	if err != nil {
		t.Fatal(err)
	}

	for i := range 30 {
		text := fmt.Sprintf("a == %d", i) + strings.Repeat(" && b", 2000)
		if _, err := c.Object(text); err != nil {
			t.Fatal(err)
		}

		_, _ = c.Object("(" + text)
	}

	sum := 0

	for e := c.recent.Front(); e != nil; e = e.Next() {
		it, _ := e.Value.(*entry)
		sum += it.size
	}

	if c.size != sum || sum > maxKept || c.recent.Len() != len(c.programs) || c.recent.Len() < 10 {
		t.Errorf("%d programs of %d nodes are kept, counted as %d by %d names", c.recent.Len(), sum, c.size, len(c.programs))
	}
}
