package imapwire

import (
	"strings"
	"time"
)

const dateTimeForm = "_2-Jan-2006 15:04:05 -0700"

// dateTime takes the quoted date-time of APPEND.
func (l *lexer) dateTime() (time.Time, error) {
	s, err := l.quoted()
	if err != nil {
		return time.Time{}, err
	}
	if len(s) == 26 {
		if t, err := time.Parse(dateTimeForm, s); err == nil && s[2] == '-' && zoned(s) {
			return t, nil
		}
	}
	return time.Time{}, syntax("Date and time must look like \"17-Jul-1996 02:44:25 -0700\"")
}

// zoned reports whether the zone at the end of s is one: package time takes +9999.
func zoned(s string) bool { return s[22:24] < "24" && s[24:26] < "60" }

// Date is a day of SEARCH, without time and zone.
type Date struct {
	Year  int
	Month time.Month
	Day   int
}

// Days counts from 1970-01-01.
func (d Date) Days() int64 {
	return time.Date(d.Year, d.Month, d.Day, 0, 0, 0, 0, time.UTC).Unix() / 86400
}

// date takes the date of a search key, quoted or not.
func (l *lexer) date() (Date, error) {
	s, err := l.astring()
	if err != nil {
		return Date{}, err
	}
	form := "2-Jan-2006"
	if strings.HasPrefix(s, "0") {
		form = "02-Jan-2006"
	}
	t, err := time.Parse(form, s)
	if err != nil {
		return Date{}, syntax("Date must look like 1-Feb-1994")
	}
	return Date{t.Year(), t.Month(), t.Day()}, nil
}

// AppendDateTime appends t, quoted, as INTERNALDATE has it, in t's zone.
func AppendDateTime(dst []byte, t time.Time) []byte {
	dst = append(dst, '"')
	dst = t.AppendFormat(dst, dateTimeForm)
	return append(dst, '"')
}
