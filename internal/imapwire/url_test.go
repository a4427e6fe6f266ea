package imapwire

import (
	"fmt"
	"strings"
	"testing"
	"time"

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

func TestURLsWithAuthorization(t *testing.T) {
	const token = "01abababababababababababababababab"
	for in, want := range map[string]string{
		"imap://ann@h/INBOX/;uid=7;urlauth=anonymous":                                                                     "ann h INBOX 7 [] 0.0 never 0 -",
		"IMAP://ann%40example.org;AUTH=*@H.example:143/x/;UID=7;URLAUTH=AuthUser":                                         "ann@example.org h.example x 7 [] 0.0 never 1 -",
		"imap://ann@example.org@[2001:db8::1]:99/x/;uid=7;URLAUTH=user+b%C3%BC":                                           "ann@example.org [2001:db8::1] x 7 [] 0.0 never 2 bü-",
		"imap://ann@h/x;uidvalidity=3/;uid=7/;section=1.2/;partial=5.6;expire=2026-03-04t12:00:00z;urlauth=submit+fred@x": "ann h x 7 [1.2] 5.6 2026-03-04T12:00:00Z 3 fred@x-",
		"imap://ann@h/x/;uid=7;expire=2026-03-04T12:00:00+01:00;urlauth=stream:internal:" + token:                         "ann h x 7 [] 0.0 2026-03-04T12:00:00+01:00 4 -INTERNAL " + token,
		"imap://ann@h/x/;uid=7;urlauth=user+u:Internal:" + strings.ToUpper(token):                                         "ann h x 7 [] 0.0 never 2 u-INTERNAL " + token,
	} {
		u, err := ParseAuthURL(in)
		expires := "never"
		if !u.Expires.IsZero() {
			expires = u.Expires.Format(time.RFC3339)
		}
		got := fmt.Sprintf("%s %s %s %d %s %d.%d %s %d %s-", u.User, u.Host, u.Mailbox, u.UID, AppendSection(nil, u.Section), u.Offset, u.Count, expires, u.Access, u.For)
		full := u.Rump
		if u.Mechanism != "" {
			got += fmt.Sprintf("%s %x", u.Mechanism, u.Token)
			full = u.Authorised(u.Mechanism, u.Token)
		}
		if err != nil || got != want || !strings.EqualFold(full, in) {
			t.Errorf("%s: %s, %q, %v, want %s", in, got, full, err, want)
		}
	}
	for _, in := range []string{
		"", "imap://", "imap://ann@h/x/;uid=7", "imap://ann@h/x;urlauth=anonymous", "imap://ann@h/;urlauth=anonymous", "imap://h/x/;uid=7;urlauth=anonymous",
		"imap://@h/x/;uid=7;urlauth=anonymous", "imap://;auth=*@h/x/;uid=7;urlauth=anonymous", "imap://ann@/x/;uid=7;urlauth=anonymous", "imap://ann@h:x/x/;uid=7;urlauth=anonymous",
		"imap://ann@h:99999/x/;uid=7;urlauth=anonymous", "imaps://ann@h/x/;uid=7;urlauth=anonymous", "/x/;uid=7;urlauth=anonymous", "imap://%zz@h/x/;uid=7;urlauth=anonymous",
		"imap://ann@h/x/;uid=7;urlauth=", "imap://ann@h/x/;uid=7;urlauth=user+", "imap://ann@h/x/;uid=7;urlauth=user", "imap://ann@h/x/;uid=7;urlauth=anonymous+x", "imap://ann@h/x/;uid=7;urlauth=group+x",
		"imap://ann@h/x/;uid=7;urlauth=user+%ff", "imap://ann@h/x/;uid=7;expire=soon;urlauth=anonymous", "imap://ann@h/x/;uid=7;expire=2026-03-04;urlauth=anonymous",
		"imap://ann@h/x/;uid=7;urlauth=anonymous:", "imap://ann@h/x/;uid=7;urlauth=anonymous:internal", "imap://ann@h/x/;uid=7;urlauth=anonymous:internal:",
		"imap://ann@h/x/;uid=7;urlauth=anonymous:internal:xx", "imap://ann@h/x/;uid=7;urlauth=anonymous:internal:" + token[:30], "imap://ann@h/x/;uid=7;urlauth=anonymous::" + token,
		"imap://ann@h/x/;uid=7;urlauth=anonymous:internal:" + token + ":", "imap://ann@h/x/;uid=7;urlauth=anonymous;expire=2026-03-04T12:00:00Z",
		"imap://ann@h/x/;uid=7?all;urlauth=anonymous", "imap://ann@h/" + strings.Repeat("x", maxURL) + "/;uid=7;urlauth=anonymous",
	} {
		if u, err := ParseAuthURL(in); err == nil {
			t.Errorf("%s: %+v", in, u)
		}
	}
}

// FuzzParseAuthURL: what is read says whose it is, and is what its parts say.
func FuzzParseAuthURL(f *testing.F) {
	for _, s := range []string{
		"imap://ann;auth=*@h:143/INBOX;uidvalidity=1/;UID=7/;section=1/;partial=1.2;expire=2026-03-04T12:00:00Z;urlauth=submit+u:internal:01abababababababababababababababab",
		"imap://a@h/x/;uid=1;urlauth=authuser", "imap://@/",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		u, err := ParseAuthURL(s)
		if err != nil {
			return
		}
		if u.User == "" || u.Host == "" || u.UID == 0 || !strings.HasPrefix(s, u.Rump) || (u.Access == AccessUser || u.Access == AccessSubmit) == (u.For == "") {
			t.Errorf("%q: %+v", s, u)
		}
		if u.Mechanism != "" && !strings.EqualFold(u.Authorised(u.Mechanism, u.Token), s) {
			t.Errorf("%q: %+v", s, u)
		}
	})
}
