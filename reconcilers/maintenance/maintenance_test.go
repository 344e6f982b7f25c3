package maintenance_test

import (
	"fmt"
	"strings"
	"testing"
	"time"
	_ "time/tzdata" // the answers are those of the embedded database or of a newer one

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	fluxv1 "github.com/weir-dev/weir/api/controlplane/v1"
	"github.com/weir-dev/weir/reconcilers/maintenance"
)

func at(t *testing.T, text string) time.Time {
	t.Helper()

	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		t.Fatal(err)
	}

	return at
}

func schedule(t *testing.T, expression, zone string) *maintenance.Schedule {
	t.Helper()

	z, err := maintenance.Zone(zone)
	if err != nil {
		t.Fatal(err)
	}

	s, err := maintenance.Cron(expression, z)
	if err != nil {
		t.Fatal(err)
	}

	return s
}

func TestNext(t *testing.T) {
	tests := map[string]struct {
		reason           string
		expression, zone string
		after            string
		want             []string
	}{
		"UTC": {
			reason:     "Without a zone the times are those of UTC.",
			expression: "30 2 * * *", after: "2026-11-20T02:30:00Z",
			want: []string{"2026-11-21T02:30:00Z", "2026-11-22T02:30:00Z"},
		},
		"Fractions": {
			reason:     "A moment before the time, the time is still to come.",
			expression: "30 2 * * *", after: "2026-11-20T02:29:59.999999999Z",
			want: []string{"2026-11-20T02:30:00Z"},
		},
		"Zone": {
			reason:     "The hour is that of the zone, in summer and in winter.",
			expression: "0 22 * * 6", zone: "Europe/Berlin", after: "2026-10-18T00:00:00Z",
			want: []string{"2026-10-24T22:00:00+02:00", "2026-10-31T22:00:00+01:00"},
		},
		"Names": {
			reason:     "Months and days of the week have names.",
			expression: "0 0 * jan-feb SUN", after: "2026-11-20T00:00:00Z",
			want: []string{"2027-01-03T00:00:00Z"},
		},
		"EitherDay": {
			reason:     "As with every cron, one of day of the month and day of the week is enough if both are given.",
			expression: "0 0 13 * 5", after: "2026-11-13T00:00:00Z",
			want: []string{"2026-11-20T00:00:00Z", "2026-11-27T00:00:00Z", "2026-12-04T00:00:00Z", "2026-12-11T00:00:00Z", "2026-12-13T00:00:00Z"},
		},
		"ShortMonths": {
			reason:     "Months without the day are left out.",
			expression: "0 0 31 * *", after: "2026-08-31T00:00:00Z",
			want: []string{"2026-10-31T00:00:00Z", "2026-12-31T00:00:00Z"},
		},
		"LeapDay": {
			reason:     "There is none for eight years around a turn of the century.",
			expression: "0 0 29 2 *", zone: "America/New_York", after: "2096-02-29T05:00:00Z",
			want: []string{"2104-02-29T00:00:00-05:00"},
		},
		"LastDayOfALeapYear": {
			reason:     "It is a day like all others.",
			expression: "0 12 * * *", zone: "Europe/Berlin", after: "2096-12-30T12:00:00Z",
			want: []string{"2096-12-31T12:00:00+01:00", "2097-01-01T12:00:00+01:00"},
		},
		"Skipped": {
			reason:     "A time in the hour that the clock skips is at the moment of the jump, once.",
			expression: "10,20,30 2 * * *", zone: "Europe/Berlin", after: "2026-03-28T01:25:00Z",
			want: []string{"2026-03-28T02:30:00+01:00", "2026-03-29T03:00:00+02:00", "2026-03-30T02:10:00+02:00"},
		},
		"AfterTheSkip": {
			reason:     "What the clock shows right after the jump comes once, not twice.",
			expression: "0 2,3 * * *", zone: "Europe/Berlin", after: "2026-03-28T12:00:00Z",
			want: []string{"2026-03-29T03:00:00+02:00", "2026-03-30T02:00:00+02:00"},
		},
		"Twice": {
			reason:     "An hour that the clock shows twice counts twice.",
			expression: "30 2 * * *", zone: "Europe/Berlin", after: "2026-10-24T12:00:00Z",
			want: []string{"2026-10-25T02:30:00+02:00", "2026-10-25T02:30:00+01:00", "2026-10-26T02:30:00+01:00"},
		},
		"TwiceAtTheChange": {
			reason:     "So does the moment when it is put back.",
			expression: "0 2 * * *", zone: "Europe/Berlin", after: "2026-10-24T12:00:00Z",
			want: []string{"2026-10-25T02:00:00+02:00", "2026-10-25T02:00:00+01:00", "2026-10-26T02:00:00+01:00"},
		},
		"NoMidnight": {
			reason:     "Some clocks are put forward at midnight.",
			expression: "0 0 * * *", zone: "America/Sao_Paulo", after: "2018-11-03T12:00:00Z",
			want: []string{"2018-11-04T01:00:00-02:00", "2018-11-05T00:00:00-02:00"},
		},
		"HalfAnHour": {
			reason:     "Some by half an hour, and what comes later on that day is at its minute.",
			expression: "15 2,3 * * *", zone: "Australia/Lord_Howe", after: "2026-10-03T00:00:00Z",
			want: []string{"2026-10-04T02:30:00+11:00", "2026-10-04T03:15:00+11:00", "2026-10-05T02:15:00+11:00"},
		},
		"NoFriday": {
			reason:     "Samoa has once left out a day.",
			expression: "0 5 * * 5", zone: "Pacific/Apia", after: "2011-12-29T00:00:00Z",
			want: []string{"2011-12-31T00:00:00+14:00", "2012-01-06T05:00:00+14:00"},
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			s := schedule(t, tc.expression, tc.zone)

			var got []string
			for next := at(t, tc.after); len(got) < len(tc.want); {
				next = s.Next(next)
				got = append(got, next.Format(time.RFC3339))
			}

			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("%s\n(-want +got):\n%s", tc.reason, diff)
			}
		})
	}
}

