package message

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// checkOffsets verifies what the package promises of a tree over msg.
func checkOffsets(t interface{ Fatalf(string, ...any) }, msg []byte, d *Derived) {
	root := &d.Root
	if root.Header.Start != 0 || root.Body.End != int64(len(msg)) {
		t.Fatalf("root covers %d-%d of %d octets", root.Header.Start, root.Body.End, len(msg))
	}
	root.Walk(func(p *Part) bool {
		if p.Header.Start > p.Header.End || p.Header.End != p.Body.Start || p.Body.Start > p.Body.End {
			t.Fatalf("part of %v %v: header and body do not follow one another", p.Header, p.Body)
		}
		if got := int64(bytes.Count(msg[p.Body.Start:p.Body.End], lineFeed)); p.Lines != got {
			t.Fatalf("part of %v %v: %d lines, counted %d", p.Header, p.Body, p.Lines, got)
		}
		at := p.Body.Start
		for _, c := range p.Children {
			if c.Header.Start < at || c.Body.End > p.Body.End {
				t.Fatalf("child %v %v is not between %d and %d", c.Header, c.Body, at, p.Body.End)
			}
			at = c.Body.End
		}
		if !p.whole() {
			t.Fatalf("%s/%s has %d children, envelope %v", p.Type, p.Subtype, len(p.Children), p.Envelope != nil)
		}
		return true
	})
	if got := rebuild(msg, root); !bytes.Equal(got, msg) {
		t.Fatalf("the parts do not add up to the message: %q", got)
	}
}

// rebuild concatenates headers, leaf bodies, and what lies between the parts.
func rebuild(msg []byte, p *Part) []byte {
	out := append([]byte(nil), msg[p.Header.Start:p.Header.End]...)
	at := p.Body.Start
	for _, c := range p.Children {
		out = append(out, msg[at:c.Header.Start]...)
		out = append(out, rebuild(msg, c)...)
		at = c.Body.End
	}
	return append(out, msg[at:p.Body.End]...)
}

// mimeLines are the lines of which random messages are made.
var mimeLines = []string{
	"", "", "", "text", "--", "-- ", "--a", "--a", "--a--", "--b", "--b", "--b--", "--ab", "--ab--", "--a ", "--b-- \t",
	"Content-Type: multipart/mixed; boundary=a", "Content-Type: multipart/digest; boundary=b",
	"Content-Type: multipart/mixed;\r\n boundary=\"ab\"", "Content-Type: message/rfc822", "Content-Type: text/html",
	"Content-Type: multipart/mixed", "Content-Transfer-Encoding: base64", "Content-Transfer-Encoding: quoted-printable",
	"Subject: =?utf-8?q?=C3=A9?= x", "From: a <b@c>, g: d@e, f;", "To: \"", "Date: 1 Jan 01 00:00 EST",
	" folded", "\tx", "no colon", "AAAA=", "=C3=", "\xff\x00", "a\rb",
}

func drawMessage(t *rapid.T) []byte {
	var b []byte
	for _, l := range rapid.SliceOfN(rapid.SampledFrom(mimeLines), 0, 60).Draw(t, "lines") {
		b = append(b, l...)
		b = append(b, rapid.SampledFrom([]string{"\r\n", "\r\n", "\r\n", "\n", "\r", ""}).Draw(t, "end")...)
	}
	return b
}

func TestOffsetsAreNestedAndReproduceTheMessage(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		msg := drawMessage(t)
		checkOffsets(t, msg, ParseBytes(msg))
	})
}

// TestSectionsAreTheMessagesOctets: BODY[n.MIME] followed by BODY[n] is what
// stands in the message, and so are HEADER and TEXT.
func TestSectionsAreTheMessagesOctets(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		msg := drawMessage(t)
		d := ParseBytes(msg)
		read := func(s Section) []byte {
			r, ok, err := d.Root.Open(bytes.NewReader(msg), s)
			if !ok || err != nil {
				t.Fatalf("section %v: %v %v", s, ok, err)
			}
			b, _ := io.ReadAll(r)
			return b
		}
		if got := read(Section{}); !bytes.Equal(got, msg) {
			t.Fatalf("BODY[] is %q", got)
		}
		if got := append(read(Section{Kind: SectionHeader}), read(Section{Kind: SectionText})...); !bytes.Equal(got, msg) {
			t.Fatalf("BODY[HEADER] and BODY[TEXT] are %q", got)
		}
		eachPath(d, func(path []int, p *Part) {
			got := append(read(Section{Path: path, Kind: SectionMIME}), read(Section{Path: path})...)
			if want := msg[p.Header.Start:p.Body.End]; !bytes.Equal(got, want) {
				t.Fatalf("part %v is %q, not %q", path, got, want)
			}
			if !p.IsMessage() {
				return
			}
			got = append(read(Section{Path: path, Kind: SectionHeader}), read(Section{Path: path, Kind: SectionText})...)
			if want := read(Section{Path: path}); !bytes.Equal(got, want) {
				t.Fatalf("message %v is %q, not %q", path, got, want)
			}
		})
	})
}

