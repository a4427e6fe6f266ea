package message

import (
	"bytes"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func roundTrip(t interface{ Fatalf(string, ...any) }, d *Derived) {
	b := d.Append(nil)
	got, err := Decode(b)
	if err != nil {
		t.Fatalf("decode: %v", err)
	}
	if !reflect.DeepEqual(got, d) {
		t.Fatalf("decoded\n%+v\nnot\n%+v", got, d)
	}
	piece := func(p Piece) []byte {
		b, err := Cut(b, p)
		if err != nil {
			t.Fatalf("cut piece %d: %v", p, err)
		}
		return b
	}
	kept, err := DecodeKept(piece(FieldsPiece))
	if err != nil || kept != d.Kept {
		t.Fatalf("decoded fields %+v, %v", kept, err)
	}
	sent, err := DecodeSent(piece(StructurePiece))
	if err != nil || sent != d.Sent {
		t.Fatalf("decoded date %+v, %v", sent, err)
	}
	root, err := DecodeStructure(piece(StructurePiece))
	if err != nil || !reflect.DeepEqual(root, &d.Root) {
		t.Fatalf("decoded structure %+v, %v", root, err)
	}
	env, err := DecodeEnvelope(piece(EnvelopePiece))
	if err != nil || !reflect.DeepEqual(env, &d.Envelope) {
		t.Fatalf("decoded envelope %+v, %v", env, err)
	}
}

func TestDerivedSurvivesEncoding(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) { roundTrip(t, ParseBytes(drawMessage(t))) })
	files, _ := filepath.Glob("testdata/structure/*.txt")
	for _, name := range files {
		text, _ := os.ReadFile(name)
		source, _, _ := strings.Cut(string(text), separator)
		roundTrip(t, ParseBytes(unescapeMessage(t, source)))
	}
}

func TestAnotherVersionMeansRebuild(t *testing.T) {
	b := ParseBytes([]byte("Subject: x\r\n\r\n")).Append(nil)
	b[0]++
	if _, err := Decode(b); !errors.Is(err, ErrVersion) {
		t.Errorf("error is %v", err)
	}
	if _, err := Cut(b, EnvelopePiece); !errors.Is(err, ErrVersion) {
		t.Errorf("error is %v", err)
	}
}

func TestDamagedDataIsRefused(t *testing.T) {
	b := ParseBytes(typicalMessage()).Append(nil)
	for n := range b {
		if _, err := Decode(b[:n]); err == nil {
			t.Errorf("decoded the first %d of %d octets", n, len(b))
		}
	}
	if _, err := Decode(append(slices.Clip(b), 0)); err == nil {
		t.Error("decoded with an octet too many")
	}
}

func TestOffsetsOutsideTheParentAreRefused(t *testing.T) {
	for _, end := range []int64{1, maxOffset + 1, -1} {
		d := ParseBytes([]byte(sectioned))
		last := d.Root.Children[len(d.Root.Children)-1]
		last.Body.End = d.Root.Body.End + end
		if end < 0 {
			last.Body.End = last.Body.Start + end
		}
		if _, err := Decode(d.Append(nil)); err == nil {
			t.Errorf("decoded a part that ends at %d", last.Body.End)
		}
	}
}

// TestEncodingIsStable holds the encoding of this version. If it changes, Version
// must rise, and the file's name with it.
func TestEncodingIsStable(t *testing.T) {
	const name = "testdata/derived-v3.hex"
	got := hex.Dump(ParseBytes(typicalMessage()).Append(nil))
	if *update {
		if err := os.WriteFile(name, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestDictionaryIsSortedAndFitsOneOctet(t *testing.T) {
	if !slices.IsSorted(words[:]) || len(words) > 64 {
		t.Errorf("%d words, sorted: %v", len(words), slices.IsSorted(words[:]))
	}
	for i, w := range words {
		if wordIndex(w) != i {
			t.Errorf("word %q has index %d, not %d", w, wordIndex(w), i)
		}
	}
}

func TestDerivedDataOfATypicalMessageIsSmall(t *testing.T) {
	msg := typicalMessage()
	if n := len(ParseBytes(msg).Append(nil)); n > 900 {
		t.Errorf("%d octets for a message of %d", n, len(msg))
	}
}

// typicalMessage is about 3 KB: a reply in two forms, as mail programs write it.
func typicalMessage() []byte {
	var b bytes.Buffer
	for range 3 {
		b.WriteString("Received: from mail.example.org (mail.example.org [192.0.2.25])\r\n" +
			"\tby mx.example.com (Postfix) with ESMTPS id 4XyZ7w3kQ1z9sW\r\n" +
			"\tfor <mary.major@example.com>; Mon, 23 Nov 2026 19:51:02 +0000 (UTC)\r\n")
	}
	b.WriteString("From: John Doe <john.doe@example.org>\r\n" +
		"To: \"Major, Mary\" <mary.major@example.com>, team@example.com\r\n" +
		"Cc: =?utf-8?Q?J=C3=B6rg?= <joerg@example.net>\r\n" +
		"Subject: Re: [team] =?utf-8?Q?Caf=C3=A9?= on Friday\r\n" +
		"Date: Mon, 23 Nov 2026 20:51:00 +0100\r\n" +
		"Message-ID: <CAF4=k2vQm8Xw0x1@mail.example.org>\r\n" +
		"In-Reply-To: <20261123.183001.1@example.com>\r\n" +
		"References: <20261122.100000.7@example.com>\r\n\t<20261123.183001.1@example.com>\r\n" +
		"DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed; d=example.org; s=s1;\r\n" +
		"\th=from:to:cc:subject:date; bh=frcCV1k9oG9oKj3dpUqdJg1PxRT2RSN/XKdLCPjaYaY=;\r\n" +
		"\tb=" + strings.Repeat("dGhpcyBpcyBhIHNpZ25hdHVyZQ", 8) + "\r\n" +
		"MIME-Version: 1.0\r\n" +
		"Content-Type: multipart/alternative; boundary=\"0000000000009f8a3c0627a1b2c3\"\r\n\r\n" +
		"--0000000000009f8a3c0627a1b2c3\r\nContent-Type: text/plain; charset=\"UTF-8\"\r\n\r\n")
	b.WriteString(strings.Repeat("> quoted text of an ordinary line, as it is in replies\r\n", 12))
	b.WriteString("--0000000000009f8a3c0627a1b2c3\r\nContent-Type: text/html; charset=\"UTF-8\"\r\n" +
		"Content-Transfer-Encoding: quoted-printable\r\n\r\n")
	b.WriteString(strings.Repeat("<div dir=3D\"ltr\">quoted text of an ordinary line</div><br>\r\n", 12))
	b.WriteString("--0000000000009f8a3c0627a1b2c3--\r\n")
	return b.Bytes()
}
