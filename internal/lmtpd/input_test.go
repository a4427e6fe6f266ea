package lmtpd

import (
	"bytes"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestClientOfOneOctetAMinuteIsCutOff(t *testing.T) {
	const begin = "LHLO x\r\nMAIL FROM:<>\r\nRCPT TO:<a@y>\r\n"
	for name, first := range map[string]string{"command": begin, "data": begin + "DATA\r\n", "chunk": begin + "BDAT 1000\r\n"} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				rec := newRecorder()
				peer, stop := pipeServer(t, testConfig(rec))
				defer stop()
				out := readAll(peer)
				begin := time.Now()
				_, err := io.WriteString(peer, first)
				for err == nil {
					time.Sleep(time.Minute) // virtual
					_, err = peer.Write([]byte("x"))
				}
				if got := <-out; !strings.HasSuffix(got, "421 4.4.2 mx.test timeout\r\n") {
					t.Errorf("was told %q", got)
				}
				<-rec.logout
				if took := time.Since(begin); took > 5*time.Minute {
					t.Errorf("held for %v", took)
				}
				if got := rec.seen(); slices.Contains(got, "abandon") {
					t.Errorf("got %q", got)
				}
			})
		})
	}
}

// endless sends x for ever.
type endless struct{}

func (endless) Read(p []byte) (int, error) { return copy(p, bytes.Repeat([]byte{'x'}, len(p))), nil }

func TestFloodsAreToldSoAndEnd(t *testing.T) {
	const begin = "LHLO x\r\nMAIL FROM:<>\r\nRCPT TO:<a@y>\r\n"
	for name, first := range map[string]string{"command": begin, "data": begin + "DATA\r\n", "chunk": begin + "BDAT 99999999999\r\n"} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { // over a pipe, so that the last words are not lost with unread octets
				rec := newRecorder()
				peer, stop := pipeServer(t, testConfig(rec))
				defer stop()
				go func() { _, _ = io.Copy(peer, io.MultiReader(strings.NewReader(first), endless{})) }()
				if got := <-readAll(peer); !strings.HasSuffix(got, "421 4.3.4 mx.test far beyond the limit\r\n") {
					t.Errorf("was told %q", got)
				}
				<-rec.logout
			})
		})
	}
}

func TestLinesOf100KBInDataAreKeptWhole(t *testing.T) {
	rec := newRecorder()
	var content []byte
	rec.onData = func(m *Message) { content, _ = io.ReadAll(m.Reader()) }
	cfg := testConfig(rec)
	cfg.MaxMessage = 1 << 20
	c := dial(t, serve(t, cfg))
	c.hello()
	want := strings.Repeat("x", 100_000) + "\r\n" + strings.Repeat("y", 100_000) + "\r\n"
	c.transaction(want + ".\r\n")
	c.expect("250 2.0.0 <a@y> stored")
	if string(content) != want {
		t.Fatalf("%d octets arrived, %d were sent", len(content), len(want))
	}
}
