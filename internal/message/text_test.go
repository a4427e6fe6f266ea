package message

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/japanese"
	"golang.org/x/text/encoding/unicode"
	"pgregory.net/rapid"
)

func TestDecodeText(t *testing.T) {
	tests := []struct{ in, want string }{
		{"plain", "plain"},
		{"", ""},
		// RFC 2047 8
		{"=?ISO-8859-1?Q?a?=", "a"},
		{"=?ISO-8859-1?Q?a?= b", "a b"},
		{"=?ISO-8859-1?Q?a?= =?ISO-8859-1?Q?b?=", "ab"},
		{"=?ISO-8859-1?Q?a?=\r\n    =?ISO-8859-1?Q?b?=", "ab"},
		{"=?ISO-8859-1?Q?a_b?=", "a b"},
		{"=?ISO-8859-1?Q?a?= =?ISO-8859-2?Q?_b?=", "a b"},
		{"=?US-ASCII*EN?Q?Keith_Moore?=", "Keith Moore"},
		{"=?iso-8859-1?q?caf=E9?= =?koi8-r?B?0NLJ18XU?=", "caféпривет"},
		// Characters divided between words, which is forbidden and common.
		{"=?utf-8?B?w6k=?= =?utf-8?Q?=C3?= =?utf-8?Q?=A9?=", "éé"},
		{"=?utf-8?Q?with blank?=", "with blank"},
		{"=?utf-8?Q?why??=", "why?"},
		{"=?utf-8?Q?a=?=", "a="},
		{"=?utf-8?X?a?=", "=?utf-8?X?a?="},
		{"=?utf-8?Q?a", "=?utf-8?Q?a"},
		{"=??Q?a?=", "=??Q?a?="},
		{"=?=?utf-8?Q?a?=", "=?a"},
		{"x=?utf-8?Q?a?=y", "xay"},
		{"=?x-nobody?Q?caf=C3=A9_=E9?=", "café é"},
		{"caf\xe9 na\xc3\xafve", "café naïve"},
		{"a\r\n\tb", "a\tb"},
		{"=?hz-gb-2312?Q?~{<:Ky2;VU~}?=", "己所不终"},
		{"=?gb2312?B?xOO6ww==?=", "你好"},
		{"=?iso-2022-jp?B?GyRCRnxLXBsoQg==?=", "日本"},
	}
	for _, test := range tests {
		if got := DecodeText(test.in); got != test.want {
			t.Errorf("%q decodes to %q, not %q", test.in, got, test.want)
		}
	}
}

func TestBaseSubject(t *testing.T) {
	tests := []struct {
		in, base string
		reply    bool
	}{
		{"hello", "hello", false},
		{"Re: hello", "hello", true},
		{"RE : re:Fw: FWD: hello (fwd) (Fwd)", "hello", true},
		{"[list] Re: [list] hello", "hello", true},
		{"Re[2]: hello", "hello", true},
		{"Re [x] : hello", "hello", true},
		{"[a] [b] hello", "hello", false},
		{"[a] [b]", "[b]", false},
		{"[only]", "[only]", false},
		{"[Fwd: Re: hello]", "hello", true},
		{"[fwd: [fwd: [x] hello (fwd)]]", "hello", true},
		{"  a \t b  ", "a b", false},
		{"a\r\n b", "a b", false},
		{"Re:", "", true},
		{"", "", false},
		{"Regarding: x", "Regarding: x", false},
		{"[unclosed hello", "[unclosed hello", false},
		{"=?utf-8?Q?Re:_caf=C3=A9?=", "café", true},
		{"(fwd)", "", true},
	}
	for _, test := range tests {
		if base, reply := BaseSubject(test.in); base != test.base || reply != test.reply {
			t.Errorf("base of %q is %q, %v", test.in, base, reply)
		}
	}
}