// TestNextByTheMinute compares with a look at the clock on the wall at every minute of days when it is put forward and back.
func TestNextByTheMinute(t *testing.T) {
	for _, zone := range []string{"UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata", "Asia/Beirut", "Africa/Casablanca"} {
		for _, expression := range []string{"* * * * *", "*/20 * * * *", "15 1-3 * * *", "0 0 * * *", "59 23 * * *", "0 */2 * * 0", "30 0 29 3 *"} {
			t.Run(zone+" "+expression, func(t *testing.T) {
				s, wall := schedule(t, expression, zone), schedule(t, expression, "UTC")

				for _, from := range []string{"2026-03-27T00:00:00Z", "2026-10-03T00:00:00Z", "2026-10-24T00:00:00Z", "2026-11-01T00:00:00Z"} {
					begin := at(t, from)
					want := walk(wall, begin, zone)

					var got []string
					for next := s.Next(begin); !next.After(begin.Add(days)) && !next.IsZero(); next = s.Next(next) {
						got = append(got, next.UTC().Format(time.RFC3339))
					}

					if diff := cmp.Diff(want, got); diff != "" {
						t.Errorf("from %s (-want +got):\n%s", from, diff)
					}
				}
			})
		}
	}
}

const days = 4 * 24 * time.Hour

// walk goes by the minute and returns when the wall shows a time of the schedule, or has skipped one.
func walk(wall *maintenance.Schedule, begin time.Time, zone string) []string {
	location, _ := time.LoadLocation(zone)
	face := func(t time.Time) time.Time {
		_, offset := t.In(location).Zone()

		return t.Add(time.Duration(offset) * time.Second)
	}

	var times []string
	for t := begin.Add(time.Minute); !t.After(begin.Add(days)); t = t.Add(time.Minute) {
		seen, now := face(t.Add(-time.Minute)), face(t)
		if now.Before(seen) {
			seen = now.Add(-time.Minute)
		}

		if !wall.Next(seen).After(now) {
			times = append(times, t.Format(time.RFC3339))
		}
	}

	return times
}

