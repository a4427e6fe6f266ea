package pop3d

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"regexp"
	"strings"
	"testing"

	"github.com/tandemail/tandemail/internal/heap"
	"github.com/tandemail/tandemail/internal/mail"
	"github.com/tandemail/tandemail/internal/mail/mailtest"
	"github.com/tandemail/tandemail/internal/session"
	"github.com/tandemail/tandemail/internal/state"
)

// client is a sink that keeps what it was told and the token.
type client struct {
	token session.Token
	said  []byte // answer to the command that runs
	done  int
}

func (c *client) apply(d session.Delta) error {
	d, err := session.DecodeDelta(d.Append(nil))
	if err != nil {
		return err
	}
	return c.token.Apply(d)
}

func (c *client) Unit(_ context.Context, u session.Unit) error {
	c.said = append(c.said, u.Octets...)
	return c.apply(u.Delta)
}

func (c *client) Stream(_ context.Context, s session.Stream, r io.Reader) error {
	b, err := io.ReadAll(r)
	if err == nil && int64(len(b)) != s.Length-s.Offset {
		err = fmt.Errorf("stream of %d octets, not %d", len(b), s.Length-s.Offset)
	}
	c.said = append(c.said, b...)
	return err
}

func (c *client) Done(_ context.Context, d session.Done) error {
	c.said = append(c.said, d.Line...)
	c.done++
	c.token.Complete(d.Command)
	return c.apply(d.Delta)
}