func TestParseDate(t *testing.T) {
	tests := []struct{ in, want string }{
		{"Fri, 21 Nov 1997 09:55:06 -0600", "1997-11-21T09:55:06-06:00"},
		{"Thu,\r\n 13\r\n Feb\r\n 1969\r\n 23:32\r\n -0330 (Newfoundland Time)", "1969-02-13T23:32:00-03:30"},
		{"21 Nov 97 09:55:06 GMT", "1997-11-21T09:55:06+00:00"},
		{"1 Jan 49 00:00 UT", "2049-01-01T00:00:00+00:00"},
		{"1 Jan 102 00:00 EDT", "2002-01-01T00:00:00-04:00"},
		{"1 Jan 2002 00:00 PST", "2002-01-01T00:00:00-08:00"},
		{"1 Jan 2002 00:00 Z", "2002-01-01T00:00:00+00:00"},
		{"1 Jan 2002 00:00 Q", "2002-01-01T00:00:00+00:00"},
		{"1 Jan 2002 00:00", "2002-01-01T00:00:00+00:00"},
		{"Mon Nov 23 19:59:03 2026", "2026-11-23T19:59:03+00:00"},
		{"Thu Aug 22 13:44:01 PDT 2002", "2002-08-22T13:44:01-07:00"},
		{"2002-08-22T13:44:01+02:00", "2002-08-22T13:44:01+02:00"},
		{"2002-08-22 13:44:01.123 +0200", "2002-08-22T13:44:01+02:00"},
		{"22-Aug-2002 13:44:01 +0200", "2002-08-22T13:44:01+02:00"},
		{"Sat, 31 Dec 2016 23:59:60 +0000", "2016-12-31T23:59:59+00:00"},
		{"1 January 2002 1:02:03 +9999", "2002-01-01T01:02:03+00:00"},
		{"Tuesday, 1 Jan 2002", "2002-01-01T00:00:00+00:00"},
		{"garbage", ""},
		{"", ""},
		{"32 Jan 2002 00:00 +0000", ""},
		{"1 Jan 2002 25:00 +0000", ""},
		{"1 Foo 2002 00:00 +0000", ""},
		{"1 Jan 99999 00:00", ""},
		{strings.Repeat("(", 5000), ""},
	}
	for _, test := range tests {
		d, ok := ParseDate(test.in)
		got := ""
		if ok {
			got = d.Time().Format("2006-01-02T15:04:05-07:00")
		}
		if got != test.want {
			t.Errorf("%q is %s, not %s", test.in, got, test.want)
		}
	}
}

func TestDayIsThatOfTheSendersZone(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := Date{
			Unix: rapid.Int64Range(-1e10, 1e10).Draw(t, "unix"),
			Zone: int16(rapid.IntRange(-1439, 1439).Draw(t, "zone")),
		}
		y, m, day := d.Time().Date()
		want := time.Date(y, m, day, 0, 0, 0, 0, time.UTC).Unix() / 86400
		if d.Day() != want {
			t.Fatalf("day %d, not %d", d.Day(), want)
		}
	})
}

func TestMessageIDs(t *testing.T) {
	tests := []struct {
		in   string
		want []string
	}{
		{"<a@b>", []string{"a@b"}},
		{"<a@b> <c@d>\r\n\t<e@f>", []string{"a@b", "c@d", "e@f"}},
		{"<a@b><c@d>", []string{"a@b", "c@d"}},
		{"Your message of <a@b>", []string{"a@b"}},
		{"<a@b <c@d>", []string{"c@d"}},
		{"< a@\r\n b >", []string{"a@b"}},
		{`<"01KF8JCEOCBS0045PS"@xxx.yyy.com>`, []string{"01KF8JCEOCBS0045PS@xxx.yyy.com"}},
		{"<> <x>", []string{"x"}},
		{"a@b", nil},
		{"<a@b", nil},
		{"<" + strings.Repeat("x", maxIDLength+1) + "> <a>", []string{"a"}},
	}
	for _, test := range tests {
		if got := MessageIDs(test.in, 10); !slices.Equal(got, test.want) {
			t.Errorf("ids of %q are %q", test.in, got)
		}
	}
	for in, want := range map[string]string{
		"<a@b>": "a@b", " a@b ": "a@b", "a@b junk": "a@b", "(c) <a@b>": "a@b", "<>": "", "": "",
		"<a@b> <c@d>": "a@b",
	} {
		if got := MessageID(in); got != want {
			t.Errorf("id of %q is %q", in, got)
		}
	}
}