func TestErrors(t *testing.T) {
	tests := map[string]struct {
		window fluxv1.UpgradeWindow
		want   string
	}{
		"Empty":       {fluxv1.UpgradeWindow{}, `spec.upgrade.windows[1].schedule: cron expression "": empty spec string`},
		"FourFields":  {window("0 0 * *", "", time.Hour), `spec.upgrade.windows[1].schedule: cron expression "0 0 * *": expected exactly 5 fields, found 4: [0 0 * *]`},
		"Seconds":     {window("0 0 0 * * *", "", time.Hour), `spec.upgrade.windows[1].schedule: cron expression "0 0 0 * * *": expected exactly 5 fields, found 6: [0 0 0 * * *]`},
		"Minute":      {window("60 0 * * *", "", time.Hour), `spec.upgrade.windows[1].schedule: cron expression "60 0 * * *": end of range (60) above maximum (59): 60`},
		"Word":        {window("0 noon * * *", "", time.Hour), `spec.upgrade.windows[1].schedule: cron expression "0 noon * * *": failed to parse int from noon: strconv.Atoi: parsing "noon": invalid syntax`},
		"NoStep":      {window("*/0 * * * *", "", time.Hour), `spec.upgrade.windows[1].schedule: cron expression "*/0 * * * *": step of range should be a positive number: */0`},
		"Macro":       {window("@daily", "", time.Hour), `spec.upgrade.windows[1].schedule: cron expression "@daily": want five fields, without a zone or a macro`},
		"ZoneInCron":  {window("TZ=Europe/Berlin 0 0 * * *", "", time.Hour), `spec.upgrade.windows[1].schedule: cron expression "TZ=Europe/Berlin 0 0 * * *": want five fields, without a zone or a macro`},
		"ZoneOnly":    {window("TZ=0", "", time.Hour), `spec.upgrade.windows[1].schedule: cron expression "TZ=0": want five fields, without a zone or a macro`},
		"February30":  {window("0 0 30 2 *", "", time.Hour), `spec.upgrade.windows[1].schedule: cron expression "0 0 30 2 *": no day is ever like this`},
		"June31":      {window("0 0 31 4,6,9,11 *", "", time.Hour), `spec.upgrade.windows[1].schedule: cron expression "0 0 31 4,6,9,11 *": no day is ever like this`},
		"Nothing":     {window(", * * * *", "", time.Hour), `spec.upgrade.windows[1].schedule: cron expression ", * * * *": no day is ever like this`},
		"Long":        {window(strings.Repeat("0,", 200)+"0 * * * *", "", time.Hour), `spec.upgrade.windows[1].schedule: cron expression has 409 bytes, want 256 at most`},
		"Zone":        {window("0 0 * * *", "Europe/Atlantis", time.Hour), `spec.upgrade.windows[1].timeZone: time zone "Europe/Atlantis" is not in the IANA database`},
		"ZoneOutside": {window("0 0 * * *", "../../etc/localtime", time.Hour), `spec.upgrade.windows[1].timeZone: time zone "../../etc/localtime" is not in the IANA database`},
		"ZoneMachine": {window("0 0 * * *", "Local", time.Hour), `spec.upgrade.windows[1].timeZone: time zone "Local" is another one on each machine`},
		"NoDuration":  {window("0 0 * * *", "UTC", 0), `spec.upgrade.windows[1].duration: 0s is too short, want 1m0s at least`},
		"Short":       {window("0 0 * * *", "UTC", 59*time.Second), `spec.upgrade.windows[1].duration: 59s is too short, want 1m0s at least`},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := maintenance.Parse("spec.upgrade.windows", []fluxv1.UpgradeWindow{window("0 0 * * *", "", time.Hour), tc.window})
			if err == nil || err.Error() != tc.want || got != nil {
				t.Errorf("got %v, %v\nwant %s", got, err, tc.want)
			}
		})
	}
}

func window(schedule, zone string, d time.Duration) fluxv1.UpgradeWindow {
	return fluxv1.UpgradeWindow{Schedule: schedule, TimeZone: zone, Duration: metav1.Duration{Duration: d}}
}

