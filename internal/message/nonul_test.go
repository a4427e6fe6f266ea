package message

import (
	"bytes"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
)

func withoutNUL(t *testing.T, msg string) (string, int64) {
	t.Helper()
	r, left, err := WithoutNUL(strings.NewReader(msg), int64(len(msg)))
	if err != nil {
		t.Fatal(err)
	}
	out, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	if n := int64(bytes.Count(out, []byte{0})); n != left {
		t.Errorf("%d NULs are left, told %d", n, left)
	}
	return string(out), left
}

func TestPartsWithNULBecomeBase64(t *testing.T) {
	const cte = "Content-Transfer-Encoding: "
	for name, tt := range map[string]struct {
		in, want string
		left     int64
	}{
		"no NUL":             {"A: b\n\nx\ny", "A: b\n\nx\ny", 0},
		"no encoding named":  {"A: b\r\n\r\nx\x00", "A: b\r\n" + cte + "base64\r\n\r\neAA=\r\n", 0},
		"binary":             {"A: b\n" + cte + "\n binary\nC: d\n\n\x00", "A: b\n" + cte + "base64\r\nC: d\n\nAA==\r\n", 0},
		"named twice":        {cte + "8bit\r\n" + cte + "binary\r\n\r\n\x00", cte + "base64\r\n\r\nAA==\r\n", 0},
		"no fields":          {"\r\n\x00", cte + "base64\r\n\r\nAA==\r\n", 0},
		"in the header":      {"A: \x00\r\n\r\nx", "A: \x00\r\n\r\nx", 1},
		"in both":            {"A: \x00\r\n\r\n\x00", "A: \x00\r\n" + cte + "base64\r\n\r\nAA==\r\n", 1},
		"said to be encoded": {cte + "base64\r\n\r\nAA\x00==", cte + "base64\r\n\r\nAA\x00==", 1},
		"unknown encoding":   {cte + "x-y\r\n\r\n\x00", cte + "x-y\r\n\r\n\x00", 1},
		"no boundary":        {"Content-Type: multipart/mixed\r\n\r\n\x00", "Content-Type: multipart/mixed\r\n\r\n\x00", 1},
		"one part of three, and between them": {
			"Content-Type: multipart/mixed; boundary=b\r\n" + cte + "binary\r\n\r\npre\x00\r\n" +
				"--b\r\n\r\ntext\r\n--b\r\n\r\n\x00\n\r\n--b\r\nX: y\r\n\r\n\r\n--b--\r\nepi",
			"Content-Type: multipart/mixed; boundary=b\r\n" + cte + "binary\r\n\r\npre\x00\r\n" +
				"--b\r\n\r\ntext\r\n--b\r\n" + cte + "base64\r\n\r\nAAo=\r\n\r\n--b\r\nX: y\r\n\r\n\r\n--b--\r\nepi", 1,
		},
		"in an embedded message": {
			"Content-Type: message/rfc822\r\n\r\nA: b\r\n\r\n\x00",
			"Content-Type: message/rfc822\r\n\r\nA: b\r\n" + cte + "base64\r\n\r\nAA==\r\n", 0,
		},
	} {
		t.Run(name, func(t *testing.T) {
			got, left := withoutNUL(t, tt.in)
			if got != tt.want || left != tt.left {
				t.Errorf("got  %q, %d\nwant %q, %d", got, left, tt.want, tt.left)
			}
		})
	}
}

func TestLargePartComesBackAsItWas(t *testing.T) {
	body := make([]byte, 300_001)
	rng := rand.New(rand.NewPCG(1, 2))
	for i := range body {
		body[i] = byte(rng.Uint32())
	}
	msg, left := withoutNUL(t, "Content-Type: multipart/mixed; boundary=b-b\r\n\r\n--b-b\r\nContent-Type: image/x\r\n\r\n"+string(body)+"\r\n--b-b--\r\n")
	for line := range strings.SplitSeq(msg, "\r\n") {
		if len(line) > 76 {
			t.Fatalf("line of %d octets", len(line))
		}
	}
	d := ParseBytes([]byte(msg))
	r, ok, err := d.Root.OpenBinary(strings.NewReader(msg), []int{1})
	if !ok || err != nil || left != 0 {
		t.Fatal(ok, err, left)
	}
	if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, body) {
		t.Errorf("%d octets, %v", len(got), err)
	}
}