func TestLongReferencesKeepRootAndLast(t *testing.T) {
	var b strings.Builder
	for i := range 1000 {
		fmt.Fprintf(&b, "<%d> ", i)
	}
	for _, limit := range []int{1, 2, 3, 50} {
		ids := MessageIDs(b.String(), limit)
		if len(ids) != limit || ids[0] != "0" || limit > 1 && ids[limit-1] != "999" {
			t.Errorf("limit %d: %q", limit, ids)
		}
		if limit == 50 && ids[1] != "951" {
			t.Errorf("second is %s", ids[1])
		}
	}
}

func TestProposerFields(t *testing.T) {
	id := ProposerFields([]byte("Subject: Re: [x] Caf\xc3\xa9\r\nMessage-ID: <me@x>\r\n" +
		"References: <root@x> <me@x>\r\n <mid@x>\r\nIn-Reply-To: <mid@x> <last@x>\r\n" +
		"Date: 1 Jan 1970 00:01:00 +0000\r\n\r\nMessage-ID: <body@x>\r\n"))
	if id.MessageID != IDHash("me@x") {
		t.Error("message id")
	}
	if want := [][16]byte{IDHash("root@x"), IDHash("mid@x"), IDHash("last@x")}; !slices.Equal(id.References, want) {
		t.Errorf("references %x", id.References)
	}
	if other := ProposerFields([]byte("Subject: =?iso-8859-1?q?CAF=C9?=")); id.Subject != other.Subject || other.Reply || !id.Reply {
		t.Errorf("subjects %x %v, %x %v", id.Subject, id.Reply, other.Subject, other.Reply)
	}
	if !id.Sent.Valid || id.Sent.Unix != 60 {
		t.Errorf("sent %v", id.Sent)
	}
	none := ProposerFields([]byte("X: y\r\nSubject: Re:\r\n"))
	if none.MessageID != [16]byte{} || none.References != nil || none.Subject != [16]byte{} || none.Sent.Valid {
		t.Errorf("of nothing: %+v", none)
	}
	if sum := sha256.Sum256([]byte("a@b")); IDHash("a@b") != [16]byte(sum[:16]) {
		t.Error("IDHash is not the first half of SHA-256")
	}
}

func TestFoldMatchesWhatReadersCallEqual(t *testing.T) {
	for _, pair := range [][2]string{
		{"Hello", "hELLO"},
		{"ÉCOLE", "e\u0301cole"},
		{"Straße", "STRAßE"},
		{"ΣΊΣΥΦΟΣ", "σίσυφος"},
		{"ПРИВЕТ", "привет"},
		{"ﬁn", "FIN"},
		{"K", "k"},
		{"Ǆ", "ǆ"},
		{"ＦＵＬＬ", "full"},
	} {
		if Fold(pair[0]) != Fold(pair[1]) {
			t.Errorf("%q folds to %q, %q to %q", pair[0], Fold(pair[0]), pair[1], Fold(pair[1]))
		}
	}
	if Fold("é") == Fold("e") {
		t.Error("accents are ignored")
	}
}

