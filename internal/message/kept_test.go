package message

import (
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestKeptNamesAreSortedAndInLowerCase(t *testing.T) {
	if !slices.IsSorted(keptNames[:]) {
		t.Error("they are not sorted")
	}
	for _, name := range keptNames {
		if name != lower(name) || len(name) > longestKept || !isKept(strings.ToUpper(name)) {
			t.Errorf("%q is not found", name)
		}
	}
	for _, name := range []string{"", "received", "subjects", "dkim-signature", strings.Repeat("x", longestKept+1)} {
		if isKept(name) {
			t.Errorf("%q is kept", name)
		}
	}
}

// TestKeptFieldsAnswerAsTheHeaderDoes compares with what the message says.
func TestKeptFieldsAnswerAsTheHeaderDoes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		msg := drawMessage(t)
		d := ParseBytes(msg)
		whole := Header(msg[:d.Root.Header.End])
		names := rapid.SliceOf(rapid.SampledFrom([]string{"From", "SUBJECT", "to", "cc", "Date", "message-id", "Content-Type", "x-mailer"})).Draw(t, "names")
		if !d.Kept.Valid || !Keeps(names...) {
			if len(whole) <= maxKept {
				t.Fatalf("%d octets were not kept", len(whole))
			}
			return
		}
		if got, want := d.Kept.Header.Select(names, false), whole.Select(names, false); got != want {
			t.Fatalf("%q from what is kept\n%q\nfrom the header\n%q", names, got, want)
		}
	})
}

func TestTooMuchIsNotKept(t *testing.T) {
	for _, c := range []struct {
		header string
		kept   bool
	}{
		{"To: " + strings.Repeat("a@b.test,\r\n ", maxKept/12-3) + "c@b.test\r\n\r\n", true},
		{"To: " + strings.Repeat("a@b.test,\r\n ", maxKept/11) + "c@b.test\r\n\r\n", false},
		{"To: a@b.test\r\nDKIM-Signature: " + strings.Repeat("a@b.test,\r\n ", maxKept) + "c\r\n\r\n", true},
		{"To: a@b.test\r\nDKIM-Signature: " + strings.Repeat("x", maxHeader) + "\r\n\r\n", false},
		{"", true},
	} {
		d := ParseBytes([]byte(c.header + "text\r\n"))
		if d.Kept.Valid != c.kept {
			t.Errorf("header of %d octets: kept is %v, want %v", len(c.header), d.Kept.Valid, c.kept)
		}
	}
	d := ParseBytes([]byte("To: a@b.test\r\nReceived: x\r\n\r\n"))
	if !d.Kept.Valid || !Keeps("to", "Subject") || Keeps("to", "Received") || d.Kept.Header != "To: a@b.test\r\n\r\n" {
		t.Errorf("kept %+v", d.Kept)
	}
}
