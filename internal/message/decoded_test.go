package message

import (
	"strings"
	"testing"
	"testing/iotest"
)

func TestDecodedOctetsAreDescribed(t *testing.T) {
	for in, want := range map[string]Decoded{
		"":                                {0, false, "7bit"},
		"hello":                           {5, false, "7bit"},
		"a\r\nb\r\n":                      {6, false, "7bit"},
		"ä\r\n":                           {4, false, "8bit"},
		"a\nb":                            {3, false, "binary"},
		"ä\rb":                            {4, false, "binary"},
		"\n":                              {1, false, "binary"},
		"a\r":                             {2, false, "binary"},
		"a\x00":                           {2, true, "binary"},
		strings.Repeat("x", 998) + "\r\n": {1000, false, "7bit"},
		strings.Repeat("x", 1000):         {1000, false, "binary"},
	} {
		got, err := Describe(iotest.OneByteReader(strings.NewReader(in)))
		if err != nil || got != want {
			t.Errorf("%.20q: %+v, %v, want %+v", in, got, err, want)
		}
	}
	if _, err := Describe(iotest.ErrReader(iotest.ErrTimeout)); err == nil {
		t.Error("no error")
	}
}

func TestPartsWithPartsStayWhatTheyAre(t *testing.T) {
	d := ParseBytes([]byte(sectioned))
	if root := d.Root.As(Decoded{Size: 1}); root.Body != d.Root.Body {
		t.Errorf("got %+v", root)
	}
	if p := d.Root.Find([]int{2}).As(Decoded{3, false, "7bit"}); string(AppendBodyStructure(nil, &p, false)) != `("application" "octet-stream" NIL NIL NIL "7bit" 3)` {
		t.Errorf("got %s", AppendBodyStructure(nil, &p, false))
	}
}

func TestLinesAreThoseOfTheEncodedText(t *testing.T) {
	for encoding, want := range map[string]string{"quoted-printable": "9 0", "base64": "9 0", "7bit": "9 2", "binary": "9 2"} {
		d := ParseBytes([]byte("Content-Transfer-Encoding: " + encoding + "\r\n\r\none\r\ntwo\r\n"))
		p := d.Root.As(Decoded{Size: 9, Encoding: "7bit"})
		if got := string(AppendBodyStructure(nil, &p, false)); !strings.HasSuffix(got, `"7bit" `+want+")") {
			t.Errorf("%s: %s, want %s", encoding, got, want)
		}
	}
}
