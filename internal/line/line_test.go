package line

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"math/big"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// pieces is a net.Conn whose Read gives one prepared piece at a time, then EOF.
type pieces struct {
	net.Conn
	in     [][]byte
	writes []string
}

func (p *pieces) Read(b []byte) (int, error) {
	if len(p.in) == 0 {
		return 0, io.EOF
	}
	n := copy(b, p.in[0])
	if p.in[0] = p.in[0][n:]; len(p.in[0]) == 0 {
		p.in = p.in[1:]
	}
	return n, nil
}

func (p *pieces) Write(b []byte) (int, error) {
	p.writes = append(p.writes, string(b))
	return len(b), nil
}
func (p *pieces) SetReadDeadline(time.Time) error  { return nil }
func (p *pieces) SetWriteDeadline(time.Time) error { return nil }
func (p *pieces) SetDeadline(time.Time) error      { return nil }
func (p *pieces) Close() error                     { return nil }

func cut(in string, size int) *pieces {
	p := &pieces{}
	for b := []byte(in); len(b) > 0; {
		n := min(size, len(b))
		p.in = append(p.in, b[:n:n])
		b = b[n:]
	}
	return p
}

func TestLineEndsAtLFAndOnlyThere(t *testing.T) {
	in := "a\r\nb\n\r\n\nc\rd\r\n\r\r\n\x00\x80\n"
	want := []string{"a", "b", "", "", "c\rd", "\r", "\x00\x80"}
	for size := 1; size <= len(in); size++ {
		c := New(cut(in, size), Config{})
		for _, w := range want {
			got, err := c.ReadLine()
			if err != nil || string(got) != w {
				t.Fatalf("pieces of %d: got %q, %v; want %q", size, got, err, w)
			}
		}
		if _, err := c.ReadLine(); err != io.EOF {
			t.Fatalf("after the last line: %v", err)
		}
	}
}

func TestTooLongLineIsConsumedAndTheNextOneRead(t *testing.T) {
	const limit = 100
	for _, n := range []int{limit - 2, limit - 1, limit, 1000, 100_000} {
		for _, size := range []int{1, 7, 512, 1 << 20} {
			c := New(cut(strings.Repeat("x", n)+"\r\nnext\r\n", size), Config{MaxLine: limit, ReadBuffer: 512})
			got, err := c.ReadLine()
			if fits := n+2 <= limit; fits != (err == nil) || !fits && !errors.Is(err, ErrTooLong) {
				t.Fatalf("%d octets in pieces of %d: %d octets, %v", n, size, len(got), err)
			}
			if got, err := c.ReadLine(); err != nil || string(got) != "next" {
				t.Fatalf("line after %d octets: %q, %v", n, got, err)
			}
			if len(c.buf) > 512 {
				t.Fatalf("buffer grew to %d octets", len(c.buf))
			}
		}
	}
}

func TestEndlessLineIsAFlood(t *testing.T) {
	c := New(cut(strings.Repeat("x", maxSkip+100_000), 1<<16), Config{})
	if _, err := c.ReadLine(); !errors.Is(err, ErrFlood) {
		t.Fatalf("got %v", err)
	}
}

func TestEOFInsideALineIsUnexpected(t *testing.T) {
	c := New(cut("NOOP\r\nQUI", 4), Config{})
	if _, err := c.ReadLine(); err != nil {
		t.Fatal(err)
	}
	if _, err := c.ReadLine(); err != io.ErrUnexpectedEOF {
		t.Fatalf("got %v", err)
	}
}

func TestLiteralIsExactAndRestIsSkipped(t *testing.T) {
	body := strings.Repeat("0123456789\n", 2000)
	for _, size := range []int{1, 3, 700, 1 << 20} {
		c := New(cut("go\r\n"+body+"done\r\n", size), Config{})
		mustLine(t, c, "go")
		b, err := io.ReadAll(c.Literal(int64(len(body))))
		if err != nil || string(b) != body {
			t.Fatalf("literal of %d octets: %v", len(b), err)
		}
		mustLine(t, c, "done")

		c = New(cut("go\r\n"+body+"done\r\n", size), Config{})
		mustLine(t, c, "go")
		if _, err := io.ReadFull(c.Literal(int64(len(body))), make([]byte, 5)); err != nil {
			t.Fatal(err)
		}
		mustLine(t, c, "done")
	}
	c := New(cut("go\r\nabc", 100), Config{})
	mustLine(t, c, "go")
	if _, err := io.ReadAll(c.Literal(4)); err != io.ErrUnexpectedEOF {
		t.Fatalf("cut literal: %v", err)
	}
}

