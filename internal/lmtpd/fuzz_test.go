package lmtpd

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/tandemail/tandemail/internal/line"
)

// script is a connection that sends prepared octets, then EOF.
type script struct {
	net.Conn
	in  io.Reader
	out bytes.Buffer
}

func (s *script) Read(p []byte) (int, error)       { return s.in.Read(p) }
func (s *script) Write(p []byte) (int, error)      { return s.out.Write(p) }
func (s *script) SetReadDeadline(time.Time) error  { return nil }
func (s *script) SetWriteDeadline(time.Time) error { return nil }
func (s *script) SetDeadline(time.Time) error      { return nil }
func (s *script) Close() error                     { return nil }
func (s *script) LocalAddr() net.Addr              { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)} }

func (s *script) RemoteAddr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)} }

var replyLine = regexp.MustCompile(`^[2345][0-9]{2}[ -][ -~]*$`)

// FuzzSession: whatever a client sends, replies are well-formed, nothing panics,
// each message handed over is settled exactly once, and nothing stays in the spool.
func FuzzSession(f *testing.F) {
	const begin = "LHLO x\r\nMAIL FROM:<a@x>\r\nRCPT TO:<a@y>\r\n"
	f.Add([]byte(begin+"DATA\r\nhi\r\n.\r\nQUIT\r\n"), false)
	f.Add([]byte(begin+"BDAT 3\r\na\n\x00BDAT 2 LAST\r\n.\r"), true)
	f.Add([]byte("XFORWARD NAME=+41\r\n"+begin+"RSET\nNOOP\nDATA\n"), true)
	f.Fuzz(func(t *testing.T, in []byte, trusted bool) {
		var log bytes.Buffer
		rec := newRecorder()
		cfg := testConfig(rec)
		cfg.Log = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelError}))
		cfg.MessageMemory, cfg.MaxMessage = 16, 64
		cfg.Trusted = func(netip.Addr) bool { return trusted }
		srv, err := New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		nc := &script{in: bytes.NewReader(in)}
		c := &conn{srv: srv, log: cfg.Log, lc: line.New(nc, line.Config{MaxLine: maxCommand, AutoFlush: true})}
		c.Serve(context.Background())
		if log.Len() > 0 {
			t.Fatalf("logged as error: %s", log.String())
		}
		for l := range strings.SplitSeq(strings.TrimSuffix(nc.out.String(), "\r\n"), "\r\n") {
			if !replyLine.MatchString(l) {
				t.Fatalf("reply %q", l)
			}
		}
		checkSettled(t, rec.seen())
		if left, err := cfg.SpoolFS.List("spool"); err != nil || len(left) > 0 || srv.spool.used.Load() != 0 {
			t.Fatalf("left in the spool: %q, %d octets, %v", left, srv.spool.used.Load(), err)
		}
	})
}

func checkSettled(t *testing.T, events []string) {
	t.Helper()
	open := 0
	for _, e := range events {
		switch {
		case strings.HasPrefix(e, "data"):
			open++
		case e == "confirm" || e == "abandon":
			open--
		}
		if open < 0 || open > 1 {
			t.Fatalf("a message is settled not exactly once: %q", events)
		}
	}
	if open != 0 || events[len(events)-1] != "logout" {
		t.Fatalf("unsettled at the end: %q", events)
	}
}
