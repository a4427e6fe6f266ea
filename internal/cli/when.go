package cli

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// parseDuration is time.ParseDuration, and whole days as "14d".
func parseDuration(s string) (time.Duration, error) {
	if n, ok := strings.CutSuffix(s, "d"); ok {
		if days, err := strconv.ParseUint(n, 10, 16); err == nil {
			return time.Duration(days) * 24 * time.Hour, nil
		}
	}
	d, err := time.ParseDuration(s)
	if err != nil || d <= 0 {
		return 0, fmt.Errorf("%q is no time: say 14d, 36h or 90m", s)
	}
	return d, nil
}

// parseWhen reads a moment: so long before now, or a date with or without a time, of
// this host's zone unless it names one. "" is the zero time.
func parseWhen(s string, now time.Time) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	if d, err := parseDuration(s); err == nil {
		return now.Add(-d), nil
	}
	for _, layout := range []string{time.RFC3339, "2006-01-02 15:04:05", "2006-01-02 15:04", "2006-01-02"} {
		if t, err := time.ParseInLocation(layout, s, now.Location()); err == nil {
			return t, nil
		}
	}
	return time.Time{}, errors.New(strconv.Quote(s) + " is no moment: say 2d, 2026-01-31, '2026-01-31 15:04' or 2026-01-31T15:04:05Z")
}

// when is how a moment is shown to people.
func when(t time.Time) string { return t.Local().Format("2006-01-02 15:04:05") }
