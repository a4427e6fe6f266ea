package message

import (
	"bytes"
	"reflect"
	"strings"
	"testing"

	"github.com/tandemail/tandemail/internal/heap"
)

func TestSummaryIsWhatSortAndThreadCompare(t *testing.T) {
	h := Header("From: =?utf-8?q?J=C3=B6rg?= <JOERG@Example.org>, other@example.org\r\n" +
		"To: Friends: ann@example.org, bob@example.org;\r\n" +
		"Cc: Carl@Example.org\r\n" +
		"Subject: Re: [list] Gr\xc3\xbc\xc3\x9fe (fwd)\r\n" +
		"Date: Sat, 10 Jan 2026 23:30:00 -0100\r\n" +
		"Message-ID: <one@x>\r\n" +
		"References: <a@x> <b@x>\r\n" +
		"In-Reply-To: <c@x>\r\n\r\nFrom: not@this\r\n")
	got := Summarize(h)
	want := Summary{
		Sent: Date{Unix: 1768091400, Zone: -60, Valid: true}, Subject: Fold("Grüße"), Reply: true,
		From: "JOERG", DisplayFrom: Fold("Jörg"), To: "FRIENDS", DisplayTo: "FRIENDS", Cc: "CARL",
		ID: IDHash("one@x"), References: [][16]byte{IDHash("a@x"), IDHash("b@x")},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	got = Summarize("In-Reply-To: <c@x> <d@x>\r\nFrom: ann@EXAMPLE.org\r\n\r\n")
	want = Summary{From: "ANN", DisplayFrom: "ANN@EXAMPLE.ORG", References: [][16]byte{IDHash("c@x")}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func TestTopIsReadWithoutTheBody(t *testing.T) {
	long := "Subject: x\r\nX-Long: " + strings.Repeat("y", 3*topWindow) + "\r\nFrom: ann@x\r\n\r\n"
	for _, x := range []struct {
		message string
		read    int64 // at most
	}{
		{"", 0},
		{"Subject: x", 10},
		{"Subject: x\r\n\r\n" + strings.Repeat("b", 1<<20), topWindow},
		{"Subject: x\n\n" + strings.Repeat("b", 1<<20), topWindow},
		{"\r\n" + strings.Repeat("b", 1<<20), topWindow},
		{long + strings.Repeat("b", 1<<20), 5 * topWindow},
	} {
		r := &furthest{r: bytes.NewReader([]byte(x.message))}
		h, err := ReadTop(r, int64(len(x.message)))
		if err != nil || r.at > x.read {
			t.Errorf("%.20q: read up to %d, %v", x.message, r.at, err)
		}
		if _, ok := h.Get("From"); ok != strings.Contains(x.message, "From:") {
			t.Errorf("%.20q: header has %d octets", x.message, len(h))
		}
	}
}

// furthest notes how far a reader was read.
type furthest struct {
	r  *bytes.Reader
	at int64
}

func (f *furthest) ReadAt(p []byte, off int64) (int, error) {
	f.at = max(f.at, off+int64(len(p)))
	return f.r.ReadAt(p, off)
}

// FuzzSummary: any header has a summary, which survives its encoding; any octets
// decode to one or to an error.
func FuzzSummary(f *testing.F) {
	f.Add("From: a\r\nSubject: Re: x\r\nReferences: <a@b>\r\n\r\n", "rest")
	f.Add("\x07\x00\x00", "\x00")
	f.Fuzz(func(t *testing.T, h, rest string) {
		var s, again Summary
		var want Summary
		heap.Within(t, 128<<10+256*len(h), func() { want = Summarize(Header(h)) })
		got, err := s.Decode(string(want.Append(nil)) + rest)
		if err != nil || got != rest || !reflect.DeepEqual(s, want) {
			t.Fatalf("%+v became %+v, %q, %v", want, s, got, err)
		}
		if _, err := s.Decode(h); err == nil {
			if _, err := again.Decode(string(s.Append(nil))); err != nil || !reflect.DeepEqual(s, again) {
				t.Fatalf("%+v became %+v, %v", s, again, err)
			}
		}
	})
}
