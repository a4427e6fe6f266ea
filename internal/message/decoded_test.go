package message

import (
	"strings"
	"testing"
	"testing/iotest"
)

func TestDecodedOctetsAreDescribed(t *testing.T) {
	for in, want := range map[string]Decoded{
		"":                                {0, 0, false, "7bit"},
		"hello":                           {5, 0, false, "7bit"},
		"a\r\nb\r\n":                      {6, 2, false, "7bit"},
		"ä\r\n":                           {4, 1, false, "8bit"},
		"a\nb":                            {3, 1, false, "binary"},
		"ä\rb":                            {4, 0, false, "binary"},
		"\n":                              {1, 1, false, "binary"},
		"a\r":                             {2, 0, false, "binary"},
		"a\x00":                           {2, 0, true, "binary"},
		strings.Repeat("x", 998) + "\r\n": {1000, 1, false, "7bit"},
		strings.Repeat("x", 1000):         {1000, 0, false, "binary"},
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
	if p := d.Find([]int{2}).As(Decoded{3, 0, false, "7bit"}); string(AppendBodyStructure(nil, &p, false)) != `("application" "octet-stream" NIL NIL NIL "7bit" 3)` {
		t.Errorf("got %s", AppendBodyStructure(nil, &p, false))
	}
}
