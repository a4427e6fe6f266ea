package proxy

import (
	"context"
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tandemail/tandemail/internal/imapwire/imaptest"
	"github.com/tandemail/tandemail/internal/mail"
	"github.com/tandemail/tandemail/internal/session"
)

var threeMessages = []string{
	"Subject: one\r\n\r\nhello 1\r\n\r\n\r\n",
	"Subject: two\r\n\r\n.dotted\r\n..\r\nline 3\r\nlast",
	"Subject: three\r\n\r\n\r\n",
}

// put appends messages to ann's INBOX.
func (r *rig) put(messages ...string) {
	r.t.Helper()
	a := r.twin.Account(accounts["ann"])
	for i, m := range messages {
		b, err := a.Stage(r.t.Context(), strings.NewReader(m), mail.MaxMessageSize)
		if err != nil {
			r.t.Fatal(err)
		}
		_, err = a.Do(r.t.Context(), mail.Request{
			ID: mail.OpID{Session: mail.SessionID{0xff}, Number: uint64(i + 1)},
			Op: mail.Append{Mailbox: r.inbox(), Messages: []mail.NewMessage{{Body: b}}},
		})
		if err != nil {
			r.t.Fatal(err)
		}
	}
}

func (r *rig) view() mail.View {
	r.t.Helper()
	v, err := r.twin.Account(accounts["ann"]).View(context.Background())
	if err != nil {
		r.t.Fatal(err)
	}
	return v
}

func (r *rig) inboxInfo() mail.MailboxInfo {
	r.t.Helper()
	v := r.view()
	defer v.Close()
	info, err := v.Lookup(mail.Inbox)
	if err != nil {
		r.t.Fatal(err)
	}
	return info
}

func (r *rig) inbox() mail.MailboxID      { return r.inboxInfo().ID }
func (r *rig) validity() mail.UIDValidity { return r.inboxInfo().UIDValidity }

// uids are those of ann's INBOX.
func (r *rig) uids() (set mail.UIDSet) {
	r.t.Helper()
	v := r.view()
	defer v.Close()
	for f, err := range v.Flags(r.inbox(), 1, 1<<31, 0) {
		if err != nil {
			r.t.Fatal(err)
		}
		set = set.Add(f.UID)
	}
	return set
}

// popped connects and logs ann in.
func (r *rig) popped() *imaptest.Client {
	r.t.Helper()
	c := imaptest.NewClient(r.t, r.dialTCP(session.POP3))
	r.t.Cleanup(func() { _ = c.Close() })
	c.Send("USER ann\r\nPASS secret\r\n")
	expect(r.t, c, "+OK Tandemail ready", "+OK", "+OK Logged in")
	return c
}

func TestPOP3Dialogues(t *testing.T) {
	dialogues(t, "testdata/pop3/*.txt", func(t *testing.T, file string) {
		r := newRig(t, nil)
		r.put(threeMessages...)
		imaptest.Run(t, file, func(string) net.Conn { return r.dialTCP(session.POP3) })
	})
}

func TestMaildropIsAsItWasAtLogIn(t *testing.T) {
	r := newRig(t, nil)
	r.put(threeMessages...)
	pop := r.popped()
	im := r.loggedIn()
	im.OK("SELECT INBOX")
	im.OK("STORE 2 +FLAGS \\Deleted")
	im.OK("EXPUNGE")
	im.OK("APPEND INBOX {5+}\r\nhello")
	pop.Send("LIST\r\nRETR 2\r\nRETR 3\r\n")
	expect(t, pop, "+OK", "1 29", "2 41", "3 20", ".", "-ERR Message has been removed meanwhile", "+OK 20 octets", "Subject: three", "", "", ".")
	pop.Send("DELE 2\r\nDELE 3\r\nQUIT\r\n")
	expect(t, pop, "+OK Message 2 is marked for removal", "+OK Message 3 is marked for removal", "+OK Bye")
	if got := r.uids().String(); got != "1,4" {
		t.Errorf("left: %s", got)
	}
}

