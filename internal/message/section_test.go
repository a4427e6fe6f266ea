package message

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
)

// sectioned is the example of RFC 3501 6.4.5, as far as its numbers go.
const sectioned = "Subject: top\r\nFrom: a@b\r\nContent-Type: multipart/mixed; boundary=1\r\n\r\n" +
	"--1\r\nContent-Type: text/plain\r\n\r\none\r\n" +
	"--1\r\nContent-Type: application/octet-stream\r\nContent-Transfer-Encoding: base64\r\n\r\ndHdv\r\n" +
	"--1\r\nContent-Type: message/rfc822\r\n\r\n" +
	"Subject: three\r\nX-A: 1\r\nx-b: 2\r\n 3\r\nContent-Type: multipart/mixed; boundary=3\r\n\r\n" +
	"--3\r\nX: y\r\n\r\nthree.one\r\n--3\r\nContent-Transfer-Encoding: x-odd\r\n\r\nthree.two\r\n--3--\r\n" +
	"--1\r\nContent-Type: message/rfc822\r\n\r\nSubject: four\r\n\r\nfour.one\r\n" +
	"--1--\r\n"

func TestSections(t *testing.T) {
	d := ParseBytes([]byte(sectioned))
	tests := []struct {
		section Section
		want    string // "NIL" for a section that does not exist
	}{
		{Section{Path: []int{1}}, "one"},
		{Section{Path: []int{2}}, "dHdv"},
		{Section{Path: []int{2}, Kind: SectionMIME}, "Content-Type: application/octet-stream\r\nContent-Transfer-Encoding: base64\r\n\r\n"},
		{Section{Path: []int{3, 1}}, "three.one"},
		{Section{Path: []int{3, 1}, Kind: SectionMIME}, "X: y\r\n\r\n"},
		{Section{Path: []int{3, 2}}, "three.two"},
		{Section{Path: []int{4}}, "Subject: four\r\n\r\nfour.one"},
		{Section{Path: []int{4, 1}}, "four.one"},
		{Section{Path: []int{4, 1}, Kind: SectionMIME}, "Subject: four\r\n\r\n"},
		{Section{Path: []int{4}, Kind: SectionHeader}, "Subject: four\r\n\r\n"},
		{Section{Path: []int{4}, Kind: SectionText}, "four.one"},
		{Section{Path: []int{4}, Kind: SectionMIME}, "Content-Type: message/rfc822\r\n\r\n"},
		{Section{Kind: SectionHeaderFields, Fields: []string{"FROM", "Date"}}, "From: a@b\r\n\r\n"},
		{Section{Kind: SectionHeaderFieldsNot, Fields: []string{"content-type"}}, "Subject: top\r\nFrom: a@b\r\n\r\n"},
		{Section{Path: []int{3}, Kind: SectionHeaderFields, Fields: []string{"X-B"}}, "x-b: 2\r\n 3\r\n\r\n"},
		{Section{Kind: SectionHeaderFields, Fields: []string{"none"}}, "\r\n"},
		{Section{Path: []int{5}}, "NIL"},
		{Section{Path: []int{0}}, "NIL"},
		{Section{Path: []int{1, 1}}, "NIL"},
		{Section{Path: []int{4, 2}}, "NIL"},
		{Section{Path: []int{4, 1, 1}}, "NIL"},
		{Section{Path: []int{1}, Kind: SectionHeader}, "NIL"},
		{Section{Path: []int{1}, Kind: SectionText}, "NIL"},
		{Section{Kind: SectionMIME}, "NIL"},
	}
	for _, test := range tests {
		r, ok, err := d.Root.Open(strings.NewReader(sectioned), test.section)
		got := []byte("NIL")
		if ok {
			got, _ = io.ReadAll(r)
		}
		if string(got) != test.want || err != nil {
			t.Errorf("%v: %q, %v, not %q", test.section, got, err, test.want)
		}
	}
}