func mustLine(t *testing.T, c *Conn, want string) {
	t.Helper()
	if got, err := c.ReadLine(); err != nil || string(got) != want {
		t.Fatalf("got line %q, %v; want %q", got, err, want)
	}
}

func TestRepliesToPipelinedLinesLeaveInOneWrite(t *testing.T) {
	p := cut("1\r\n2\r\n3\r\n4", 100)
	c := New(p, Config{AutoFlush: true})
	for range 3 {
		b, err := c.ReadLine()
		if err != nil {
			t.Fatal(err)
		}
		_, _ = c.WriteString("re " + string(b) + "\r\n")
	}
	if len(p.writes) != 0 {
		t.Fatalf("wrote before having to wait: %q", p.writes)
	}
	_, _ = c.ReadLine()
	if len(p.writes) != 1 || p.writes[0] != "re 1\r\nre 2\r\nre 3\r\n" {
		t.Fatalf("writes %q", p.writes)
	}
}

func TestWriteLargerThanTheBufferArrivesInOrder(t *testing.T) {
	p := &pieces{}
	c := New(p, Config{WriteBuffer: 10})
	_, _ = c.WriteString("abc")
	_, _ = c.Write([]byte(strings.Repeat("0123456789", 5)))
	_, _ = c.WriteString("end")
	if err := c.Flush(); err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(p.writes, ""); got != "abc"+strings.Repeat("0123456789", 5)+"end" {
		t.Fatalf("got %q", got)
	}
	for _, w := range p.writes {
		if len(w) > 10 {
			t.Fatalf("one write of %d octets", len(w))
		}
	}
}

// drip sends one octet each interval until the pipe breaks or stop is closed.
func drip(nc net.Conn, interval time.Duration, stop <-chan struct{}) {
	for {
		select {
		case <-time.After(interval):
		case <-stop:
			return
		}
		if _, err := nc.Write([]byte{'x'}); err != nil {
			return
		}
	}
}

func TestSlowPeerIsCutOff(t *testing.T) {
	cfg := Config{IdleTimeout: 5 * time.Minute, LineTimeout: time.Minute, MinRate: 100, Grace: 3 * time.Minute}
	tests := []struct {
		name     string
		interval time.Duration
		read     func(*Conn) error
		want     error
		after    time.Duration
	}{
		{"nothing at all", time.Hour, func(c *Conn) error { _, err := c.ReadLine(); return err }, ErrIdle, 5 * time.Minute},
		{"line of an octet each ten seconds", 10 * time.Second, func(c *Conn) error { _, err := c.ReadLine(); return err }, ErrSlow, 70 * time.Second},
		{"literal of an octet a minute", time.Minute, func(c *Conn) error { _, err := io.Copy(io.Discard, c.Literal(1000)); return err }, ErrSlow, 3*time.Minute + 20*time.Millisecond},
		{"data of an octet a minute", time.Minute, func(c *Conn) error { _, err := io.Copy(io.Discard, c.Dot(1000)); return err }, ErrSlow, 3*time.Minute + 20*time.Millisecond},
		{"literal at twice the rate", 5 * time.Millisecond, func(c *Conn) error { _, err := io.Copy(io.Discard, c.Literal(100_000)); return err }, nil, 500 * time.Second},
		{"literal at half the rate", 20 * time.Millisecond, func(c *Conn) error { _, err := io.Copy(io.Discard, c.Literal(100_000)); return err }, ErrSlow, 360 * time.Second},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				peer, mine := net.Pipe()
				stop := make(chan struct{})
				defer close(stop)
				go drip(peer, tc.interval, stop)
				begin := time.Now()
				err := tc.read(New(mine, cfg))
				if !errors.Is(err, tc.want) {
					t.Errorf("got %v, want %v", err, tc.want)
				}
				if took := time.Since(begin); took < tc.after-time.Second || took > tc.after+time.Second {
					t.Errorf("took %v, want about %v", took, tc.after)
				}
				_ = mine.Close()
				_ = peer.Close()
			})
		})
	}
}

func TestPeerThatDoesNotReadIsCutOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		peer, mine := net.Pipe()
		defer peer.Close()
		c := New(mine, Config{WriteTimeout: time.Minute})
		defer c.Close()
		_, _ = c.WriteString("hello")
		begin := time.Now()
		if err := c.Flush(); !errors.Is(err, ErrSlow) || time.Since(begin) != time.Minute {
			t.Fatalf("got %v after %v", err, time.Since(begin))
		}
		if _, err := c.WriteString("more"); !errors.Is(err, ErrSlow) {
			t.Fatalf("a write error is not final: %v", err)
		}
	})
}

func TestInterruptEndsWaitingButNoLineUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		peer, mine := net.Pipe()
		defer peer.Close()
		c := New(mine, Config{})
		defer c.Close()
		go func() {
			_, _ = peer.Write([]byte("NO"))
			synctest.Wait()
			c.Interrupt()
			synctest.Wait()
			_, _ = peer.Write([]byte("OP\r\n"))
		}()
		mustLine(t, c, "NOOP")
		if _, err := c.ReadLine(); !errors.Is(err, ErrInterrupted) {
			t.Fatalf("got %v", err)
		}

		peer2, mine2 := net.Pipe()
		defer peer2.Close()
		c2 := New(mine2, Config{})
		defer c2.Close()
		go func() {
			synctest.Wait()
			c2.Interrupt()
		}()
		if _, err := c2.ReadLine(); !errors.Is(err, ErrInterrupted) {
			t.Fatalf("got %v", err)
		}
	})
}

func TestStartTLSDiscardsInjectedPlaintext(t *testing.T) {
	cert := selfSigned(t)
	peer, mine := net.Pipe()
	defer peer.Close()
	c := New(mine, Config{})
	defer c.Close()
	clientErr := make(chan error, 1)
	go func() {
		_, _ = peer.Write([]byte("STARTTLS\r\nMAIL FROM:<evil@x>\r\n"))
		tc := tls.Client(peer, &tls.Config{InsecureSkipVerify: true})
		_, err := tc.Write([]byte("NOOP\r\n"))
		clientErr <- err
	}()
	mustLine(t, c, "STARTTLS")
	n, err := c.StartTLS(context.Background(), &tls.Config{Certificates: []tls.Certificate{cert}})
	if err != nil || n != len("MAIL FROM:<evil@x>\r\n") {
		t.Fatalf("discarded %d, %v", n, err)
	}
	mustLine(t, c, "NOOP")
	if c.TLS() == nil {
		t.Fatal("no TLS state")
	}
	if err := <-clientErr; err != nil {
		t.Fatal(err)
	}
}

func selfSigned(t *testing.T) tls.Certificate {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1)}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

func TestReceivedCountsEveryOctet(t *testing.T) {
	c := New(cut("abc\r\n0123456789", 4), Config{})
	mustLine(t, c, "abc")
	if _, err := io.Copy(io.Discard, io.LimitReader(c.Literal(10), 10)); err != nil {
		t.Fatal(err)
	}
	if c.Received() != 15 || c.Buffered() != 0 {
		t.Fatalf("received %d, buffered %d", c.Received(), c.Buffered())
	}
}

func BenchmarkDotAndCanon(b *testing.B) {
	msg := strings.Repeat(strings.Repeat("a", 70)+"\r\n", 57) // 4 KiB
	wire := []byte(msg + ".\r\n")
	p := &pieces{}
	c := New(p, Config{ReadBuffer: 32 << 10})
	var out []byte
	b.SetBytes(int64(len(msg)))
	for b.Loop() {
		p.in = append(p.in[:0], wire)
		var canon Canon
		out = out[:0]
		d := c.Dot(1 << 20)
		for {
			chunk, err := d.Next()
			if err != nil {
				break
			}
			out = canon.Append(out, chunk)
		}
	}
	if !bytes.Equal(out, []byte(msg)) {
		b.Fatal("wrong octets")
	}
}
