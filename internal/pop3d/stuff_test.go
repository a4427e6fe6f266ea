package pop3d

import (
	"bufio"
	"bytes"
	"io"
	"net/textproto"
	"strings"
	"testing"
	"testing/iotest"
)

func TestDotsAreDoubledAndTheLastLineEnds(t *testing.T) {
	for in, want := range map[string]string{
		"":                               "",
		"a\r\n":                          "a\r\n",
		"a":                              "a\r\n",
		".\r\n":                          "..\r\n",
		"..a\r\n.b":                      "...a\r\n..b\r\n",
		"a.\r\n":                         "a.\r\n",
		"a\r.\r\n":                       "a\r.\r\n", // a bare CR ends no line
		"\r\n.":                          "\r\n..\r\n",
		strings.Repeat("x", stuffBuffer): strings.Repeat("x", stuffBuffer) + "\r\n",
	} {
		got, err := io.ReadAll(newStuffed(strings.NewReader(in), -1))
		if err != nil || string(got) != want {
			t.Errorf("%.40q: got %.60q, %v", in, got, err)
		}
	}
}

func TestTopEndsAfterLinesOfTheBody(t *testing.T) {
	const message = "Subject: x\r\n folded\r\n\r\none\r\n.two\r\n\r\nfour"
	for lines, want := range map[int]string{
		0:  "Subject: x\r\n folded\r\n\r\n",
		1:  "Subject: x\r\n folded\r\n\r\none\r\n",
		3:  "Subject: x\r\n folded\r\n\r\none\r\n..two\r\n\r\n",
		99: "Subject: x\r\n folded\r\n\r\none\r\n..two\r\n\r\nfour\r\n",
	} {
		got, err := io.ReadAll(newStuffed(iotest.OneByteReader(strings.NewReader(message)), lines))
		if err != nil || string(got) != want {
			t.Errorf("%d lines: got %q, %v", lines, got, err)
		}
	}
}

// FuzzStuffed: what a client unstuffs is the message, with an end of its last line.
func FuzzStuffed(f *testing.F) {
	f.Add([]byte(".\r\n..\r\nx"))
	f.Add(bytes.Repeat([]byte("."), stuffBuffer+1))
	f.Fuzz(func(t *testing.T, message []byte) {
		message = bytes.ReplaceAll(message, []byte("\r"), nil) // DotReader takes CR LF for LF
		message = bytes.ReplaceAll(message, []byte("\n"), []byte("\r\n"))
		wire, err := io.ReadAll(newStuffed(bytes.NewReader(message), -1))
		if err != nil {
			t.Fatal(err)
		}
		if len(wire) > 0 && !bytes.HasSuffix(wire, []byte("\n")) {
			t.Fatalf("%q ends inside a line", wire)
		}
		got, err := io.ReadAll(textproto.NewReader(bufio.NewReader(bytes.NewReader(append(wire, ".\r\n"...)))).DotReader())
		if err != nil {
			t.Fatal(err)
		}
		want := bytes.ReplaceAll(message, []byte("\r"), nil)
		if len(want) > 0 && want[len(want)-1] != '\n' {
			want = append(want, '\n')
		}
		if !bytes.Equal(got, want) {
			t.Fatalf("got %q, want %q", got, want)
		}
	})
}
