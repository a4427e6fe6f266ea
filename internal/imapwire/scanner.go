package imapwire

import "bytes"

// Announcement is a literal as the end of a line announces it.
type Announcement struct {
	Size   int64
	Sync   bool // "{n}": the client waits for a continuation; "{n+}" does not
	Binary bool // "~{n}": literal8 (RFC 3516)
}

// Event is what a [Scanner] met.
type Event uint8

// The events. Text and Content say what the octets taken are; the line ends of
// EndOfLine and EndOfCommand are among them.
const (
	Text         Event = iota // part of a line, whose end is not there yet
	EndOfLine                 // a line that announces a literal
	Content                   // octets of the literal
	EndOfCommand              // the line that ends the command
)

// Scanner finds the boundaries of commands in a stream that comes in pieces of
// any size. It keeps none of it. The zero value begins at a command.
type Scanner struct {
	tail    [maxAnnouncement]byte // the end of the line so far
	n       int
	left    int64 // octets of the literal still to come
	literal Announcement
}

// maxAnnouncement is longer than any announcement that fits an int64, with CR.
const maxAnnouncement = 26

// Next takes the first n octets of p, at least one if there is one, up to the
// next event.
func (s *Scanner) Next(p []byte) (n int, ev Event) {
	if s.left > 0 {
		n = int(min(s.left, int64(len(p))))
		s.left -= int64(n)
		return n, Content
	}
	i := bytes.IndexByte(p, '\n')
	if i < 0 {
		s.keep(p)
		return len(p), Text
	}
	s.keep(p[:i])
	a, ok := AnnouncementAt(s.tail[:s.n])
	s.n = 0
	if !ok {
		return i + 1, EndOfCommand
	}
	s.literal, s.left = a, a.Size
	return i + 1, EndOfLine
}

// Literal is the literal announced by the last line.
func (s *Scanner) Literal() Announcement { return s.literal }

// Pending is how many octets of the literal have not been seen.
func (s *Scanner) Pending() int64 { return s.left }

// Reset forgets an unfinished command: its literal was refused and will not come.
func (s *Scanner) Reset() { *s = Scanner{} }

func (s *Scanner) keep(b []byte) {
	if len(b) >= len(s.tail) {
		s.n = copy(s.tail[:], b[len(b)-len(s.tail):])
		return
	}
	if over := s.n + len(b) - len(s.tail); over > 0 {
		s.n = copy(s.tail[:], s.tail[over:s.n])
	}
	s.n += copy(s.tail[s.n:], b)
}

// AnnouncementAt reads the literal announced at the end of a line, which may
// still have its CR. A number that is too large for an int64 becomes the largest.
func AnnouncementAt(line []byte) (Announcement, bool) {
	line = bytes.TrimSuffix(line, []byte{'\r'})
	b, ok := bytes.CutSuffix(line, []byte{'}'})
	if !ok {
		return Announcement{}, false
	}
	a := Announcement{Sync: true}
	if c, ok := bytes.CutSuffix(b, []byte{'+'}); ok {
		b, a.Sync = c, false
	}
	i := len(b)
	for i > 0 && '0' <= b[i-1] && b[i-1] <= '9' {
		i--
	}
	digits := b[i:]
	if len(digits) == 0 || len(digits) < maxDigits && (i == 0 || b[i-1] != '{') {
		return Announcement{}, false
	}
	a.Size = literalSize(digits)
	a.Binary = i > 1 && b[i-2] == '~'
	return a, true
}

// maxDigits: a longer number is taken as too large without a look at what is
// before it, since a Scanner may not have kept that.
const maxDigits = 20

func literalSize(digits []byte) int64 {
	const largest = 1<<63 - 1
	var n int64
	for _, c := range digits {
		d := int64(c - '0')
		if n > (largest-d)/10 {
			return largest
		}
		n = n*10 + d
	}
	return n
}
