package message

import (
	"reflect"
	"strings"
	"testing"
	"unicode"
)

// international is a message as RFC 6532 has it, and another one inside.
const international = "Subject: =?utf-8?q?gr=C3=BC=C3=9Fe?= aus K\u00f6ln\r\nFrom: J\u00f6rg \u00dc <j\u00f6rg@k\u00f6ln.example>\r\nTo: \"Plain\" <a@b>, Gr\u00fcppe: c@d;\r\n" +
	"Message-ID: <\u00fc@x>\r\nContent-Type: multipart/mixed; boundary=1\r\n\r\n" +
	"--1\r\nContent-Type: text/plain; name=\"b\u00fccher 1.txt\"\r\nContent-Description: \u0431\u0443\u043a\u0432\u0430\r\n" +
	"Content-Disposition: attachment; filename=\"\u00e4%'*.txt\"; size=5\r\n\r\none\r\n" +
	"--1\r\nContent-Type: message/rfc822\r\n\r\nSubject: \u00e4\r\n\r\nx\r\n--1--\r\n"

func TestDowngradedTextsReadAsBeforeAndAreASCII(t *testing.T) {
	d := ParseBytes([]byte(international))
	e := d.Envelope.Downgraded()
	if got, want := e.Subject.Value, "=?utf-8?q?gr=C3=BC=C3=9Fe_aus_K=C3=B6ln?="; got != want {
		t.Errorf("subject %s, want %s", got, want)
	}
	if DecodeText(e.Subject.Value) != "gr\u00fc\u00dfe aus K\u00f6ln" || DecodeText(e.From[0].Name.Value) != "J\u00f6rg \u00dc" || DecodeText(e.To[1].Mailbox.Value) != "Gr\u00fcppe" {
		t.Errorf("got %+v", e)
	}
	if e.From[0].Mailbox.Value != "j\u00f6rg" || e.From[0].Host.Value != "k\u00f6ln.example" || e.MessageID != d.Envelope.MessageID || e.To[0] != d.Envelope.To[0] {
		t.Errorf("addresses and ids were changed: %+v", e)
	}
	got := string(AppendBodyStructure(nil, d.Root.Downgraded(), true))
	for _, want := range []string{
		`("name*" "utf-8''b%C3%BCcher%201.txt"`, `"=?utf-8?b?0LHRg9C60LLQsA==?="`, `("attachment" ("filename*" "utf-8''%C3%A4%25%27%2A.txt" "size" "5"))`, `(NIL "=?utf-8?b?w6Q=?=" `,
	} {
		if !strings.Contains(got, want) {
			t.Errorf("no %s in %s", want, got)
		}
	}
	if strings.ContainsFunc(got, func(r rune) bool { return r > unicode.MaxASCII }) {
		t.Errorf("got %s", got)
	}
	if again := ParseBytes([]byte(international)); !reflect.DeepEqual(d, again) {
		t.Error("what was parsed was changed")
	}
}

func TestWhatIsASCIIOrNoUTF8IsNotDowngraded(t *testing.T) {
	for _, m := range []string{
		"Subject: x\r\nFrom: =?utf-8?q?=C3=BC?= <a@b>\r\n\r\n", "Subject: \xe4\r\nFrom: \xfc <a@b>\r\nContent-Type: text/plain; name=\"\xfc\"\r\n\r\n", sectioned,
		"Content-Type: text/plain; name=\"\u00fc\"; name*=utf-8''%C3%BC\r\n\r\n",
	} {
		d := ParseBytes([]byte(m))
		if d.Envelope.Downgraded() != &d.Envelope || d.Root.Downgraded() != &d.Root {
			t.Errorf("%q became %s %s", m, AppendEnvelope(nil, d.Envelope.Downgraded()), AppendBodyStructure(nil, d.Root.Downgraded(), true))
		}
	}
}

func TestEncodedWordsAreShortAndWhole(t *testing.T) {
	for _, text := range []string{strings.Repeat("\u00fc", 500), strings.Repeat("x", 300) + "\u00fc", strings.Repeat("\U0001f600 ", 100), "\u00fc\t\x01"} {
		got := encodedWords(text)
		for w := range strings.SplitSeq(got, " ") {
			if len(w) > 75 || !strings.HasPrefix(w, "=?utf-8?") || !strings.HasSuffix(w, "?=") {
				t.Errorf("word %s of %d octets", w, len(w))
			}
		}
		if DecodeText(got) != text {
			t.Errorf("%q is read as %q", got, DecodeText(got))
		}
	}
}
