package message

import (
	"bytes"
	"context"
	"strings"
	"testing"
)

func BenchmarkParseTypical(b *testing.B) {
	msg := typicalMessage()
	b.SetBytes(int64(len(msg)))
	b.ReportAllocs()
	for b.Loop() {
		ParseBytes(msg)
	}
}

func BenchmarkDeriveAndEncodeTypical(b *testing.B) {
	msg := typicalMessage()
	var buf []byte
	b.ReportAllocs()
	for b.Loop() {
		buf = ParseBytes(msg).Append(buf[:0])
	}
	b.ReportMetric(float64(len(buf)), "octets")
}

func BenchmarkDecodeTypical(b *testing.B) {
	data := ParseBytes(typicalMessage()).Append(nil)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Decode(data); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDecodeEnvelopeTypical(b *testing.B) {
	data, err := Cut(ParseBytes(typicalMessage()).Append(nil), EnvelopePiece)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := DecodeEnvelope(data); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkProposerFields(b *testing.B) {
	msg := typicalMessage()
	header, _, _ := bytes.Cut(msg, []byte("\r\n\r\n"))
	b.SetBytes(int64(len(header)))
	b.ReportAllocs()
	for b.Loop() {
		ProposerFields(header)
	}
}

func BenchmarkParseAttachment(b *testing.B) {
	line := strings.Repeat("QUJD", 19) + "\r\n"
	msg := []byte("Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\n" + strings.Repeat(line, 130_000) + "--b--\r\n")
	r := smallReads{msg}
	b.SetBytes(int64(len(msg)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Parse(r, int64(len(msg))); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkSearchBodyWithoutMatch(b *testing.B) {
	for name, line := range map[string]string{
		"ascii":    "an ordinary line of text, as most of them are\r\n",
		"cyrillic": "обычная строка текста, каких большинство\r\n",
	} {
		b.Run(name, func(b *testing.B) {
			msg := []byte("Content-Type: text/plain; charset=utf-8\r\n\r\n" + strings.Repeat(line, 20_000))
			d := ParseBytes(msg)
			n := NewNeedle("extraordinary необычная")
			b.SetBytes(int64(len(msg)))
			for b.Loop() {
				if found, err := Contains(context.Background(), smallReads{msg}, &d.Root, n, ScopeBody); found || err != nil {
					b.Fatal(found, err)
				}
			}
		})
	}
}