// eachPath visits all parts that have a number, found without [Derived.Find].
func eachPath(d *Derived, visit func([]int, *Part)) {
	var down func(p *Part, path []int)
	number := func(p *Part, path []int) {
		if p.IsMultipart() {
			for i, c := range p.Children {
				down(c, append(path[:len(path):len(path)], i+1))
			}
			return
		}
		down(p, append(path[:len(path):len(path)], 1))
	}
	down = func(p *Part, path []int) {
		visit(path, p)
		switch {
		case p.IsMultipart():
			number(p, path)
		case p.IsMessage():
			number(p.Children[0], path)
		}
	}
	number(&d.Root, nil)
}

// smallReads is a ReaderAt that is not in memory.
type smallReads struct{ b []byte }

func (s smallReads) ReadAt(p []byte, off int64) (int, error) {
	return bytes.NewReader(s.b).ReadAt(p, off)
}

// bigMessage has delimiters at, before and behind the borders of windows.
func bigMessage(shift int) []byte {
	var b bytes.Buffer
	b.WriteString("Content-Type: multipart/mixed; boundary=abcdef\r\nX-Pad: ")
	b.WriteString(strings.Repeat("p", shift))
	b.WriteString("\r\n\r\n")
	for i := range 40 {
		fmt.Fprintf(&b, "\r\n--abcdef\r\nContent-Type: text/plain; name=%d\r\n\r\n", i)
		b.WriteString(strings.Repeat("line of text\r\n", i*37))
		b.WriteString(strings.Repeat("x", i*1301))
	}
	b.WriteString("\r\n--abcdef--\r\n")
	return b.Bytes()
}

func TestWindowedParseEqualsParseInMemory(t *testing.T) {
	for shift := range 120 {
		msg := bigMessage(shift)
		got, err := Parse(smallReads{msg}, int64(len(msg)))
		if err != nil {
			t.Fatal(err)
		}
		want := ParseBytes(msg)
		if len(want.Root.Children) != 40 {
			t.Fatalf("%d children", len(want.Root.Children))
		}
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("shift %d: parses differ", shift)
		}
		if shift == 0 {
			checkOffsets(t, msg, got)
		}
	}
}

// TestDelimiterAcrossTheBorderOfAWindow puts each octet around a delimiter at the
// end of the first window.
func TestDelimiterAcrossTheBorderOfAWindow(t *testing.T) {
	const head = "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\n"
	for before := -4; before <= 12; before++ {
		pad := windowSize - len(head) - before
		msg := []byte(head + strings.Repeat("x", pad) + "\r\n--b\r\n\r\nsecond\r\n--b--\r\n" + strings.Repeat("y", windowSize))
		d, err := Parse(smallReads{msg}, int64(len(msg)))
		if err != nil {
			t.Fatal(err)
		}
		checkOffsets(t, msg, d)
		if n := len(d.Root.Children); n != 2 || d.Root.Children[0].Size() != int64(pad) {
			t.Errorf("%d octets before the border: %d parts", before, n)
		}
	}
}

type failingReader struct{ at int64 }

func (f failingReader) ReadAt(p []byte, off int64) (int, error) {
	n := 0
	for n < len(p) && off+int64(n) < f.at {
		p[n] = 'x'
		n++
	}
	if n < len(p) {
		return n, errBroken
	}
	return n, nil
}

var errBroken = errors.New("broken disk")

func TestParseReportsTheReadersError(t *testing.T) {
	if _, err := Parse(failingReader{100_000}, 200_000); !errors.Is(err, errBroken) {
		t.Errorf("error is %v", err)
	}
	short := bytes.NewReader(make([]byte, 10))
	if _, err := Parse(short, 20); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("error of a message that is too short is %v", err)
	}
}

func nested(depth int, open func(i int) string) []byte {
	var b bytes.Buffer
	for i := range depth {
		b.WriteString(open(i))
	}
	b.WriteString("\r\nleaf\r\n")
	return b.Bytes()
}