func TestWindows(t *testing.T) {
	night := window("30 23 * * 1-5", "Europe/Berlin", 3*time.Hour)
	noon := window("0 12 * * *", "", 30*time.Minute)
	tests := map[string]struct {
		reason  string
		windows []fluxv1.UpgradeWindow
		at      string
		open    bool
		next    string
	}{
		"None":     {"Without a window the time is always right.", nil, "2026-11-20T00:00:00Z", true, ""},
		"Before":   {"It is not open yet.", []fluxv1.UpgradeWindow{noon}, "2026-11-20T11:59:59.999999999Z", false, "2026-11-20T12:00:00Z"},
		"Opens":    {"It is open from the first moment on.", []fluxv1.UpgradeWindow{noon}, "2026-11-20T12:00:00Z", true, "2026-11-21T12:00:00Z"},
		"Last":     {"To the last.", []fluxv1.UpgradeWindow{noon}, "2026-11-20T12:29:59.999999999Z", true, "2026-11-21T12:00:00Z"},
		"Closes":   {"When it closes, it is closed.", []fluxv1.UpgradeWindow{noon}, "2026-11-20T12:30:00Z", false, "2026-11-21T12:00:00Z"},
		"Midnight": {"A window goes on after midnight, also into a day when none opens.", []fluxv1.UpgradeWindow{night}, "2026-11-21T00:30:00+01:00", true, "2026-11-23T23:30:00+01:00"},
		"Weekend":  {"And not on the next night.", []fluxv1.UpgradeWindow{night}, "2026-11-22T00:30:00+01:00", false, "2026-11-23T23:30:00+01:00"},
		"OneOfTwo": {"One that is open is enough.", []fluxv1.UpgradeWindow{night, noon}, "2026-11-20T12:10:00Z", true, "2026-11-20T23:30:00+01:00"},
		"Earliest": {"The one that opens first is the next.", []fluxv1.UpgradeWindow{night, noon}, "2026-11-20T00:00:00+01:00", true, "2026-11-20T12:00:00Z"},
		"Itself":   {"A window that is longer than the time between two openings is always open.", []fluxv1.UpgradeWindow{window("0 * * * *", "", 2*time.Hour)}, "2026-11-20T12:59:59Z", true, "2026-11-20T13:00:00Z"},
		"Overlap":  {"What one window has left open another one closes.", []fluxv1.UpgradeWindow{noon, window("20 12 * * *", "", time.Hour)}, "2026-11-20T13:00:00Z", true, "2026-11-21T12:00:00Z"},
		"Shorter":  {"Durations are real time: when the clock is put back in a window, that shows the same hour twice.", []fluxv1.UpgradeWindow{window("0 1 * * *", "Europe/Berlin", 2*time.Hour)}, "2026-10-25T02:59:59+02:00", true, "2026-10-26T01:00:00+01:00"},
		"NotLonger": {
			"And is closed in the second of them.", []fluxv1.UpgradeWindow{window("0 1 * * *", "Europe/Berlin", 2*time.Hour)},
			"2026-10-25T02:00:00+01:00", false, "2026-10-26T01:00:00+01:00",
		},
		"Jump":   {"A window in the hour that is skipped opens at the jump, for as long as it says.", []fluxv1.UpgradeWindow{window("15 2 * * *", "Europe/Berlin", time.Hour)}, "2026-03-29T03:59:59+02:00", true, "2026-03-30T02:15:00+02:00"},
		"Always": {"The longest duration that can be written is no trouble.", []fluxv1.UpgradeWindow{window("0 0 1 1 *", "Europe/Berlin", 1<<63-1)}, "2026-03-29T03:59:59+02:00", true, "2027-01-01T00:00:00+01:00"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			windows, err := maintenance.Parse("windows", tc.windows)
			if err != nil {
				t.Fatal(err)
			}

			next := ""
			if got := windows.Next(at(t, tc.at)); !got.IsZero() {
				next = got.Format(time.RFC3339)
			}

			if got := windows.Open(at(t, tc.at)); got != tc.open || next != tc.next {
				t.Errorf("open %t, next %q; want %t, %q: %s", got, next, tc.open, tc.next, tc.reason)
			}
		})
	}
}

func Example() {
	windows, err := maintenance.Parse("spec.upgrade.windows", []fluxv1.UpgradeWindow{{
		Schedule: "0 22 * * sat", TimeZone: "Europe/Berlin", Duration: metav1.Duration{Duration: 4 * time.Hour},
	}})
	if err != nil {
		fmt.Println(err)

		return
	}

	now := time.Date(2026, time.November, 20, 12, 0, 0, 0, time.UTC)
	fmt.Println(windows.Open(now), windows.Next(now))
	// Output: false 2026-11-21 22:00:00 +0100 CET
}
