package cli

import (
	"testing"
	"time"
)

func TestMomentsAreReadAsPeopleWriteThem(t *testing.T) {
	zone := time.FixedZone("", 7200)
	now := time.Date(2026, 3, 10, 12, 0, 0, 0, zone)
	for s, want := range map[string]time.Time{
		"":                     {},
		"2d":                   now.AddDate(0, 0, -2),
		"90m":                  now.Add(-90 * time.Minute),
		"2026-01-31":           time.Date(2026, 1, 31, 0, 0, 0, 0, zone),
		"2026-01-31 15:04":     time.Date(2026, 1, 31, 15, 4, 0, 0, zone),
		"2026-01-31T15:04:05Z": time.Date(2026, 1, 31, 15, 4, 5, 0, time.UTC),
	} {
		if got, err := parseWhen(s, now); err != nil || !got.Equal(want) {
			t.Errorf("%q: %v, %v; want %v", s, got, err, want)
		}
	}
	for _, s := range []string{"yesterday", "-2h", "d", "31.1.2026"} {
		if got, err := parseWhen(s, now); err == nil {
			t.Errorf("%q is read as %v", s, got)
		}
	}
}
