package build

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// arrival is somebody who comes to a gate: its owner, with a mark if it has to be alone.
type arrival struct {
	owner string
	alone bool
}

func TestGateOrder(t *testing.T) {
	cases := map[string]struct {
		reason      string
		room, share int
		queue       int
		arrivals    []arrival
		lost        []int // who is abandoned, by arrival
		sent        []int // who is sent away
		leaves      []int
		want        [][]int // who is in: at first, and after each has left
	}{
		"Room": {
			reason: "There is room for so many; the rest come in the order of their arrival.",
			room:   2, share: 2,
			arrivals: []arrival{{owner: "a"}, {owner: "a"}, {owner: "a"}, {owner: "a"}},
			leaves:   []int{1, 0}, want: [][]int{{0, 1}, {0, 2}, {2, 3}},
		},
		"Share": {
			reason: "One owner does not get all room, though nobody else is there.",
			room:   3, share: 2,
			arrivals: []arrival{{owner: "a"}, {owner: "a"}, {owner: "a"}, {owner: "b"}},
			leaves:   []int{0}, want: [][]int{{0, 1, 3}, {1, 2, 3}},
		},
		"Fair": {
			reason: "Who has fewer inside comes first, however many of another wait.",
			room:   2, share: 2,
			arrivals: []arrival{{owner: "a"}, {owner: "a"}, {owner: "a"}, {owner: "b"}},
			leaves:   []int{0, 1}, want: [][]int{{0, 3}, {1, 3}, {2, 3}},
		},
		"Alone": {
			reason: "One who has to be alone waits for all, and holds up who came later.",
			room:   3, share: 3,
			arrivals: []arrival{{owner: "a"}, {owner: "b", alone: true}, {owner: "c"}},
			leaves:   []int{0, 1}, want: [][]int{{0}, {1}, {2}},
		},
		"SlowTakeNoPlaces": {
			reason: "Who is slow does not count, so that others find room; of the same owner nobody waits any more.",
			room:   2, share: 1,
			arrivals: []arrival{{owner: "a"}, {owner: "b"}, {owner: "a"}, {owner: "c"}, {owner: "d"}},
			lost:     []int{0, 1}, sent: []int{2},
			want: [][]int{{0, 1, 3, 4}},
		},
		"TooManySlow": {
			reason: "When there is no more room for slow ones, nobody waits.",
			room:   1, share: 1,
			arrivals: []arrival{{owner: "a"}, {owner: "b"}, {owner: "c"}},
			lost:     []int{0, 1}, sent: []int{2},
			want: [][]int{{0, 1}},
		},
		"SlowAlone": {
			reason: "Nobody waits for one who is slow and alone.",
			room:   2, share: 1,
			arrivals: []arrival{{owner: "a", alone: true}, {owner: "b"}},
			lost:     []int{0}, sent: []int{1},
			want: [][]int{{0}},
		},
		"Queue": {
			reason: "Of one owner only so many wait.",
			room:   1, share: 1, queue: 2,
			arrivals: []arrival{{owner: "a"}, {owner: "a"}, {owner: "a"}, {owner: "b"}},
			sent:     []int{2}, leaves: []int{0, 1}, want: [][]int{{0}, {1}, {3}},
		},
		"AloneIsOvertakenWhileAbandoned": {
			reason: "Behind one that nobody waits for it holds up nobody.",
			room:   3, share: 3,
			arrivals: []arrival{{owner: "a"}, {owner: "b", alone: true}, {owner: "c"}},
			lost:     []int{0},
			leaves:   []int{0, 2}, want: [][]int{{0, 2}, {2}, {1}},
		},
	}

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			g := newGate(tc.room, tc.share, 0)
			g.queue = tc.queue
			g.alone = true // all arrive before the first goes in

			visitors := make([]*visitor, len(tc.arrivals))
			for i, a := range tc.arrivals {
				visitors[i] = g.come(a.owner, a.alone)
			}

			g.alone = false
			g.admit()

			for _, i := range tc.lost {
				visitors[i].abandon()
			}

			if diff := cmp.Diff(tc.sent, sent(visitors)); diff != "" {
				t.Errorf("%s\nsent away: -want, +got:\n%s", tc.reason, diff)
			}

			left := map[int]bool{}
			got := [][]int{inside(visitors, left)}

			for _, i := range tc.leaves {
				visitors[i].leave()

				left[i] = true
				got = append(got, inside(visitors, left))
			}

			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("%s\ninside: -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}

func sent(visitors []*visitor) []int {
	var away []int

	for i, v := range visitors {
		if errors.Is(v.err, ErrBusy) {
			away = append(away, i)
		}
	}

	return away
}

func inside(visitors []*visitor, left map[int]bool) []int {
	var in []int

	for i, v := range visitors {
		select {
		case <-v.enter:
			if !left[i] && v.err == nil {
				in = append(in, i)
			}
		default:
		}
	}

	return in
}

func TestGateGivesUp(t *testing.T) {
	g := newGate(1, 1, 0)
	why := errors.New("superseded")

	first, err := g.pass(context.Background(), "a", false)
	if err != nil {
		t.Fatal(err)
	}

	ctx, cancel := context.WithCancelCause(context.Background())
	cancel(why)

	if _, err := g.pass(ctx, "b", true); !errors.Is(err, why) {
		t.Errorf("pass(): error %v, want %v", err, why)
	}

	first.leave()

	last, err := g.pass(context.Background(), "c", true)
	if err != nil {
		t.Fatalf("who gave up is still in the way: %v", err)
	}

	last.leave()

	if g.inside != 0 || g.slow != 0 || g.alone || len(g.owners) != 0 || len(g.waiting) != 0 {
		t.Errorf("the gate is not as new: %+v", g)
	}
}

// Many come, give up, are abandoned and leave: never too many are inside, and the gate is as new afterwards.
func TestGateUnderLoad(t *testing.T) {
	const room, share = 4, 2

	g := newGate(room, share, 0)

	var (
		all    sync.WaitGroup
		inside atomic.Int32
		alone  atomic.Int32
	)

	for i := range 400 {
		ctx, cancel := context.WithCancel(context.Background())

		all.Go(func() {
			defer cancel()

			v, err := g.pass(ctx, string(rune('a'+i%3)), i%11 == 0)
			if err != nil {
				return
			}

			if v.alone {
				alone.Add(1)
			}

			if n := inside.Add(1); n > room || alone.Load() > 0 && n > 1 {
				t.Errorf("%d are inside, %d alone", n, alone.Load())
			}

			if i%13 == 0 {
				v.abandon()
			}

			inside.Add(-1)

			if v.alone {
				alone.Add(-1)
			}

			v.leave()
		})

		if i%7 == 0 {
			cancel()
		}
	}

	all.Wait()

	if g.inside != 0 || g.slow != 0 || g.alone || len(g.owners) != 0 || len(g.waiting) != 0 {
		t.Errorf("the gate is not as new: %+v", g)
	}
}
