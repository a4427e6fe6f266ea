package message

import "time"

// Date is the instant of a Date field, and the zone it was written in, since
// SENTSINCE and its like compare the day as written (RFC 3501 6.4.4).
type Date struct {
	Unix  int64 // seconds
	Zone  int16 // minutes east of Greenwich
	Valid bool
}

// Time is the instant in the zone it was written in.
func (d Date) Time() time.Time {
	return time.Unix(d.Unix, 0).In(time.FixedZone("", int(d.Zone)*60))
}

// Day is the day as written, counted from 1970-01-01.
func (d Date) Day() int64 {
	local := d.Unix + int64(d.Zone)*60
	if local < 0 {
		local -= 86399
	}
	return local / 86400
}

// maxDateTokens is far above what a date has.
const maxDateTokens = 20

// ParseDate reads RFC 5322 3.3 and what is older or broken: two- and three-digit
// years, zones by name or letter, asctime, ISO 8601, missing days, seconds and
// zones (UTC is taken), any order that is unambiguous.
func ParseDate(v string) (Date, bool) {
	if len(v) > 1000 {
		v = v[:1000]
	}
	d := dateParser{scanner: scanner{v: v}}
	for range maxDateTokens {
		d.skipBlank()
		if d.done() {
			break
		}
		d.token()
	}
	return d.date()
}

type dateParser struct {
	scanner
	year, month, day  int
	hour, minute, sec int
	zone              int
	hasYear, hasTime  bool
	hasZone, broken   bool
}

func (d *dateParser) token() {
	switch c := d.peek(); {
	case isDigit(c):
		d.numeric()
	case c == '+' || c == '-':
		d.offset()
	case isLetter(c):
		d.word()
	default:
		d.pos++
	}
}

func isDigit(c byte) bool  { return '0' <= c && c <= '9' }
func isLetter(c byte) bool { c |= 0x20; return 'a' <= c && c <= 'z' }

// number reads at most 9 digits.
func (d *dateParser) number() (n, digits int) {
	for digits < 9 && isDigit(d.peek()) {
		n = n*10 + int(d.peek()-'0')
		d.pos++
		digits++
	}
	return n, digits
}

// numeric reads a time, a day, a year, or a date of ISO 8601.
func (d *dateParser) numeric() {
	n, digits := d.number()
	switch {
	case d.peek() == ':' && !d.hasTime:
		d.time(n)
	case digits == 4 && d.peek() == '-' && d.month == 0 && !d.hasYear:
		d.iso(n)
	case d.day == 0 && digits <= 2:
		d.day = n
		d.broken = d.broken || n == 0
		d.accept('-')
	case !d.hasYear:
		d.setYear(n, digits)
	}
}

func (d *dateParser) iso(year int) {
	d.setYear(year, 4)
	d.accept('-')
	d.month, _ = d.number()
	d.accept('-')
	d.day, _ = d.number()
	d.broken = d.broken || d.month == 0 || d.day == 0
	d.accept('T')
}

// setYear follows RFC 5322 4.3.
func (d *dateParser) setYear(n, digits int) {
	switch {
	case digits <= 2 && n < 50:
		n += 2000
	case digits <= 3:
		n += 1900
	}
	d.year, d.hasYear = n, true
}

func (d *dateParser) time(hour int) {
	d.hour, d.hasTime = hour, true
	d.accept(':')
	d.minute, _ = d.number()
	if d.accept(':') {
		d.sec, _ = d.number()
		if d.accept('.') {
			d.number()
		}
	}
}

// offset reads "+hhmm" or "+hh:mm".
func (d *dateParser) offset() {
	minus := d.peek() == '-'
	d.pos++
	n, digits := d.number()
	if digits == 0 || !d.hasTime || d.hasZone {
		return
	}
	if digits <= 2 {
		n *= 100
		if d.accept(':') {
			m, _ := d.number()
			n += m % 60
		}
	}
	zone := n/100*60 + n%100
	if n%100 >= 60 || zone >= 24*60 {
		zone = 0
	}
	if minus {
		zone = -zone
	}
	d.zone, d.hasZone = zone, true
}

func (d *dateParser) word() {
	from := d.pos
	for isLetter(d.peek()) {
		d.pos++
	}
	w := d.v[from:d.pos]
	if d.month == 0 {
		if d.month = monthOf(w); d.month > 0 {
			d.accept('-')
			return
		}
	}
	if zone, ok := zoneOf(w); ok && d.hasTime && !d.hasZone {
		d.zone, d.hasZone = zone, true
	} else if equalFold(w, "pm") && d.hour < 12 {
		d.hour += 12
	}
}

func monthOf(w string) int {
	const names = "janfebmaraprmayjunjulaugsepoctnovdec"
	if len(w) < 3 {
		return 0
	}
	for i := range 12 {
		if equalFold(w[:3], names[3*i:3*i+3]) {
			return i + 1
		}
	}
	return 0
}

// zoneOf is the offset in minutes of an obsolete zone. Of the letters only "Z"
// has a meaning that can be trusted (RFC 5322 4.3).
func zoneOf(w string) (int, bool) {
	if len(w) == 1 {
		return 0, true
	}
	if equalFold(w, "UT") || equalFold(w, "GMT") || equalFold(w, "UTC") {
		return 0, true
	}
	if len(w) != 3 || w[2]|0x20 != 't' {
		return 0, false
	}
	var hours int
	switch w[0] | 0x20 {
	case 'e':
		hours = -5
	case 'c':
		hours = -6
	case 'm':
		hours = -7
	case 'p':
		hours = -8
	default:
		return 0, false
	}
	switch w[1] | 0x20 {
	case 's':
		return hours * 60, true
	case 'd':
		return (hours + 1) * 60, true
	}
	return 0, false
}

func (d *dateParser) date() (Date, bool) {
	if d.broken || !d.hasYear || d.month < 1 || d.month > 12 || d.day < 1 || d.day > 31 ||
		d.year > 9999 || d.hour > 24 || d.minute > 59 || d.sec > 60 {
		return Date{}, false
	}
	t := time.Date(d.year, time.Month(d.month), d.day, d.hour, d.minute, min(d.sec, 59), 0, time.UTC)
	return Date{Unix: t.Unix() - int64(d.zone)*60, Zone: int16(d.zone), Valid: true}, true
}
