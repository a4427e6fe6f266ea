package imapwire

import (
	"fmt"
	"testing"

	"github.com/tandemail/tandemail/internal/heap"
)

func TestURLsOfMessages(t *testing.T) {
	for in, want := range map[string]string{
		"/INBOX/;UID=7":                                        "INBOX 0 7 [] 0.0",
		"/inbox;UIDVALIDITY=3/;uid=7":                          "INBOX 3 7 [] 0.0",
		"/inbox/x/;UID=7/;SECTION=1.2.MIME":                    "INBOX/x 0 7 [1.2.MIME] 0.0",
		"/a%20b/c%C3%BC/;UID=1/;PARTIAL=5.6":                   "a b/cü 0 1 [] 5.6",
		"/cu%CC%88/;UID=1/;PARTIAL=5":                          "cü 0 1 [] 5.0",
		"/x/;UID=1/;SECTION=HEADER.FIELDS%20(TO)/;PARTIAL=0.1": "x 0 1 [HEADER.FIELDS (TO)] 0.1",
	} {
		u, err := ParseURL(in)
		got := fmt.Sprintf("%s %d %d %s %d.%d", u.Mailbox, u.UIDValidity, u.UID, AppendSection(nil, u.Section), u.Offset, u.Count)
		if err != nil || got != want {
			t.Errorf("%s: %s, %v, want %s", in, got, err, want)
		}
	}
	for _, in := range []string{
		"", "/", "INBOX/;UID=1", "/;UID=1", "/x/;UID=0", "/x/;UID=", "/x/;UID=4294967296", "/x/;UID=+1", "/x/;UID=1;", "/x;UIDVALIDITY=0/;UID=1",
		"/x/;UID=1/;SECTION=", "/x/;UID=1/;SECTION=frob", "/x/;UID=1/;PARTIAL=", "/x/;UID=1/;PARTIAL=1.0", "/x/;UID=1/;PARTIAL=1.2.3",
		"/%/;UID=1", "/%4/;UID=1", "/%xx/;UID=1", "/%FF/;UID=1", "imap://h/x/;UID=1", "/x/;UID=1/;SECTION=1%5D", "/x/;UID=1;URLAUTH=anonymous",
	} {
		if u, err := ParseURL(in); err == nil {
			t.Errorf("%s: %+v", in, u)
		}
	}
}

// FuzzParseURL: what is read names a message, within a bound of memory, and nothing panics.
func FuzzParseURL(f *testing.F) {
	for _, s := range []string{
		"/INBOX/;UID=7", "/a%20b;UIDVALIDITY=3/;uid=7/;SECTION=1.2.HEADER/;PARTIAL=1.2", "/%", "imap://x",
		"/x/;UID=1/;SECTION=HEADER.FIELDS%20(TO%20%22x%20y%22)/;PARTIAL=0.1", "/x/;UID=1/;SECTION=1.2.MIME/;PARTIAL=9", "/x/;UID=1;URLAUTH=anonymous",
		"imap://ann@example.org/x/;UID=1;EXPIRE=2026-01-01T00:00:00Z;URLAUTH=user+ann:INTERNAL:00",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		var u URL
		var err error
		heap.Within(t, 64<<10+256*len(s), func() { u, err = ParseURL(s) })
		if err == nil && (u.Mailbox == "" || u.UID == 0 || u.Offset < 0 || u.Count < 0) {
			t.Errorf("%q: %+v", s, u)
		}
	})
}
