package lmtpd

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/mail"
)

// recorder is a backend that writes down what it is told and decides by the
// recipient's local part.
type recorder struct {
	mu     sync.Mutex
	events []string
	logout chan struct{} // one value a session that ended
	onData func(*Message)
}

func newRecorder() *recorder { return &recorder{logout: make(chan struct{}, 100)} }

func (r *recorder) NewSession(context.Context, ConnInfo) (Session, error) {
	return &recorded{r: r}, nil
}

func (r *recorder) note(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, fmt.Sprintf(format, args...))
}

func (r *recorder) seen() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.events)
}

type recorded struct{ r *recorder }

func (s *recorded) Mail(_ context.Context, from string, p MailParams) error {
	fwd := ""
	if p.Forward != (XForward{}) {
		fwd = fmt.Sprintf(" from %+v", p.Forward)
	}
	s.r.note("mail %q size=%d body=%q utf8=%v%s", from, p.Size, p.Body, p.UTF8, fwd)
	return nil
}

func (s *recorded) Rcpt(_ context.Context, to string) error {
	s.r.note("rcpt %q", to)
	if to == "nouser@y" {
		return fmt.Errorf("look up %s: %w", to, mail.ErrNoAccount)
	}
	return nil
}

var recordedErrors = map[string]error{
	"full@y":    fmt.Errorf("deliver: %w", mail.ErrOverQuota),
	"moving@y":  fmt.Errorf("deliver: %w", cluster.ErrNotMaster),
	"bug@y":     errors.New("index out of range in the parser of things"),
	"unclear@y": fmt.Errorf("deliver: %w", cluster.ErrUnknown),
	"custom@y":  fmt.Errorf("sieve: %w", &Reply{552, "5.2.2", "over quota\nevil"}),
}

func (s *recorded) Data(_ context.Context, m *Message, answer func(int, Result)) {
	if s.r.onData != nil {
		s.r.onData(m)
	}
	octets, err := io.ReadAll(m.Reader())
	if err != nil || int64(len(octets)) != m.Size || m.Bytes() != nil && !bytes.Equal(octets, m.Bytes()) {
		s.r.note("data cannot be read: %d of %d, %v", len(octets), m.Size, err)
	}
	s.r.note("data %q nuls=%d barelfs=%d", octets, m.NULs, m.BareLFs)
	for i := len(m.Rcpts) - 1; i >= 0; i-- { // backwards: the server puts them in order
		if m.Rcpts[i] == "silent@y" {
			continue
		}
		answer(i, Result{Err: recordedErrors[m.Rcpts[i]]})
		answer(i, Result{Err: errors.New("a second answer does not count")})
	}
}

func (s *recorded) Confirm() { s.r.note("confirm") }
func (s *recorded) Abandon() { s.r.note("abandon") }
func (s *recorded) Reset()   { s.r.note("reset") }
func (s *recorded) Logout() {
	s.r.note("logout")
	s.r.logout <- struct{}{}
}

func testConfig(b Backend) Config {
	return Config{
		Hostname: "mx.test", Backend: b, Log: slog.New(slog.DiscardHandler),
		MaxMessage: 10_000, MaxRcpts: 8, SpoolDir: "spool", SpoolFS: vfs.NewMem(),
	}
}

// serve runs a server on a loopback port for the time of the test.
func serve(t testing.TB, cfg Config) (addr string) {
	t.Helper()
	srv, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return serveBy(t, srv)
}

// serveBy serves until the test ends.
func serveBy(t testing.TB, srv *Server) (addr string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- srv.Serve(ctx, ln) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("serve: %v", err)
		}
	})
	return ln.Addr().String()
}

// client is the test's end of a connection.
type client struct {
	t  testing.TB
	nc net.Conn
	br *bufio.Reader
}

func dial(t testing.TB, addr string) *client {
	t.Helper()
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nc.Close() })
	_ = nc.SetDeadline(time.Now().Add(20 * time.Second))
	return &client{t: t, nc: nc, br: bufio.NewReader(nc)}
}