// maildropOf makes an account whose INBOX has messages.
func maildropOf(t testing.TB, messages ...[]byte) *mailtest.Account {
	t.Helper()
	a, err := mailtest.NewServer(mailtest.Config{}).CreateAccount(mail.AccountID{1}, state.NewAccount{})
	if err != nil {
		t.Fatal(err)
	}
	for i, m := range messages {
		b, err := a.Stage(t.Context(), bytes.NewReader(m), mail.MaxMessageSize)
		if err != nil {
			t.Fatal(err)
		}
		_, err = a.Do(t.Context(), mail.Request{
			ID: mail.OpID{Session: mail.SessionID{0xff}, Number: uint64(i + 1)},
			Op: mail.Append{Mailbox: inboxOf(t, a).ID, Messages: []mail.NewMessage{{Body: b}}},
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return a
}

func inboxOf(t testing.TB, a mail.Account) mail.MailboxInfo {
	t.Helper()
	return mailboxOf(t, a, mail.Inbox)
}

func mailboxOf(t testing.TB, a mail.Account, name string) mail.MailboxInfo {
	t.Helper()
	v, err := a.View(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	info, err := v.Lookup(name)
	if err != nil {
		t.Fatal(err)
	}
	return info
}

// user is one client and the session that it has, if need be another for each command.
type user struct {
	t       *testing.T
	account mail.Account
	locks   Locks
	client
	s *Session
}

// begin makes the first session, or the next one with what the client has been told.
func (u *user) begin(first bool) {
	u.t.Helper()
	if !first {
		u.s.Close()
	}
	u.s = New(Config{
		Account: u.account, ID: mail.AccountID{1}, Session: mail.SessionID{1}, User: "ann", Sink: &u.client, Locks: &u.locks,
	})
	var err error
	if first {
		err = u.s.Begin(u.t.Context(), returnTime)
	} else {
		err = u.s.Resume(u.t.Context(), &u.token, 0)
	}
	if err != nil {
		u.t.Fatal(err)
	}
}

var (
	singleLine = regexp.MustCompile(`^(\+OK|-ERR)( [ -~]*)?\r\n$`)
	severals   = map[string]int{"LIST": 0, "UIDL": 0, "TOP": 2, "RETR": 1} // with so many arguments: several lines
)

// execute runs a command and returns its first line.
func (u *user) execute(n int, line []byte) string {
	u.said, u.done = nil, 0
	if err := u.s.Execute(u.t.Context(), Command{Number: uint64(n), Line: line}); err != nil {
		u.t.Fatalf("%q: %v", line, err)
	}
	if u.done != 1 {
		u.t.Fatalf("%q: %d ends", line, u.done)
	}
	first, rest, _ := bytes.Cut(u.said, []byte("\r\n"))
	args, several := severals[Name(line)]
	_, given := split(line)
	if several = several && len(given) == args && first[0] == '+'; !several && len(rest) > 0 {
		u.t.Fatalf("%q: several lines: %.200q", line, u.said)
	}
	if !singleLine.Match(append(bytes.Clone(first), "\r\n"...)) {
		u.t.Fatalf("%q: %.200q", line, u.said)
	}
	// What ends the answer is its last line, and nothing else is one that would.
	if end := bytes.Index(append([]byte("\r\n"), rest...), []byte("\r\n.\r\n")); several && end != len(rest)-len(".\r\n") {
		u.t.Fatalf("%q: of %d octets the client reads %d: %.200q", line, len(rest), end, u.said)
	}
	return string(first)
}

// FuzzSession: whatever a client sends, each command has one well-formed answer, of as many
// lines as the client expects, be it at one master or at another for each command; and of
// the messages, whatever is in them, those go at QUIT that are marked then, and no others.
func FuzzSession(f *testing.F) {
	const message = "Subject: x\r\n\r\n.one\r\n..\r\n.\nlast"
	for _, s := range []string{
		"STAT\r\nLIST\r\nUIDL\r\nRETR 1\r\nTOP 1 1\r\nDELE 1\r\nLIST\r\nLIST 1\r\nRSET\r\nUIDL 1\r\nQUIT\r\n",
		"DELE 1\nDELE 3\nSTAT\nDELE 1\nRETR 1\nRETR 2\nTOP 2 0\nNOOP\nQUIT\nNOOP\n",
		"retr 2\r\ntop 2 99\r\nUidl 3\r\nuidl 4\r\nUIDL 0\r\nLIST -1\r\nLIST 4294967297\r\nTOP 1\r\nTOP 1 -1\r\nQUIT 1\r\nFROB\r\n\r\n",
		"DELE 1\r\nDELE 2\r\nDELE 3\r\nRSET\r\nDELE 2\r\nLIST\r\nUIDL\r\nSTAT\r\nQUIT\r\n",
		strings.Repeat("TOP  3\t2 \r\n", 20) + strings.Repeat("x", MaxLine) + "\r\n",
		"CAPA\r\nUSER ann\r\nPASS x\r\nAPOP x y\r\nAUTH PLAIN\r\nSTLS\r\nUTF8\r\nLANG\r\n",
	} {
		f.Add([]byte(s), []byte(message), false)
		f.Add([]byte(s), []byte(message), true)
	}
	f.Add([]byte("RETR 1\nTOP 1 3\nLIST\n"), []byte("\n.\n\n..\r\r\n.\r\n."), true)
	large := bytes.Repeat([]byte(".0123456789abcde\r\n"), unitSize/16)
	f.Fuzz(func(t *testing.T, in, message []byte, switched bool) {
		const most = 40 // commands
		message = message[:min(len(message), unitSize)]
		u := &user{t: t, account: maildropOf(t, message, large, []byte("Subject: last\r\n\r\n"))}
		here := mail.NewUIDSet(mail.UIDRange{Lo: 1, Hi: 3})
		var marked mail.UIDSet
		ended := false
		heap.Within(t, 2<<20+most*(16*len(large)+16*len(message)), func() {
			u.begin(true)
			for n := 1; n <= most && len(in) > 0 && !ended; n++ {
				var line []byte
				if line, in, _ = bytes.Cut(in, []byte("\n")); len(line) >= MaxLine {
					return // the front end does not let it through
				}
				line = bytes.TrimRight(line, "\r")
				if switched && n > 1 {
					u.begin(false)
				}
				first := u.execute(n, line)
				if !strings.HasPrefix(first, "+OK") {
					continue
				}
				_, args := split(line)
				numbers, _ := parse(args, 0, 2)
				switch Name(line) {
				case "DELE":
					marked = marked.Add(mail.UID(numbers[0]))
				case "RSET":
					marked = nil
				case "QUIT":
					ended = true
				}
			}
		})
		u.s.Close()
		if ended {
			here = here.Minus(marked)
		}
		if got := uidsOf(t, u.account); got.String() != here.String() {
			t.Errorf("left are %s, want %s", got, here)
		}
	})
}

func uidsOf(t testing.TB, a mail.Account) (set mail.UIDSet) {
	t.Helper()
	v, err := a.View(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	for m, err := range v.Messages(inboxOf(t, a).ID, 1, 1<<31) {
		if err != nil {
			t.Fatal(err)
		}
		set = set.Add(m.UID)
	}
	return set
}
