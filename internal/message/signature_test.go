package message

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func sign(t interface{ Fatal(...any) }, msg []byte) Signature {
	s, err := Sign(context.Background(), bytes.NewReader(msg), &ParseBytes(msg).Root)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestASignatureDeniesNothingThatIsThere holds that a search which asks signatures finds
// what one that reads everything does.
func TestASignatureDeniesNothingThatIsThere(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		msg := drawMessage(t)
		s := sign(t, msg)
		at := rapid.IntRange(0, len(msg)).Draw(t, "at")
		for _, text := range []string{
			string(msg[at:min(len(msg), at+rapid.IntRange(1, 30).Draw(t, "length"))]),
			rapid.String().Draw(t, "text"), "subject: ", "a",
		} {
			n := NewNeedle(text)
			found, err := Contains(context.Background(), bytes.NewReader(msg), &ParseBytes(msg).Root, n, ScopeText)
			if err != nil {
				t.Fatal(err)
			}
			if found && !s.May(n) {
				t.Fatalf("%q is there, and the signature of %d octets denies it", text, len(s))
			}
		}
	})
}

// TestASignatureDeniesMostOfWhatIsNotThere: else it is of no use.
func TestASignatureDeniesMostOfWhatIsNotThere(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	word := func() string {
		b := make([]byte, 3+rng.IntN(8))
		for i := range b {
			b[i] = "etaoinshrdlucmfwypvbgk"[rng.IntN(22)]
		}
		return string(b)
	}
	for _, words := range []int{5, 500, 1500} {
		var text strings.Builder
		for range words {
			text.WriteString(word() + " ")
		}
		msg := []byte("Subject: words\r\n\r\n" + text.String())
		s := sign(t, msg)
		if len(s) == 0 || len(s) > MaxSignature {
			t.Fatalf("%d words have a signature of %d octets", words, len(s))
		}
		denied, absent := 0, 0
		for range 2000 {
			w := word() + word()
			if len(w) < 8 || strings.Contains(text.String(), w) {
				continue
			}
			absent++
			if !s.May(NewNeedle(w)) {
				denied++
			}
		}
		if denied < absent*9/10 {
			t.Errorf("of %d texts that are not in %d words, %d are denied", absent, words, denied)
		}
	}
}

func TestLargeTextHasNoSignature(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	noise := make([]byte, 200<<10)
	for i := range noise {
		noise[i] = byte(' ' + rng.IntN(90))
	}
	for name, msg := range map[string]string{
		"noise": "\r\n" + string(noise),
		"long":  "\r\n" + strings.Repeat("the same words again\r\n", signedText/20),
	} {
		if s := sign(t, []byte(msg)); len(s) != 0 || !s.May(NewNeedle("absent")) {
			t.Errorf("%s: a signature of %d octets", name, len(s))
		}
	}
	attachment := fmt.Sprintf("Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nwords\r\n--b\r\nContent-Type: image/png\r\n\r\n%s\r\n--b--\r\n",
		strings.Repeat("0123456789", 200<<10))
	if s := sign(t, []byte(attachment)); len(s) == 0 || s.May(NewNeedle("absent")) || !s.May(NewNeedle("WORDS")) {
		t.Errorf("with an attachment the signature has %d octets", len(s))
	}
	for _, s := range []Signature{nil, {}, {1, 2, 3}, make([]byte, 24)} {
		if !s.May(NewNeedle("anything")) {
			t.Errorf("%v is no signature and denies", s)
		}
	}
}
