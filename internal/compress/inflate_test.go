package compress

import (
	"bytes"
	"compress/flate"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os/exec"
	"testing"
	"testing/iotest"
	"time"
)

// samples are octets of each kind.
func samples() map[string][]byte {
	rng := rand.New(rand.NewPCG(1, 2))
	random := make([]byte, 200_000)
	for i := range random {
		random[i] = byte(rng.Uint32())
	}
	return map[string][]byte{
		"nothing": nil, "one": {'x'}, "text": bytes.Repeat([]byte("a01 UID FETCH 1:* (FLAGS)\r\n"), 5_000),
		"random": random, "zeros": make([]byte, 100_000),
		"mixed": append(bytes.Repeat(random[:40_000], 2), make([]byte, 1000)...),
	}
}

func TestInflaterReadsWhatTheLibraryWrites(t *testing.T) {
	for name, plain := range samples() {
		for level := flate.HuffmanOnly; level <= flate.BestCompression; level++ {
			var b bytes.Buffer
			w, err := flate.NewWriter(&b, level)
			if err != nil {
				t.Fatal(err)
			}
			for i := 0; i < len(plain); i += 33_333 {
				if _, err := w.Write(plain[i:min(i+33_333, len(plain))]); err != nil {
					t.Fatal(err)
				}
				if err := w.Flush(); err != nil {
					t.Fatal(err)
				}
			}
			if err := w.Close(); err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(NewInflater(iotest.HalfReader(&b)))
			if err != nil || !bytes.Equal(got, plain) {
				t.Errorf("%s, level %d: %d octets of %d, %v", name, level, len(got), len(plain), err)
			}
		}
	}
}

// partly is a program that compresses lines and flushes each with Z_PARTIAL_FLUSH.
const partly = `
import sys, zlib
c = zlib.compressobj(6, zlib.DEFLATED, -15)
for line in sys.stdin.buffer:
    sys.stdout.buffer.write(c.compress(line) + c.flush(zlib.Z_PARTIAL_FLUSH))
    sys.stdout.buffer.flush()
`

// TestInflaterDoesNotWaitAtAPartialFlush sends each line only when the one before has
// come through.
func TestInflaterDoesNotWaitAtAPartialFlush(t *testing.T) {
	if _, err := exec.LookPath("python3"); err != nil {
		t.Skip("python3, whose zlib knows Z_PARTIAL_FLUSH, is not installed")
	}
	cmd := exec.CommandContext(t.Context(), "python3", "-c", partly)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	late := time.AfterFunc(time.Minute, func() { _ = cmd.Process.Kill() })
	defer late.Stop()
	f := NewInflater(out)
	for i := range 200 {
		line := append(bytes.Repeat([]byte{'a' + byte(i%26)}, i), "\r\n"...)
		if _, err := in.Write(line); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, len(line))
		if _, err := io.ReadFull(f, got); err != nil || !bytes.Equal(got, line) {
			t.Fatalf("line %d: %q, %v", i, got, err)
		}
	}
	if err := errors.Join(in.Close(), cmd.Wait()); err != nil {
		t.Error(err)
	}
}

// TestPartialFlushOfOneWord is what zlib makes of "a NOOP" and CR LF, without a
// program that is not installed.
func TestPartialFlushOfOneWord(t *testing.T) {
	wire := []byte{0x4a, 0x54, 0xf0, 0xf3, 0xf7, 0x0f, 0xe0, 0xe5, 0x02, 0x08}
	ours, theirs := net.Pipe()
	defer ours.Close()
	defer theirs.Close()
	go func() { _, _ = theirs.Write(wire) }()
	_ = ours.SetReadDeadline(time.Now().Add(10 * time.Second))
	got := make([]byte, 8)
	if _, err := io.ReadFull(NewInflater(ours), got); err != nil || string(got) != "a NOOP\r\n" {
		t.Errorf("got %q, %v", got, err)
	}
}

// FuzzInflater: garbage gives an error and never more than it may; where the library
// reads it to its end, ours reads the same.
func FuzzInflater(f *testing.F) {
	for _, plain := range samples() {
		var b bytes.Buffer
		w, _ := flate.NewWriter(&b, 5)
		_, _ = w.Write(plain[:min(len(plain), 3000)])
		_ = w.Close()
		f.Add(b.Bytes())
	}
	f.Fuzz(func(t *testing.T, wire []byte) {
		const most = 1 << 20
		got, err := io.ReadAll(io.LimitReader(NewInflater(bytes.NewReader(wire)), most))
		want, theirs := io.ReadAll(io.LimitReader(flate.NewReader(bytes.NewReader(wire)), most))
		if theirs == nil && (err != nil || !bytes.Equal(got, want)) {
			t.Fatalf("got %d octets and %v, the library %d", len(got), err, len(want))
		}
		if theirs != nil && !bytes.HasPrefix(got, want) {
			t.Fatalf("%d octets that do not begin with the library's %d", len(got), len(want))
		}
	})
}

func TestConnCompressesBothWays(t *testing.T) {
	a, b := net.Pipe()
	first := []byte("early")
	var early bytes.Buffer
	w, _ := flate.NewWriter(&early, 5)
	_, _ = w.Write(first)
	_ = w.Flush()
	x, y := NewConn(a, early.Bytes()), NewConn(b, nil)
	defer a.Close()
	defer b.Close()
	got := make([]byte, len(first))
	if _, err := io.ReadFull(x, got); err != nil || !bytes.Equal(got, first) {
		t.Fatalf("got %q, %v", got, err)
	}
	for name, plain := range samples() {
		sent := make(chan error, 1)
		go func() {
			var err error
			for i := 0; i < len(plain) && err == nil; i += 8192 {
				_, err = x.Write(plain[i:min(i+8192, len(plain))])
			}
			sent <- err
		}()
		got := make([]byte, len(plain))
		if _, err := io.ReadFull(y, got); err != nil || !bytes.Equal(got, plain) {
			t.Fatalf("%s: %v", name, err)
		}
		if err := <-sent; err != nil {
			t.Fatal(err)
		}
	}
}

func BenchmarkInflate(b *testing.B) {
	plain := samples()["text"]
	var wire bytes.Buffer
	w, _ := flate.NewWriter(&wire, 5)
	_, _ = w.Write(plain)
	_ = w.Close()
	b.SetBytes(int64(len(plain)))
	for b.Loop() {
		if _, err := io.Copy(io.Discard, NewInflater(bytes.NewReader(wire.Bytes()))); err != nil {
			b.Fatal(err)
		}
	}
}