func (c *client) send(s string) {
	c.t.Helper()
	if _, err := io.WriteString(c.nc, s); err != nil {
		c.t.Fatalf("send %.60q: %v", s, err)
	}
}

func (c *client) line() string {
	c.t.Helper()
	s, err := c.br.ReadString('\n')
	if err != nil {
		c.t.Fatalf("read a reply: %q, %v", s, err)
	}
	return strings.TrimSuffix(s, "\r\n")
}

func (c *client) expect(lines ...string) {
	c.t.Helper()
	for _, want := range lines {
		if got := c.line(); got != want {
			c.t.Fatalf("got  %q\nwant %q", got, want)
		}
	}
}

// hello reads the greeting and says LHLO.
func (c *client) hello() {
	c.t.Helper()
	c.expect("220 mx.test LMTP ready")
	c.send("LHLO client\r\n")
	for strings.HasPrefix(c.line(), "250-") {
	}
}

func TestDialogues(t *testing.T) {
	files, err := filepath.Glob("testdata/dialogue/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no dialogues: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			runDialogue(t, string(text))
		})
	}
}

// runDialogue plays a file. C: a line of the client, C= a quoted string, C* a
// line of so many times an octet; S: a line of the server, S... lines up to the
// next expected one, S* the end; B: what the backend saw in all. Lines of the
// client that follow each other go out in one write.
func runDialogue(t *testing.T, text string) {
	rec := newRecorder()
	cfg := testConfig(rec)
	if strings.HasPrefix(text, "# trusted") {
		cfg.Trusted = func(netip.Addr) bool { return true }
	}
	c := dial(t, serve(t, cfg))
	var out strings.Builder
	var want []string
	skip := false
	for n, l := range strings.Split(strings.TrimSuffix(text, "\n"), "\n") {
		kind, rest, _ := strings.Cut(l, " ")
		if kind != "C:" && kind != "C=" && kind != "C*" && out.Len() > 0 {
			c.send(out.String())
			out.Reset()
		}
		switch kind {
		case "#":
		case "C:":
			out.WriteString(rest + "\r\n")
		case "C=":
			s, err := strconv.Unquote(rest)
			if err != nil {
				t.Fatalf("line %d: %v", n+1, err)
			}
			out.WriteString(s)
		case "C*":
			var times int
			var octet string
			if _, err := fmt.Sscan(rest, &times, &octet); err != nil {
				t.Fatalf("line %d: %v", n+1, err)
			}
			out.WriteString(strings.Repeat(octet, times) + "\r\n")
		case "S...":
			skip = true
		case "S:":
			got := c.line()
			for skip && got != rest {
				got = c.line()
			}
			if skip = false; got != rest {
				t.Fatalf("line %d:\ngot  %q\nwant %q", n+1, got, rest)
			}
		case "S*":
			if rest, err := io.ReadAll(c.br); err != nil || len(rest) > 0 {
				t.Fatalf("line %d: still %q, %v", n+1, rest, err)
			}
		case "B:":
			want = append(want, rest)
		default:
			t.Fatalf("line %d: cannot read %q", n+1, l)
		}
	}
	_ = c.nc.Close()
	<-rec.logout
	if got := rec.seen(); !slices.Equal(got, want) {
		t.Fatalf("backend saw\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestReceivedDigestIsOverTheOctetsAsTheyCame(t *testing.T) {
	rec := newRecorder()
	var got [sha256.Size]byte
	rec.onData = func(m *Message) { got = m.Received }
	c := dial(t, serve(t, testConfig(rec)))
	c.hello()
	c.send("MAIL FROM:<>\r\nRCPT TO:<a@y>\r\nDATA\r\n")
	c.expect("250 2.1.0 sender ok", "250 2.1.5 recipient ok", "354 go ahead, end with a dot")
	c.send("a\n\x00\r\n..b\r\n.\r\n")
	c.expect("250 2.0.0 <a@y> stored")
	if want := sha256.Sum256([]byte("a\n\x00\r\n.b\r\n")); got != want {
		t.Fatalf("got %x, want %x", got, want)
	}
}
