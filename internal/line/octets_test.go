package line

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"pgregory.net/rapid"
)

// oracleDot is message data by definition, on a whole input: the content before
// the first CRLF "." CRLF, without the dots after CRLF.
func oracleDot(in string) (content, rest string, ok bool) {
	s := "\r\n" + in
	i := strings.Index(s, "\r\n.\r\n")
	if i < 0 {
		return "", "", false
	}
	return strings.ReplaceAll(s[:i+2], "\r\n.", "\r\n")[2:], s[i+5:], true
}

// oracleCanonical is the definition, octet by octet.
func oracleCanonical(in []byte) []byte {
	var out []byte
	for i, b := range in {
		switch {
		case b == 0:
			out = append(out, 0x80)
		case b == '\n' && (i == 0 || in[i-1] != '\r'):
			out = append(out, '\r', '\n')
		default:
			out = append(out, b)
		}
	}
	return out
}

func checkDot(t rapid.TB, in string, size int) {
	t.Helper()
	want, rest, ok := oracleDot(in)
	c := New(cut(in, size), Config{})
	got, err := io.ReadAll(c.Dot(1 << 20))
	if !ok {
		if err != io.ErrUnexpectedEOF {
			t.Fatalf("%q in pieces of %d: no end, yet %q, %v", in, size, got, err)
		}
		return
	}
	if err != nil || string(got) != want {
		t.Fatalf("%q in pieces of %d: got %q, %v; want %q", in, size, got, err, want)
	}
	var left []byte
	if left, err = io.ReadAll(c.Literal(int64(len(rest)))); err != nil || string(left) != rest {
		t.Fatalf("%q in pieces of %d: %q left, want %q", in, size, left, rest)
	}
}

func TestDataEndsAtCRLFDotCRLFOnly(t *testing.T) {
	tests := []struct{ in, want string }{
		{".\r\n", ""},
		{"a\r\n.\r\n", "a\r\n"},
		{"\r\n.\r\n", "\r\n"},
		{"a\r\r\n.\r\n", "a\r\r\n"},
		{"\r\r\n.\r\n", "\r\r\n"},
		{"a\r\n..\r\n.\r\n", "a\r\n.\r\n"},
		{"..\r\n.\r\n", ".\r\n"},
		{"...\r\n.\r\n", "..\r\n"},
		{".\r\r\n.\r\n", "\r\r\n"},
		{".\rx\r\n.\r\n", "\rx\r\n"},
		{"a\n.\n.\r\nb\r\n.\r\n", "a\n.\n.\r\nb\r\n"},
		{"a\r\n.\nb\r\n.\r\n", "a\r\n\nb\r\n"},
		{"a\n.\r\nb\r\n.\r\n", "a\n.\r\nb\r\n"},
		{"a\r.\r\nb\r\n.\r\n", "a\r.\r\nb\r\n"},
		{"a\r\n.\r.\r\n.\r\n", "a\r\n\r.\r\n"},
		{"\x00\xff\r\n.\r\n", "\x00\xff\r\n"},
	}
	for _, tc := range tests {
		want, rest, ok := oracleDot(tc.in)
		if !ok || want != tc.want || rest != "" {
			t.Fatalf("the oracle reads %q as %q, rest %q, %v", tc.in, want, rest, ok)
		}
		for size := 1; size <= len(tc.in); size++ {
			checkDot(t, tc.in, size)
		}
	}
}

// alphabet makes the interesting sequences likely.
var alphabet = rapid.SampledFrom([]string{"\r", "\n", ".", "\r\n", "\r\n.", "\x00", "a", "\r\n.\r\n", "bc"})

func TestDotAgreesWithItsDefinition(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := strings.Join(rapid.SliceOfN(alphabet, 0, 40).Draw(t, "in"), "")
		checkDot(t, in, rapid.IntRange(1, 12).Draw(t, "size"))
	})
}

func TestCanonicalAgreesWithItsDefinition(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := []byte(strings.Join(rapid.SliceOfN(alphabet, 0, 60).Draw(t, "in"), ""))
		checkCanonical(t, in, rapid.IntRange(1, 9).Draw(t, "size"))
	})
}

func checkCanonical(t rapid.TB, in []byte, size int) {
	t.Helper()
	want := oracleCanonical(in)
	if got := Canonical(in); !bytes.Equal(got, want) {
		t.Fatalf("Canonical(%q) = %q, want %q", in, got, want)
	}
	if got := Canonical(want); !bytes.Equal(got, want) {
		t.Fatalf("not idempotent: %q becomes %q", want, got)
	}
	r := NewCanonReader(cut(string(in), size))
	got, err := io.ReadAll(iotest.OneByteReader(r))
	if err != nil || !bytes.Equal(got, want) {
		t.Fatalf("reader on %q in pieces of %d gives %q, %v; want %q", in, size, got, err, want)
	}
	if nuls := int64(bytes.Count(in, []byte{0})); r.NULs != nuls {
		t.Fatalf("%d NULs counted in %q", r.NULs, in)
	}
	if lfs := int64(len(want) - len(in)); r.BareLFs != lfs {
		t.Fatalf("%d bare LFs counted in %q", r.BareLFs, in)
	}
}

func TestTooLargeDataIsReadToItsEnd(t *testing.T) {
	for _, n := range []int{9, 10, 11, 5000} {
		c := New(cut(strings.Repeat("x", n-2)+"\r\n.\r\nNOOP\r\n", 100), Config{})
		got, err := io.ReadAll(c.Dot(10))
		if fits := n <= 10; fits != (err == nil) || !fits && !errors.Is(err, ErrTooLarge) {
			t.Fatalf("%d octets: %q, %v", n, got, err)
		}
		if len(got) > 10 {
			t.Fatalf("gave %d octets above the limit of 10", len(got))
		}
		mustLine(t, c, "NOOP")
	}
	c := New(cut(strings.Repeat("x", 2*maxSkip), 1<<16), Config{})
	if _, err := io.ReadAll(c.Dot(1000)); !errors.Is(err, ErrFlood) {
		t.Fatalf("endless data: %v", err)
	}
}

func TestUnreadDataIsSkippedBeforeTheNextLine(t *testing.T) {
	c := New(cut("one\r\ntwo\r\n.\r\nNOOP\r\n", 4), Config{})
	if _, err := c.Dot(5).Next(); err != nil {
		t.Fatal(err)
	}
	mustLine(t, c, "NOOP")
}

func FuzzOctets(f *testing.F) {
	for _, s := range []string{"a\r\n.\r\n", "\r\r\n.\r\nx", "..\n.\r\n.\r\n", "\x00\n\r"} {
		f.Add([]byte(s), uint8(3))
	}
	f.Fuzz(func(t *testing.T, in []byte, size uint8) {
		checkCanonical(t, in, int(size)+1)
		checkDot(t, string(in), int(size)+1)
	})
}