func TestDepthIsBounded(t *testing.T) {
	kinds := map[string]func(int) string{
		"multipart": func(i int) string {
			return fmt.Sprintf("Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n", i, i)
		},
		"message": func(int) string { return "Content-Type: message/rfc822\r\n\r\n" },
	}
	for name, open := range kinds {
		msg := nested(5000, open)
		d := ParseBytes(msg)
		checkOffsets(t, msg, d)
		depth, p := 0, &d.Root
		for len(p.Children) > 0 {
			p = p.Children[len(p.Children)-1]
			depth++
		}
		if depth != maxDepth || p.Type != "application" {
			t.Errorf("%s: depth %d ends in %s/%s", name, depth, p.Type, p.Subtype)
		}
		roundTrip(t, d)
	}
}

func TestNumberOfPartsIsBounded(t *testing.T) {
	msg := []byte("Content-Type: multipart/mixed; boundary=b\r\n\r\n" + strings.Repeat("--b\r\n\r\n", 20_000))
	d := ParseBytes(msg)
	checkOffsets(t, msg, d)
	if n := len(d.Root.Children); n != maxParts-1 {
		t.Errorf("%d children", n)
	}
	roundTrip(t, d)
}

func TestHugeHeaderIsReadUpToABound(t *testing.T) {
	pad := strings.Repeat("X-Pad: "+strings.Repeat("p", 990)+"\r\n", 2000)
	msg := []byte("Subject: before\r\n" + pad + "To: behind@x\r\n\r\nbody")
	for _, parse := range []func() (*Derived, error){
		func() (*Derived, error) { return ParseBytes(msg), nil },
		func() (*Derived, error) { return Parse(smallReads{msg}, int64(len(msg))) },
	} {
		d, err := parse()
		if err != nil {
			t.Fatal(err)
		}
		checkOffsets(t, msg, d)
		if d.Envelope.Subject.Value != "before" || d.Envelope.To != nil {
			t.Errorf("subject %q, to %v", d.Envelope.Subject.Value, d.Envelope.To)
		}
		if got := string(msg[d.Root.Body.Start:]); got != "body" {
			t.Errorf("body %q", got)
		}
	}
}

func TestAddressesAreBounded(t *testing.T) {
	msg := []byte("To: " + strings.Repeat("a,", 100_000) + "\r\n\r\n")
	d := ParseBytes(msg)
	if n := len(d.Envelope.To); n != maxAddresses {
		t.Errorf("%d addresses", n)
	}
}

// TestHostileInputTakesLinearTime measures inputs that are quadratic for careless
// parsers: eight times the octets may take at most forty times as long, each in the
// best of three rounds. Only who needs more time in fifty rounds fails, since a busy
// host makes some of them long and none short.
func TestHostileInputTakesLinearTime(t *testing.T) {
	inputs := map[string]func(n int) string{
		"open comments": func(n int) string { return "To: " + strings.Repeat("(", n) },
		"comments":      func(n int) string { return "To: " + strings.Repeat("(", n/2) + strings.Repeat(")", n/2) + "(" },
		"open quotes":   func(n int) string { return "To: " + strings.Repeat("\\\" ", n/3) },
		"value comments": func(n int) string {
			return "Content-Type: a/b; c=d " + strings.Repeat("( ", n/4) + strings.Repeat(") ", n/4) + "x"
		},
		"parameters":     func(n int) string { return "Content-Type: a/b; c=" + strings.Repeat("a ", n/2) },
		"encoded words":  func(n int) string { return "Subject: " + strings.Repeat("=?a?q?", n/6) },
		"question marks": func(n int) string { return "Subject: =?a?q?" + strings.Repeat("?", n) },
		"blobs":          func(n int) string { return "Subject: " + strings.Repeat("[a]", n/3) + strings.Repeat("re:", n/3) },
		"forwards":       func(n int) string { return "Subject: " + strings.Repeat("[fwd:", n/6) + strings.Repeat("]", n/6) },
		"open ids":       func(n int) string { return "References: " + strings.Repeat("<", n) },
		"ids":            func(n int) string { return "References: " + strings.Repeat("<a>", n/3) },
		"almost delimiter": func(n int) string {
			return "Content-Type: multipart/mixed; boundary=b\n\n" + strings.Repeat("--\n", n/3)
		},
		"folds": func(n int) string { return "Subject: " + strings.Repeat("\n ", n/2) },
	}
	work := func(s string) time.Duration {
		start := time.Now()
		d := ParseBytes([]byte(s))
		BaseSubject(d.Envelope.Subject.Value)
		ProposerFields([]byte(s))
		return time.Since(start)
	}
	for name, input := range inputs {
		little, much := input(100_000), input(800_000)
		small, large := work(little), work(much)
		linear := func() bool { return large <= 40*small+50*time.Millisecond }
		for round := 1; round < 3 || round < 50 && !linear(); round++ {
			small, large = min(small, work(little)), min(large, work(much))
		}
		if !linear() {
			t.Errorf("%s: %v for 100 kB, %v for 800 kB", name, small, large)
		}
	}
}