func TestRetrievedMessagesAreSeen(t *testing.T) {
	r := newRig(t, nil)
	r.put(threeMessages...)
	pop := r.popped()
	pop.Send("RETR 1\r\nTOP 3 0\r\nQUIT\r\n")
	for line := ""; line != "+OK Bye"; line = pop.Line() {
	}
	im := r.loggedIn()
	im.OK("SELECT INBOX")
	if got, _ := im.Command("SEARCH SEEN"); got[0] != "* SEARCH 1" {
		t.Error(got)
	}
}

func TestMarksAreForgottenWithoutQuit(t *testing.T) {
	r := newRig(t, nil)
	r.put(threeMessages...)
	pop := r.popped()
	pop.Send("DELE 1\r\n")
	pop.Line()
	_ = pop.Close()
	r.stop()
	if got := r.uids().String(); got != "1:3" {
		t.Errorf("left: %s", got)
	}
}

// TestPOP3GoesOnAtAnotherMaster breaks the stream instead of each frame in turn of a
// session that marks, retrieves a long message, lists and quits.
func TestPOP3GoesOnAtAnotherMaster(t *testing.T) {
	const frames = 14 // of an undisturbed session
	for at := range frames {
		t.Run(fmt.Sprint(at), func(t *testing.T) {
			if !goesOn(t, at) {
				t.Errorf("the session has no frame %d", at)
			}
		})
	}
}

// goesOn plays the session, and reports whether it lost a master.
func goesOn(t *testing.T, at int) bool {
	long := "Subject: long\r\n\r\n" + strings.Repeat(".0123456789abcdef\r\n", 30_000)
	r := newRig(t, nil)
	r.put("Subject: a\r\n\r\n", long, "Subject: c\r\n\r\n")
	pop := r.popped()
	var seen atomic.Int64
	r.tamperWith(func(session.Frame) bool { return seen.Add(1) == int64(at)+1 })
	pop.Send("STAT\r\nDELE 1\r\nRETR 2\r\nTOP 3 0\r\nUIDL\r\nQUIT\r\n")
	want := fmt.Sprintf("+OK 3 %d\r\n+OK Message 1 is marked for removal\r\n+OK %d octets\r\n", len(long)+28, len(long)) +
		strings.ReplaceAll(long, "\r\n.", "\r\n..") + ".\r\n+OK\r\nSubject: c\r\n\r\n.\r\n+OK\r\n2 <v>.2\r\n3 <v>.3\r\n.\r\n+OK Bye\r\n"
	want = strings.ReplaceAll(want, "<v>", fmt.Sprint(r.validity()))
	for i, line := range strings.Split(strings.TrimSuffix(want, "\r\n"), "\r\n") {
		if got := pop.Line(); got != line {
			t.Fatalf("line %d is %.80q, not %.80q", i, got, line)
		}
	}
	if left := r.uids().String(); left != "2:3" {
		t.Errorf("%s is left", left)
	}
	return r.server.Stats().Resumed > 0
}

// TestNewMasterWaitsForSessionsThatReturn: only who was there may have the maildrop
// at first.
func TestNewMasterWaitsForSessionsThatReturn(t *testing.T) {
	r := newRig(t, func(c *Config) { c.Hold = 50 * time.Millisecond })
	r.put(threeMessages...)
	pop := r.popped()
	pop.Send("DELE 1\r\n")
	pop.Line()
	r.since = time.Second
	r.appoint("m2")
	other := imaptest.NewClient(t, r.dialTCP(session.POP3))
	defer other.Close()
	other.Send("USER ann\r\nPASS secret\r\n")
	expect(t, other, "+OK Tandemail ready", "+OK", "-ERR [SYS/TEMP] Mailbox is not available, try again later")
	pop.Send("QUIT\r\n")
	expect(t, pop, "+OK Bye")
	if got := r.uids().String(); got != "2:3" {
		t.Errorf("left: %s", got)
	}
}

func TestPOP3EndsWithAFork(t *testing.T) {
	r := newRig(t, nil)
	r.put(threeMessages...)
	pop := r.popped()
	pop.Send("DELE 1\r\n")
	pop.Line()
	r.fork()
	r.appoint("m2")
	pop.Send("QUIT\r\n")
	expect(t, pop, "-ERR [SYS/TEMP] Server changed, connect again")
}
