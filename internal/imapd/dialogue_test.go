package imapd

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tandemail/tandemail/internal/imapwire"
	"github.com/tandemail/tandemail/internal/imapwire/imaptest"
	"github.com/tandemail/tandemail/internal/mail"
	"github.com/tandemail/tandemail/internal/mail/mailtest"
	"github.com/tandemail/tandemail/internal/session"
	"github.com/tandemail/tandemail/internal/state"
)

var testTime = time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC)

func testNow() time.Time { return testTime }

// everybody are the users that sessions know of. The account of info is shared.
var everybody = map[string]mail.AccountID{"ann": {1}, "bob": {2}, "info": {3}}

func newAccount(t testing.TB) *mailtest.Account {
	t.Helper()
	return newUsers(t).Server.Account(everybody["ann"])
}

// newUsers makes a store in which everybody has an account.
func newUsers(t testing.TB) *mailtest.Users {
	t.Helper()
	s := mailtest.NewServer(mailtest.Config{Now: testNow})
	for _, id := range everybody {
		if _, err := s.CreateAccount(id, state.NewAccount{}); err != nil {
			t.Fatal(err)
		}
	}
	return &mailtest.Users{Server: s, Names: everybody, Shared: map[mail.AccountID]bool{everybody["info"]: true}}
}

// host is the smallest front end: one connection, no TLS, no log-in.
type host struct {
	t       testing.TB
	conn    net.Conn
	s       *Session
	token   session.Token
	view    clientView
	number  uint64
	running sync.WaitGroup
}

// dial connects a new session to a, with or without a greeting.
func dial(t *testing.T, a mail.Account, id byte, greet bool) net.Conn {
	t.Helper()
	return dialBy(t, a, id, greet, "")
}

// dialAs is dial without a greeting for somebody who has come in for the user.
func dialAs(t *testing.T, a mail.Account, id byte, by string) net.Conn {
	t.Helper()
	return dialBy(t, a, id, false, by)
}

func dialBy(t *testing.T, a mail.Account, id byte, greet bool, by string) net.Conn {
	t.Helper()
	return connect(t, Config{Account: a, Session: mail.SessionID{id}, User: "ann", By: by}, greet)
}

// connect connects a client to a new session.
func connect(t *testing.T, cfg Config, greet bool) net.Conn {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	client, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	server, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	h := &host{t: t, conn: server}
	if greet {
		fmt.Fprint(server, "* PREAUTH [CAPABILITY "+strings.Join(Capabilities(), " ")+"] ready\r\n")
	}
	cfg.Sink, cfg.Now = h, testNow
	h.s = New(cfg)
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer server.Close()
		h.serve(t.Context())
	}()
	t.Cleanup(func() { client.Close(); <-done })
	return client
}

// serve reads commands until the client has gone. "+" lines for literals are sent,
// and a line while a command runs is taken for DONE. Between commands the session watches
// if it has something to tell then.
func (h *host) serve(ctx context.Context) {
	c := imapwire.NewCollector(imapwire.Limits{}, nil)
	r := bufio.NewReaderSize(h.conn, 1<<20)
	idle := make(chan error, 1)
	idling, watching := false, false
	for {
		if len(h.token.Notify) > 0 && !idling && r.Buffered() == 0 {
			h.number++
			n := h.number
			idling, watching = true, true
			h.running.Go(func() { idle <- h.farewell(h.s.Watch(ctx, n)) })
		}
		p, err := r.ReadSlice('\n')
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			h.s.EndIdle(h.number)
			h.running.Wait()
			return
		}
		if idling {
			h.s.EndIdle(h.number)
			if <-idle != nil {
				return
			}
			idling = false
			if !watching {
				continue
			}
			watching = false
		}
		for len(p) > 0 {
			n, step, err := c.Feed(p)
			p = p[n:]
			switch {
			case step == imapwire.NeedContinue:
				fmt.Fprint(h.conn, "+ go on\r\n")
			case step == imapwire.Refused:
				e := err.(*imapwire.SyntaxError)
				if e.No {
					fmt.Fprintf(h.conn, "%s NO [%s] %v\r\n", e.Tag, e.Code, e)
				} else {
					fmt.Fprintf(h.conn, "%s BAD %v\r\n", e.Tag, e)
				}
			case err != nil:
				return
			case step == imapwire.Whole:
				raw := c.Take()
				h.number++
				cmd := Command{Number: h.number, Raw: raw}
				if idling = raw.Name() == "IDLE"; idling {
					h.running.Go(func() { idle <- h.execute(ctx, cmd) })
				} else if h.execute(ctx, cmd) != nil {
					return
				}
			}
		}
	}
}