func TestSearchFindsDecodedText(t *testing.T) {
	latin, _ := charmap.ISO8859_1.NewEncoder().String("Grüße aus Köln")
	jp, _ := japanese.ISO2022JP.NewEncoder().String("これは日本語です")
	utf16, _ := unicode.UTF16(unicode.BigEndian, unicode.UseBOM).NewEncoder().String("utf sixteen")
	msg := "Subject: =?utf-8?Q?Betreff_=C3=84?=\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\npreamble\r\n" +
		"--b\r\nContent-Type: text/plain; charset=iso-8859-1; name=partname\r\n\r\n" + latin + "\r\n" +
		"--b\r\nContent-Type: text/html; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n<b>caf=C3=\r\n=A9 time</b>\r\n" +
		"--b\r\nContent-Type: text/plain; charset=iso-2022-jp\r\n\r\n" + jp + "\r\n" +
		"--b\r\nContent-Type: text/plain; charset=utf-16\r\n\r\n" + utf16 + "\r\n" +
		"--b\r\nContent-Type: text/plain; charset=x-unknown\r\n\r\nundeclared \xe9 \xc3\xa8\r\n" +
		"--b\r\nContent-Type: image/png\r\n\r\nimagetext\r\n" +
		"--b\r\nContent-Type: message/rfc822\r\n\r\nSubject: innersubject\r\n\r\ninnertext\r\n" +
		"--b\r\nContent-Type: message/rfc822\r\nContent-Transfer-Encoding: base64\r\n\r\naGlkZGVu\r\n" +
		"--b--\r\nepilogue\r\n"
	d := ParseBytes([]byte(msg))
	tests := []struct {
		needle     string
		body, text bool
	}{
		{"GRÜSSE", false, false},
		{"grüße", true, true},
		{"GRÜßE AUS", true, true},
		{"CAFÉ", true, true},
		{"<B>", true, true},
		{"日本語", true, true},
		{"UTF SIX", true, true},
		{"É è", true, true},
		{"imagetext", false, false},
		{"innertext", true, true},
		{"innersubject", false, true},
		{"betreff ä", false, true},
		{"partname", false, true},
		{"preamble", false, false},
		{"hidden", true, true},
		{"aglkzgvu", false, false},
		{"köln\r\n<b>", false, false},
		{"", true, true},
		{"utf-8?q?", false, false},
	}
	for _, test := range tests {
		for scope, want := range map[Scope]bool{ScopeBody: test.body, ScopeText: test.text} {
			got, err := Contains(context.Background(), strings.NewReader(msg), &d.Root, NewNeedle(test.needle), scope)
			if got != want || err != nil {
				t.Errorf("%q in scope %d: %v, %v", test.needle, scope, got, err)
			}
		}
	}
}

// TestNoCharsetFailsOnGarbage: what a charset cannot explain never ends a search.
func TestNoCharsetFailsOnGarbage(t *testing.T) {
	names := []string{
		"big5", "euc-jp", "euc-kr", "gb18030", "gb2312", "hz-gb-2312", "ibm866", "iso-2022-jp", "iso-8859-6",
		"koi8-r", "macintosh", "shift_jis", "utf-16", "utf-16le", "windows-1255", "x-user-defined",
	}
	for _, name := range names {
		if charsetOf(name) == nil {
			t.Errorf("%s is unknown", name)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		name := rapid.SampledFrom(append(names, "utf-8", "utf-32", "utf-7", "x-none")).Draw(t, "charset")
		msg := append([]byte("Content-Type: text/plain; charset="+name+"\r\n\r\n"), rapid.SliceOfN(rapid.Byte(), 0, 200).Draw(t, "body")...)
		if err := searchText(smallReads{msg}, &ParseBytes(msg).Root, new(room), func([]byte) bool { return true }); err != nil {
			t.Fatal(err)
		}
	})
}