// TestSignedMultipartEndsBeforeTheLineEndOfTheNextDelimiter: RFC 2046 5.1.1 gives the line end
// to the delimiter; with it, a signature of what FETCH gives would be wrong.
func TestSignedMultipartEndsBeforeTheLineEndOfTheNextDelimiter(t *testing.T) {
	for epilogue, want := range map[string]string{
		"":               "--in\r\n\r\nhi\r\n--in--",
		"\r\n":           "--in\r\n\r\nhi\r\n--in--\r\n",
		"\r\nepilogue":   "--in\r\n\r\nhi\r\n--in--\r\nepilogue",
		" \r\n\r\n more": "--in\r\n\r\nhi\r\n--in-- \r\n\r\n more",
	} {
		msg := []byte("Content-Type: multipart/signed; boundary=out\r\n\r\n--out\r\nContent-Type: multipart/mixed; boundary=in\r\n\r\n" +
			"--in\r\n\r\nhi\r\n--in--" + epilogue + "\r\n--out\r\n\r\nsignature\r\n--out--\r\n")
		d := ParseBytes(msg)
		checkOffsets(t, msg, d)
		at, ok := d.Root.Locate(Section{Path: []int{1}})
		if got := string(msg[at.Start:at.End]); !ok || got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestAMessageThatIsNoMultipartHasOnePart(t *testing.T) {
	msg := "Subject: x\r\n\r\ntext"
	d := ParseBytes([]byte(msg))
	if at, ok := d.Root.Locate(Section{Path: []int{1}}); !ok || msg[at.Start:at.End] != "text" {
		t.Errorf("BODY[1] is %v %v", at, ok)
	}
	if at, ok := d.Root.Locate(Section{Path: []int{1}, Kind: SectionMIME}); !ok || msg[at.Start:at.End] != "Subject: x\r\n\r\n" {
		t.Errorf("BODY[1.MIME] is %v %v", at, ok)
	}
	if _, ok := d.Root.Locate(Section{Path: []int{2}}); ok {
		t.Error("BODY[2] exists")
	}
}

func TestSelectedFieldsLackTheEmptyLineThatTheHeaderLacks(t *testing.T) {
	if got := Header("A: 1\r\nB: 2").Select([]string{"b"}, false); got != "B: 2" {
		t.Errorf("selected %q", got)
	}
}

func TestPartialsStayInsideTheSection(t *testing.T) {
	s := Span{10, 20}
	for _, test := range []struct{ start, count, from, to int64 }{
		{0, 5, 10, 15},
		{0, 10, 10, 20},
		{3, 100, 13, 20},
		{9, 1, 19, 20},
		{10, 1, 20, 20},
		{11, 5, 20, 20},
		{-1, 5, 20, 20},
		{0, -1, 20, 20},
		{2, 1<<63 - 1, 12, 20},
		{1<<63 - 1, 1<<63 - 1, 20, 20},
		{5, 7, 15, 20},
	} {
		if got := s.Slice(test.start, test.count); got != (Span{test.from, test.to}) {
			t.Errorf("<%d.%d> of %v is %v", test.start, test.count, s, got)
		}
	}
}

func TestBinaryDecodes(t *testing.T) {
	d := ParseBytes([]byte(sectioned))
	r := strings.NewReader(sectioned)
	b, ok, err := d.Root.OpenBinary(r, []int{2})
	if !ok || err != nil {
		t.Fatal(ok, err)
	}
	if got, _ := io.ReadAll(b); string(got) != "two" {
		t.Errorf("BINARY[2] is %q", got)
	}
	if n, ok, err := d.Root.BinarySize(r, []int{2}); n != 3 || !ok || err != nil {
		t.Errorf("BINARY.SIZE[2] is %d, %v, %v", n, ok, err)
	}
	if n, ok, err := d.Root.BinarySize(r, []int{1}); n != 3 || !ok || err != nil {
		t.Errorf("BINARY.SIZE[1] is %d, %v, %v", n, ok, err)
	}
	if n, _, err := d.Root.BinarySize(r, nil); n != int64(len(sectioned)) || err != nil {
		t.Errorf("BINARY.SIZE[] is %d, %v", n, err)
	}
	if _, ok, err := d.Root.OpenBinary(r, []int{3, 2}); !ok || !errors.Is(err, ErrEncoding) {
		t.Errorf("unknown encoding: %v, %v", ok, err)
	}
	if _, ok, err := d.Root.OpenBinary(r, []int{9}); ok || err != nil {
		t.Errorf("no such part: %v, %v", ok, err)
	}
}

func TestTransferDecodingForgives(t *testing.T) {
	tests := []struct{ encoding, in, want string }{
		{"base64", "aGVsbG8=", "hello"},
		{"BASE64", "aGVs\r\nbG8=\r\n", "hello"},
		{"base64", "a G-V*s\x00bG8", "hello"},
		{"base64", "aGVsbG8=aGVsbG8=", "hellohello"},
		{"base64", "a", ""},
		{"base64", "====", ""},
		{"quoted-printable", "caf=C3=A9", "café"},
		{"quoted-printable", "caf=c3=a9 =3d", "café ="},
		{"quoted-printable", "soft=\r\nbreak", "softbreak"},
		{"quoted-printable", "soft= \t\r\nbreak", "softbreak"},
		{"quoted-printable", "soft=\nbreak", "softbreak"},
		{"quoted-printable", "blank  \t\r\nnext \n", "blank\r\nnext\n"},
		{"quoted-printable", "a = b =ZZ =4", "a = b =ZZ =4"},
		{"quoted-printable", "=A\r\n=\r\r\n", "=A\r\n=\r\r\n"},
		{"quoted-printable", "end=", "end"},
		{"quoted-printable", "end \t", "end"},
		{"quoted-printable", "a\rb", "a\rb"},
		{"quoted-printable", "==3D", "=="},
		{"8bit", "a=3D", "a=3D"},
	}
	for _, test := range tests {
		for _, size := range []int{1, 2, 3, 4096} {
			r, ok := DecodeTransfer(&chunkReader{[]byte(test.in), size}, test.encoding)
			if !ok {
				t.Fatalf("%s is unknown", test.encoding)
			}
			got, err := io.ReadAll(r)
			if string(got) != test.want || err != nil {
				t.Errorf("%s of %q in pieces of %d: %q, %v", test.encoding, test.in, size, got, err)
			}
		}
	}
	if _, ok := DecodeTransfer(bytes.NewReader(nil), "x-uuencode"); ok {
		t.Error("x-uuencode is known")
	}
}

// TestBlankRunsAreBounded: a part of blanks alone is not held in memory.
func TestBlankRunsAreBounded(t *testing.T) {
	var d quotedDecoder
	out := d.decode(nil, bytes.Repeat([]byte(" "), 100_000), false)
	if len(d.held) > maxBlankRun || len(out)+len(d.held) != 100_000 {
		t.Errorf("holds %d, gave %d", len(d.held), len(out))
	}
}

type chunkReader struct {
	b    []byte
	size int
}

func (c *chunkReader) Read(p []byte) (int, error) {
	if len(c.b) == 0 {
		return 0, io.EOF
	}
	n := copy(p[:min(len(p), c.size)], c.b)
	c.b = c.b[n:]
	return n, nil
}
