package pop3d

import (
	"bufio"
	"io"
)

// stuffed reads a message as RFC 1939 3 has it on the wire, without the final dot: a
// dot at the beginning of a line is doubled, and the last line has an end. With lines
// >= 0 it ends after so many lines of the body.
type stuffed struct {
	r     *bufio.Reader
	lines int // of the body that are left; below 0: all

	start   bool // the next octet begins a line
	body    bool // the header has ended
	pending []byte
	ended   bool
	err     error
}

const stuffBuffer = 8 << 10

func newStuffed(r io.Reader, lines int) *stuffed {
	return &stuffed{r: bufio.NewReaderSize(r, stuffBuffer), lines: lines, start: true}
}

// Read implements io.Reader.
func (s *stuffed) Read(p []byte) (int, error) {
	for len(s.pending) == 0 {
		if s.ended {
			return 0, s.err
		}
		s.fill()
	}
	n := copy(p, s.pending)
	s.pending = s.pending[n:]
	return n, nil
}

// fill takes in a piece of a line, at most the buffer.
func (s *stuffed) fill() {
	if s.body && s.start && s.lines == 0 {
		s.ended, s.err = true, io.EOF
		return
	}
	piece, err := s.r.ReadSlice('\n')
	switch {
	case err == nil:
	case err == bufio.ErrBufferFull:
	case err == io.EOF && (len(piece) > 0 || !s.start):
		piece = append(piece[:len(piece):len(piece)], "\r\n"...)
	default:
		s.ended, s.err = true, err
		return
	}
	if s.start && piece[0] == '.' {
		s.pending = append(append(s.pending[:0:0], '.'), piece...)
	} else {
		s.pending = piece
	}
	s.lineOf(piece)
}

// lineOf keeps account of where the next piece begins.
func (s *stuffed) lineOf(piece []byte) {
	ends := piece[len(piece)-1] == '\n'
	blank := s.start && ends && len(piece) <= 2 && (len(piece) == 1 || piece[0] == '\r')
	s.start = ends
	switch {
	case !ends:
	case s.body && s.lines > 0:
		s.lines--
	case blank:
		s.body = true
	}
}
