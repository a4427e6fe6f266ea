package message

import (
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/tandemail/tandemail/internal/heap"
)

// parsedMemory bounds what a small message takes, in octets; that of large ones is bounded by
// the constants of limits.go.
func parsedMemory(msg []byte) int { return 2*windowSize + 256*len(msg) }

// FuzzParse checks all that holds for any message. Seeds are the golden files;
// what was found is in testdata/fuzz.
func FuzzParse(f *testing.F) {
	files, _ := filepath.Glob("testdata/structure/*.txt")
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		source, _, _ := strings.Cut(string(text), separator)
		f.Add([]byte(strings.ReplaceAll(source, "\n", "\r\n")))
	}
	f.Fuzz(func(t *testing.T, msg []byte) {
		var d *Derived
		heap.Within(t, parsedMemory(msg), func() { d = ParseBytes(msg) })
		checkOffsets(t, msg, d)
		roundTrip(t, d)
		checkWire(t, d)
		if windowed, err := Parse(smallReads{msg}, int64(len(msg))); err != nil || !reflect.DeepEqual(windowed, d) {
			t.Fatalf("windowed parse differs, %v", err)
		}
		heap.Within(t, parsedMemory(msg), func() { ProposerFields(msg) })
		for _, needle := range []string{"x", "é"} {
			if _, err := Contains(context.Background(), smallReads{msg}, &d.Root, NewNeedle(needle), ScopeText); err != nil {
				t.Fatal(err)
			}
		}
		eachPath(d, func(path []int, p *Part) {
			if d.Root.Find(path) != p {
				t.Fatalf("path %v finds another part", path)
			}
			if r, _, err := d.Root.OpenBinary(smallReads{msg}, path); err == nil {
				if _, err := io.Copy(io.Discard, r); err != nil {
					t.Fatal(err)
				}
			}
		})
	})
}

// checkWire reads what was written as a client would: balanced lists of quoted
// strings, literals and atoms, one value.
func checkWire(t interface{ Fatalf(string, ...any) }, d *Derived) {
	for _, wire := range [][]byte{
		AppendEnvelope(nil, &d.Envelope),
		AppendBodyStructure(nil, &d.Root, false),
		AppendBodyStructure(nil, &d.Root, true),
	} {
		if rest := readValue(wire); rest == nil || len(rest) > 0 {
			t.Fatalf("not one IMAP value: %q", wire)
		}
	}
}

// readValue reads one value and returns what follows, nil if it is none.
func readValue(b []byte) []byte {
	switch {
	case len(b) == 0:
		return nil
	case b[0] == '(':
		for b = b[1:]; len(b) > 0 && b[0] != ')'; {
			if b[0] == ' ' {
				b = b[1:]
			}
			if b = readValue(b); b == nil {
				return nil
			}
		}
		if len(b) == 0 {
			return nil
		}
		return b[1:]
	case b[0] == '"':
		for i := 1; i < len(b); i++ {
			switch b[i] {
			case '\\':
				i++
			case '"':
				return b[i+1:]
			case '\r', '\n', 0:
				return nil
			}
		}
		return nil
	case b[0] == '{':
		n, i := 0, 1
		for ; i < len(b) && isDigit(b[i]); i++ {
			n = n*10 + int(b[i]-'0')
		}
		rest, ok := bytes.CutPrefix(b[i:], []byte("}\r\n"))
		if !ok || len(rest) < n || bytes.IndexByte(rest[:n], 0) >= 0 {
			return nil
		}
		return rest[n:]
	}
	i := bytes.IndexAny(b, " ()")
	if atom := string(b[:max(i, 0)]); atom != "NIL" && strings.Trim(atom, "0123456789") != "" || i <= 0 {
		return nil
	}
	return b[i:]
}

// FuzzDecode: damaged data gives an error or data that encodes and prints, within a bound of memory.
func FuzzDecode(f *testing.F) {
	f.Add(ParseBytes(typicalMessage()).Append(nil))
	f.Add(ParseBytes([]byte(sectioned)).Append(nil))
	f.Add([]byte{Version})
	f.Fuzz(func(t *testing.T, b []byte) {
		var d *Derived
		var err error
		heap.Within(t, 128<<10+256*len(b), func() {
			_, _ = DecodeEnvelope(b)
			_, _ = DecodeStructure(b)
			_, _ = DecodeSent(b)
			d, err = Decode(b)
		})
		if err != nil {
			return
		}
		checkWire(t, d)
		again, err := Decode(d.Append(nil))
		if err != nil || !reflect.DeepEqual(again, d) {
			t.Fatalf("does not survive encoding: %v", err)
		}
	})
}
