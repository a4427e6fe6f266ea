package message

import (
	"errors"
	"fmt"
	"io"
)

// maxTextLine is the longest line of 7bit and 8bit data, without its end (RFC 2045 2.7).
const maxTextLine = 998

// Decoded is what a part is when its transfer encoding is undone.
type Decoded struct {
	Size     int64
	NUL      bool
	Encoding string // the identity that fits: "7bit", "8bit" or "binary"
}

// Describe reads decoded octets.
func Describe(r io.Reader) (Decoded, error) {
	d := Decoded{Encoding: "7bit"}
	var last byte
	line := 0
	buf := make([]byte, 32<<10)
	for {
		n, err := r.Read(buf)
		for _, c := range buf[:n] {
			switch {
			case c == 0:
				d.NUL = true
				d.Encoding = "binary"
			case c == '\n':
				line = -1
			}
			if line++; line > maxTextLine+1 || (last == '\r') != (c == '\n') { // a CR or LF alone
				d.Encoding = "binary"
			} else if c >= 0x80 && d.Encoding == "7bit" {
				d.Encoding = "8bit"
			}
			last = c
		}
		d.Size += int64(n)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return d, fmt.Errorf("read decoded part: %w", err)
		}
	}
	if last == '\r' {
		d.Encoding = "binary"
	}
	return d, nil
}

// As is the part with its octets as d describes them, for RFC 5524's BODYPARTSTRUCTURE.
// A part with parts of its own is what it was. Lines are those of the text as it is
// encoded, and none are told of it when it is not any more: so imaptest has it.
func (p *Part) As(d Decoded) Part {
	q := *p
	if p.IsMultipart() || p.IsMessage() {
		return q
	}
	if !p.identity() {
		q.Lines = 0
	}
	q.Body.End, q.Encoding = q.Body.Start+d.Size, d.Encoding
	return q
}
