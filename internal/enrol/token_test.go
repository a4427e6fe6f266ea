package enrol

import (
	"bytes"
	"os"
	"strings"
	"testing"

	"github.com/tandemail/tandemail/internal/pki"
)

func sample(t *testing.T) (Token, string) {
	t.Helper()
	token, err := NewToken(pki.KeyID{1, 2}, []string{"192.0.2.1:7700"}, bytes.NewReader(bytes.Repeat([]byte{7}, secretSize)))
	if err != nil {
		t.Fatal(err)
	}
	text, err := token.Text()
	if err != nil {
		t.Fatal(err)
	}
	return token, text
}

func TestTokenIsTextAndBack(t *testing.T) {
	token, text := sample(t)
	back, err := ParseToken(" " + text + "\n")
	if err != nil || back.Authority != token.Authority || back.secret != token.secret || back.Addresses[0] != "192.0.2.1:7700" {
		t.Fatalf("%+v, %v", back, err)
	}
	page, err := os.ReadFile("../../docs/protocol/enrol.md")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(page, []byte("\ntoken "+text+"\n")) {
		t.Errorf("the page's example is not\n%s", text)
	}
}

func TestWhatIsNotAWholeTokenIsNone(t *testing.T) {
	_, text := sample(t)
	changed := []byte(text)
	changed[20] ^= 1
	for _, bad := range []string{"", "x", text[:len(text)-1], text[1:], string(changed), tokenForm, tokenForm + "AAAA", text + strings.Repeat("A", maxToken)} {
		if got, err := ParseToken(bad); err == nil {
			t.Errorf("%q is taken for %v", bad, got)
		}
	}
}

func TestTokenDoesNotPrintItsSecret(t *testing.T) {
	token, text := sample(t)
	if s := token.String(); strings.Contains(text, s) || strings.Contains(s, "0707") {
		t.Errorf("prints %q", s)
	}
}
