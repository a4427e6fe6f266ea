package message

import (
	"bytes"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/tandemail/tandemail/internal/heap"
)

func TestPreviewIsTheBeginningOfWhatIsSaid(t *testing.T) {
	long := strings.Repeat("wört ", 100)
	for in, want := range map[string]string{
		"\r\nhello  there,\r\n\r\n\tfriend\r\n": "hello there, friend",
		"Content-Type: text/html\r\n\r\n<html><head><title>no</title></head><style>p{}</style><p>Gr&uuml;&szlig;e<br>an<!-- x > y --> alle &lt;": "Grüße an alle <",
		"Content-Type: text/plain; charset=iso-8859-1\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\nGr=FC=DFe=\r\n!":                     "Grüße!",
		"Content-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\nContent-Type: text/plain\r\nContent-Disposition: attachment\r\n\r\nfile\r\n" +
			"--x\r\nContent-Type: multipart/alternative; boundary=y\r\n\r\n--y\r\nContent-Type: text/html\r\n\r\n<b>rich</b>\r\n" +
			"--y\r\nContent-Type: text/plain\r\n\r\nplain\r\n--y--\r\n--x--\r\n": "plain",
		"Content-Type: image/png\r\n\r\nxxxx":                         "",
		"Content-Type: message/rfc822\r\n\r\nSubject: x\r\n\r\ninner": "",
		"\r\n":        "",
		"\r\n" + long: strings.TrimSuffix(long[:len(long)/100*40], " "),
		"Content-Type: text/html\r\n\r\n<script>x":  "",
		"Content-Type: text/html\r\n\r\n<header>x<": "x",
	} {
		got, err := Preview(strings.NewReader(in), &ParseBytes([]byte(in)).Root)
		if err != nil || got != want {
			t.Errorf("%.60q:\n got %q, %v\nwant %q", in, got, err, want)
		}
	}
}

// FuzzPreview: whatever a message is, its preview is a line of UTF-8 of bounded length.
func FuzzPreview(f *testing.F) {
	f.Add([]byte("Content-Type: text/html\r\n\r\n<p>x<!-- --><head>&amp;</head>y"))
	f.Add([]byte("\r\nhello\xff\xfe there"))
	f.Fuzz(func(t *testing.T, b []byte) {
		var s string
		var err error
		d := ParseBytes(b)
		heap.Within(t, 256<<10, func() { s, err = Preview(bytes.NewReader(b), &d.Root) })
		if err != nil || !utf8.ValidString(s) || utf8.RuneCountInString(s) > maxPreview || strings.ContainsAny(s, "\r\n\x00") {
			t.Errorf("%q, %v", s, err)
		}
	})
}