func TestSearchFindsWhatLiesAcrossChunks(t *testing.T) {
	head := "Content-Type: text/plain; charset=utf-8\r\n\r\n"
	for shift := -12; shift <= 12; shift++ {
		msg := head + strings.Repeat("é", (searchChunk+shift)/2) + strings.Repeat("x", (shift+12)%2) + "Nädel" + strings.Repeat("y", searchChunk)
		d := ParseBytes([]byte(msg))
		for needle, want := range map[string]bool{"NÄDEL": true, "nädely": true, "énä": (shift+12)%2 == 0, "nadel": false} {
			got, err := Contains(context.Background(), smallReads{[]byte(msg)}, &d.Root, NewNeedle(needle), ScopeBody)
			if got != want || err != nil {
				t.Errorf("shift %d, %q: %v, %v", shift, needle, got, err)
			}
		}
	}
}

func TestMatcherFindsNeedleInAnyDivision(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		pieces := rapid.SliceOf(rapid.StringMatching(`[ab]{0,6}`)).Draw(t, "pieces")
		needle := rapid.StringMatching(`[ab]{1,8}`).Draw(t, "needle")
		m := matcher{needle: []byte(needle)}
		for _, p := range pieces {
			m.feed([]byte(p))
		}
		if want := strings.Contains(strings.Join(pieces, ""), needle); m.found != want {
			t.Fatalf("found %v, not %v", m.found, want)
		}
	})
}

func TestSearchStopsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	msg := append([]byte("\r\n"), bytes.Repeat([]byte("x"), 1<<20)...)
	if _, err := Contains(ctx, smallReads{msg}, &ParseBytes(msg).Root, NewNeedle("y"), ScopeBody); err == nil {
		t.Error("no error")
	}
}

func TestHeaderContains(t *testing.T) {
	h := Header("Subject: =?utf-8?Q?caf=C3=A9?=\r\n au lait\r\nTo: a@b\r\nTo: c@d\r\nX-Empty:\r\n\r\nTo: e@f\r\n")
	for _, test := range []struct {
		name, needle string
		want         bool
	}{
		{"subject", "CAFÉ AU", true},
		{"to", "C@D", true},
		{"to", "e@f", false},
		{"x-empty", "", true},
		{"x-none", "", false},
		{"subject", "lait\r\n", false},
	} {
		if got := h.Contains(test.name, NewNeedle(test.needle)); got != test.want {
			t.Errorf("%s contains %q: %v", test.name, test.needle, got)
		}
	}
}

func TestFieldsTellTheirOffsets(t *testing.T) {
	h := Header(" stray\r\nA : 1\r\nno colon\r\nB:\r\n 2\r\n\r\nC: 3\r\n")
	var names, all []string
	for f := range h.Fields() {
		if string(h[f.Offset:f.Offset+len(f.Raw)]) != f.Raw {
			t.Errorf("field %q is not at %d", f.Raw, f.Offset)
		}
		names = append(names, f.Name+"="+unfold(f.Value))
		all = append(all, f.Raw)
	}
	if got := strings.Join(names, "|"); got != "=stray|A=1|=no colon|B=2" {
		t.Errorf("fields %q", got)
	}
	if got := strings.Join(all, ""); got+"\r\nC: 3\r\n" != string(h) {
		t.Errorf("raw fields %q", got)
	}
	if v, ok := h.Get("b"); v != "2" || !ok {
		t.Errorf("B is %q, %v", v, ok)
	}
}

func TestStrings(t *testing.T) {
	for in, want := range map[string]string{
		"": `""`, "a b": `"a b"`, `a"b\c`: `"a\"b\\c"`, "tab\t": "\"tab\t\"",
		"\xe9": "{1}\r\n\xe9", "a\r": "{2}\r\na\r", "a\n": "{2}\r\na\n", "\x00\x7f": "{2}\r\n\x80\x7f",
		strings.Repeat("x", 1001): "{1001}\r\n" + strings.Repeat("x", 1001),
	} {
		if got := string(AppendString(nil, in)); got != want {
			t.Errorf("%q is written %q", in, got)
		}
	}
	if got := string(AppendNString([]byte("x "), NString{})); got != "x NIL" {
		t.Errorf("absent string is written %q", got)
	}
}