func (h *host) execute(ctx context.Context, c Command) error {
	return h.farewell(h.s.Execute(ctx, c))
}

// farewell tells the client why the session ends, if it does.
func (h *host) farewell(err error) error {
	if err != nil {
		fmt.Fprintf(h.conn, "* BYE %v\r\n", ReasonOf(err))
	}
	return err
}

// Unit implements session.Sink.
func (h *host) Unit(_ context.Context, u session.Unit) error {
	h.forward(u.Octets, u.Delta)
	_, err := h.conn.Write(u.Octets)
	return err
}

// Stream implements session.Sink.
func (h *host) Stream(_ context.Context, st session.Stream, r io.Reader) error {
	_, err := io.CopyN(h.conn, r, st.Length)
	return err
}

// Done implements session.Sink.
func (h *host) Done(_ context.Context, d session.Done) error {
	h.forward(nil, d.Delta)
	_, err := h.conn.Write(d.Line)
	return err
}

// forward holds the invariant of package session: what the token says is what
// the client has been told.
func (h *host) forward(octets []byte, d session.Delta) {
	b := d.Append(nil)
	d, err := session.DecodeDelta(b)
	if err == nil {
		err = h.token.Apply(d)
	}
	if err != nil {
		h.t.Errorf("delta %x: %v", b, err)
		return
	}
	if d.Selected != nil {
		h.view = clientView{}
	}
	h.view.read(octets)
	if sel := h.token.Selected; sel != nil && int(sel.Count) != h.view.messages {
		h.t.Errorf("the client knows of %d messages, the token of %d, after %q", h.view.messages, sel.Count, octets)
	}
}

// clientView is what a client knows by what it was told.
type clientView struct{ messages int }

var (
	existsLine  = regexp.MustCompile(`^\* (\d+) EXISTS$`)
	expungeLine = regexp.MustCompile(`^\* (\d+) EXPUNGE$`)

	vanishedLine = regexp.MustCompile(`^\* VANISHED ([0-9:,]+)$`)
)

// parseUIDs reads a set as servers write it.
func parseUIDs(text string) mail.UIDSet {
	var parts []mail.UIDRange
	for part := range strings.SplitSeq(text, ",") {
		lo, hi, pair := strings.Cut(part, ":")
		if !pair {
			hi = lo
		}
		first, _ := strconv.Atoi(lo)
		last, _ := strconv.Atoi(hi)
		parts = append(parts, mail.UIDRange{Lo: mail.UID(first), Hi: mail.UID(last)})
	}
	return mail.NewUIDSet(parts...)
}

func (v *clientView) read(octets []byte) {
	for line := range bytes.SplitSeq(octets, []byte("\r\n")) {
		if m := existsLine.FindSubmatch(line); m != nil {
			v.messages, _ = strconv.Atoi(string(m[1]))
		}
		if expungeLine.Match(line) {
			v.messages--
		}
		if m := vanishedLine.FindSubmatch(line); m != nil {
			v.messages -= parseUIDs(string(m[1])).Len()
		}
	}
}

func TestDialogues(t *testing.T) {
	play(t, "testdata/*.txt", func(a mail.Account, _ string) mail.Account { return a })
}

// TestDialoguesOfTwoUsers has the owner as C and another user, who is in the same account,
// as C2.
func TestDialoguesOfTwoUsers(t *testing.T) {
	play(t, "testdata/shared/*.txt", func(a mail.Account, client string) mail.Account {
		if client == "2" {
			return a.As(everybody["bob"])
		}
		return a
	})
}

func play(t *testing.T, pattern string, of func(a mail.Account, client string) mail.Account) {
	files, err := filepath.Glob(pattern)
	if err != nil || len(files) == 0 {
		t.Fatal("no dialogues", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			users := newUsers(t)
			imaptest.Run(t, file, func(name string) net.Conn {
				n, _ := strconv.Atoi("0" + name)
				user := imaptest.UserOf(name)
				return connect(t, Config{
					Account: of(users.Server.Account(everybody[user]), name), Session: mail.SessionID{byte(n + 1)}, User: user,
					Others: users.For(everybody[user]),
				}, false)
			})
		})
	}
}
