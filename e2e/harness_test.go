package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/emersion/go-imap/v2"

	"github.com/tandemail/tandemail/e2e/ledger"
)

// The tests of this file need no cluster: they hold the harness to account.

func TestContentIsReproducibleAndUnlikeAnyOther(t *testing.T) {
	seen := map[string]ledger.Token{}
	odd := 0
	for i := range 500 {
		token := ledger.Token(fmt.Sprintf("d-1-%d", i))
		c := deliverable(token)
		if !bytes.Equal(c, deliverable(token)) {
			t.Fatalf("%s: different octets the second time", token)
		}
		if other, ok := seen[string(c)]; ok {
			t.Fatalf("%s and %s have the same octets", token, other)
		}
		seen[string(c)] = token
		if tokenOf(c) != token || tokenOf(append([]byte("Received: from x\r\n\tby y\r\n"), c...)) != token {
			t.Fatalf("token read as %s", tokenOf(c))
		}
		if !bytes.HasSuffix(c, []byte("\r\n")) {
			t.Fatalf("%s does not end with CRLF, so that DATA would change it", token)
		}
		if !bytes.Equal(c, canonical(c)) {
			odd++
		}
	}
	if odd < 250 {
		t.Fatalf("only %d of 500 messages need canonicalisation", odd)
	}
}

func TestDamageIsSeen(t *testing.T) {
	sent := []byte("A: b\r\n\r\nx\ny\x00\r\n")
	good := "Return-Path: <>\r\nA: b\r\n\r\nx\r\ny\x80\r\n"
	if d := damage([]byte(good), sent); d != "" {
		t.Fatalf("a good message is damaged: %s", d)
	}
	if d := damage([]byte(good[len("Return-Path: <>\r\n"):]), sent); d != "" {
		t.Fatalf("a message without prefix is damaged: %s", d)
	}
	for i := range good {
		bad := []byte(good)
		bad[i] ^= 1
		if i >= len("Return-Path: <>") && damage(bad, sent) == "" {
			t.Errorf("a changed octet %d is not seen", i)
		}
		if i > len("Return-Path: <>\r\n") && damage([]byte(good[:i]+good[i+1:]), sent) == "" {
			t.Errorf("a missing octet %d is not seen", i)
		}
	}
	for _, bad := range []string{"", good + "\r\n", "X: y\r\n\r\n" + good, "no line end" + good[len("Return-Path: <>\r\n"):]} {
		if damage([]byte(bad), sent) == "" {
			t.Errorf("%q is not seen to be damaged", bad)
		}
	}
}

func TestStoredMessageIsFoundByItsEnd(t *testing.T) {
	long := strings.Repeat("same end, same end, same end, same end, same end, same end\r\n", 3)
	var mails []*realMail
	for _, s := range []string{"a\n" + long, "b\n" + long, "b\n" + long, long, "tiny\r\n", "y\r\n"} {
		mails = append(mails, &realMail{sent: []byte(s)})
	}
	mails = append(mails, &realMail{sent: []byte("z\r\n"), user: 1})
	index := indexByEnd(mails, 0)
	for _, s := range []string{"P: q\r\nb\r\n" + long, "b\r\n" + long, "P: q\r\n" + long, "P: q\r\na\r\n" + long, "P: q\r\ntiny\r\n", "P: q\r\ny\r\n"} {
		m := index.find([]byte(s))
		if m == nil {
			t.Fatalf("%.20q is not found", s)
		}
		m.found++
	}
	for i, m := range mails[:6] {
		if m.found != 1 {
			t.Errorf("message %d (%.10q) was found %d times", i, m.sent, m.found)
		}
	}
	for _, s := range []string{"", "P: q\r\nz\r\n", "X" + long[1:] + "c"} {
		if m := index.find([]byte(s)); m != nil {
			t.Errorf("%.20q is taken for %.20q", s, m.sent)
		}
	}
}

func TestCorpusIsReadWithoutEnvelopeLinesAndDescriptions(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{"1.txt": "From a b\nA: b\n\nx", "2.txt": "A: c\n\nFrom y", "1.json": "{}"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	mails, err := readCorpus(dir)
	if err != nil || len(mails) != 2 {
		t.Fatalf("%d messages, %v", len(mails), err)
	}
	if got := string(mails[0].sent); got != "A: b\n\nx" || !mails[0].chunk {
		t.Errorf("first message is %q", got)
	}
	if got := string(mails[1].sent); got != "A: c\r\n\r\nFrom y\r\n" || mails[1].chunk {
		t.Errorf("second message, for DATA, is %q", got)
	}
}

func TestWholeClusterIsToldFromABrokenOne(t *testing.T) {
	const whole = `{"stores":[{"name":"s1","master":"m1","in_sync":["m1","m2"],"slots":[{"machine":"m1","state":"ok"},{"machine":"m2","state":"ok"}]}],
		"machines":[{"name":"m1","state":"up"},{"name":"m2","state":"up"}]}`
	for _, tc := range []struct{ from, to, want string }{
		{"", "", ""},
		{`"state":"up"`, `"state":"down"`, "m1 is down"},
		{`"master":"m1"`, `"master":""`, `s1: master ""`},
		{`"in_sync":["m1","m2"]`, `"in_sync":["m1"]`, "in sync [m1]"},
		{`"state":"ok"`, `"state":"seeding"`, "s1 on m1 is seeding"},
		{`,{"machine":"m2","state":"ok"}`, ``, "s1: master"},
		{`,{"name":"m2","state":"up"}`, ``, "1 machines"},
	} {
		var s status
		text := whole
		if tc.from != "" {
			text = strings.Replace(whole, tc.from, tc.to, 1)
		}
		if tc.want == "s1: master" {
			text = strings.Replace(text, `["m1","m2"]`, `["m1"]`, 1)
		}
		if err := json.Unmarshal([]byte(text), &s); err != nil {
			t.Fatal(err)
		}
		if got := unsettled(s, 2); (got == "") != (tc.want == "") || !strings.Contains(got, tc.want) {
			t.Errorf("%s instead of %s: %q, want %q", tc.to, tc.from, got, tc.want)
		}
	}
}

func TestCOPYUIDIsReadPairwise(t *testing.T) {
	var src, dst imap.UIDSet
	src.AddRange(3, 4)
	src.AddNum(9)
	dst.AddRange(20, 22)
	got := fmt.Sprint(pairs(src, dst))
	if got != "map[3:20 4:21 9:22]" {
		t.Fatalf("got %s", got)
	}
	if n := len(pairs(src, nil)); n != 0 {
		t.Fatalf("%d pairs without a target set", n)
	}
}
