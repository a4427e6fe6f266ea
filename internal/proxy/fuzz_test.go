package proxy

import (
	"bytes"
	"context"
	"io"
	"net"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/tandemail/tandemail/internal/session"
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
func (s *script) RemoteAddr() net.Addr             { return &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1)} }

var answerLine = regexp.MustCompile(`^(\+ [ -~]*|\* [ -~]+|[!-~]+ (OK|NO|BAD) [ -~]+)$`)

// FuzzClient: whatever a client sends, the front end's answers are well-formed
// lines, nothing panics or is logged as a fault, and nothing stays behind.
func FuzzClient(f *testing.F) {
	for _, s := range []string{
		"a LOGIN ann secret\r\nb NOOP\r\nc LOGOUT\r\n",
		"a LOGIN {3+}\r\nann {6+}\r\nsecret\r\nb IDLE\r\nDONE\r\n",
		"a AUTHENTICATE PLAIN AGFubgBzZWNyZXQ=\r\nb APPEND INBOX {3}\r\nabc\r\n",
		"a AUTHENTICATE LOGIN\r\nYW5u\r\nc2VjcmV0\r\n\r\n\x00{9999999999999999999+}\r\n",
		"a LOGIN ann secret\nb LIST {2+}\n\n\n {1}\n*\n",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		r := newRig(t, func(c *Config) { c.FailureDelay = time.Nanosecond })
		nc := &script{in: bytes.NewReader(in)}
		c := newClient(r.server, nc, Listener{Protocol: session.IMAP})
		c.Serve(context.Background())
		for l := range strings.SplitSeq(strings.TrimSuffix(nc.out.String(), "\r\n"), "\r\n") {
			if !answerLine.MatchString(l) {
				t.Fatalf("answer %q", l)
			}
		}
		if st := r.server.Stats(); st.LoggedIn != 0 || st.Idling != 0 || st.Byes["server fault"] != 0 || st.Byes["protocol violation"] != 0 {
			t.Fatalf("left behind: %+v", st)
		}
	})
}
