package instance

import (
	"testing"
	"time"
)

func TestSpan(t *testing.T) {
	at := time.Date(2026, 11, 20, 12, 0, 0, 5e8, time.UTC)
	type look struct {
		clock, process time.Duration // since the begin, and since the process was started
		want           time.Duration
	}
	for name, tc := range map[string]struct {
		reason string
		looks  []look
	}{
		"Even":        {"Without jumps it is the time between.", []look{{0, time.Hour, 0}, {time.Minute, time.Hour + time.Minute, time.Minute}}},
		"JumpForward": {"A clock that is set does not shorten it.", []look{{0, 0, 0}, {time.Hour, time.Second, time.Second}}},
		"JumpBack":    {"Nor does it make it longer.", []look{{0, 0, 0}, {-time.Hour, 10 * time.Minute, 10 * time.Minute}}},
		"Found":       {"What was before the process counts.", []look{{3 * time.Minute, 0, 3 * time.Minute}, {4 * time.Minute, time.Minute, 4 * time.Minute}}},
		"FoundLong":   {"But no more than half of it.", []look{{time.Hour, 0, 5 * time.Minute}, {time.Hour, 5 * time.Minute, 10 * time.Minute}}},
		"FoundToCome": {"What is to come has not lasted.", []look{{-time.Hour, time.Minute, 0}, {-time.Hour, 2 * time.Minute, time.Minute}}},
	} {
		t.Run(name, func(t *testing.T) {
			s := span{}
			for i, l := range tc.looks {
				begun := at
				if i > 0 {
					begun = at.Truncate(time.Second) // as the status has it
				}
				if got := s.lasted(begun, at.Add(l.clock), l.process, 10*time.Minute); got != l.want {
					t.Errorf("%s Look %d: got %s, want %s", tc.reason, i, got, l.want)
				}
			}
			if got := s.lasted(at.Add(time.Hour), at.Add(time.Hour), time.Hour, time.Minute); got != 0 {
				t.Errorf("what begins anew has lasted for %s", got)
			}
		})
	}
}
