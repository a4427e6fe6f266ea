package mailtest

import (
	"errors"
	"sync"
	"time"

	"github.com/tandemail/tandemail/internal/mail"
)

var viewProperties = []property{
	{"a view does not change", func(f *fixture) {
		f.add("INBOX", 0, mail.Deleted)
		v := f.view()
		old, err := v.Lookup("INBOX")
		if err != nil {
			f.Fatal(err)
		}
		f.add("INBOX", 0)
		f.do(mail.Expunge{Mailbox: old.ID, UIDs: all})
		f.do(mail.Store{Mailbox: old.ID, UIDs: all, Mode: mail.AddFlags, Flags: mail.Seen})
		f.do(mail.Create{Name: "later"})
		again, err := v.Lookup("INBOX")
		if err != nil || again.HighestModSeq != old.HighestModSeq || again.Messages != 2 || again.Unseen != 2 {
			f.Errorf("INBOX became %+v, %v", again, err)
		}
		equal(f, "messages", len(collect(f, v.Messages(old.ID, 1, maxUID))), 2)
		equal(f, "expunged", len(collect(f, v.Expunged(old.ID, 0))), 0)
		for _, fl := range collect(f, v.Flags(old.ID, 1, maxUID, 0)) {
			equal(f, "seen", fl.Flags&mail.Seen, 0)
		}
		if _, err := v.Lookup("later"); !errors.Is(err, mail.ErrNoMailbox) {
			f.Errorf("a later mailbox: %v", err)
		}
		f.content(v, collect(f, v.Messages(old.ID, 2, 2))[0]) // expunged since
	}},
	{"a change is in the next view", func(f *fixture) {
		for range 50 {
			n := f.mailbox("INBOX").Messages
			f.add("INBOX", 0)
			equal(f, "messages", f.mailbox("INBOX").Messages, n+1)
		}
	}},
	{"content is readable after its view and its message are gone", func(f *fixture) {
		f.add("INBOX", mail.Deleted)
		v := f.view()
		msg := collect(f, v.Messages(f.id("INBOX"), 1, 1))[0]
		c, err := v.Open(f.Context(), msg)
		if err != nil {
			f.Fatal(err)
		}
		v.Close()
		f.do(mail.Expunge{Mailbox: f.id("INBOX"), UIDs: all})
		f.add("INBOX", 0)
		equal(f, "content", f.read(c), "Subject: INBOX 0\r\n\r\nhello\r\n")
		if err := c.Close(); err != nil {
			f.Error(err)
		}
	}},
	{"what is not there is said to be not there", func(f *fixture) {
		f.add("INBOX", 0)
		v := f.view()
		if _, err := v.Message(f.id("INBOX"), 2); !errors.Is(err, mail.ErrNoMessage) {
			f.Errorf("message 2: %v", err)
		}
		if _, err := v.Message(mail.MailboxID{9}, 1); !errors.Is(err, mail.ErrNoMailbox) {
			f.Errorf("message of no mailbox: %v", err)
		}
		if _, err := v.Mailbox(mail.MailboxID{9}); !errors.Is(err, mail.ErrNoMailbox) {
			f.Errorf("no mailbox: %v", err)
		}
		for _, err := range v.Flags(mail.MailboxID{9}, 1, maxUID, 0) {
			if !errors.Is(err, mail.ErrNoMailbox) {
				f.Errorf("flags of no mailbox: %v", err)
			}
		}
		for _, err := range v.Expunged(mail.MailboxID{9}, 0) {
			if !errors.Is(err, mail.ErrNoMailbox) {
				f.Errorf("expunged of no mailbox: %v", err)
			}
		}
		equal(f, "empty range", len(collect(f, v.Messages(f.id("INBOX"), 5, 2))), 0)
	}},
	{"watch signals once until it is looked at", func(f *fixture) {
		inbox, stopInbox := f.acct.Watch(f.id("INBOX"))
		sent, stopSent := f.acct.Watch(f.id("Sent"))
		account, stopAccount := f.acct.Watch(mail.MailboxID{})
		defer stopSent()
		defer stopAccount()
		f.add("INBOX", 0)
		f.add("INBOX", 0)
		signalled(f, "INBOX", inbox)
		signalled(f, "account", account)
		silent(f, "INBOX, coalesced", inbox)
		silent(f, "Sent", sent)
		f.do(mail.Move{From: f.id("INBOX"), UIDs: set(1), To: f.id("Sent")})
		signalled(f, "INBOX", inbox)
		signalled(f, "Sent", sent)
		signalled(f, "account", account)
		f.do(mail.Store{Mailbox: f.id("Sent"), UIDs: set(99), Mode: mail.AddFlags, Flags: mail.Seen})
		silent(f, "Sent, nothing changed", sent)
		f.do(mail.Create{Name: "new"})
		signalled(f, "account, a name", account)
		stopInbox()
		stopInbox()
		f.add("INBOX", 0)
		silent(f, "stopped", inbox)
	}},
	{"many may write and read at once", func(f *fixture) {
		const writers, each = 8, 20
		box := f.id("INBOX")
		var wg sync.WaitGroup
		errs := make(chan error, 2*writers)
		for w := range writers {
			wg.Go(func() { errs <- f.write(w, each, box) })
			wg.Go(func() { errs <- f.watchGrow(box) })
		}
		wg.Wait()
		for range 2 * writers {
			if err := <-errs; err != nil {
				f.Error(err)
			}
		}
		equal(f, "messages", f.mailbox("INBOX").Messages, writers*each)
		equal(f, "listed", f.listed(box), "1:160")
	}},
	{"derived data is by content and parser", func(f *fixture) {
		f.add("INBOX", 0, 0)
		m := f.messages(f.id("INBOX"))
		if got := f.acct.Derived(1, m[0].EmailID); len(got) != 1 || got[0] != nil {
			f.Errorf("derived data of a new message: %q", got)
		}
		f.acct.SetDerived(m[0].EmailID, 1, []byte("one"))
		got := f.acct.Derived(1, m[1].EmailID, m[0].EmailID, m[1].EmailID, m[0].EmailID)
		if len(got) != 4 {
			f.Fatalf("derived %q", got)
		}
		for i, data := range got { // it need not be kept
			if data != nil && (i%2 == 0 || string(data) != "one") {
				f.Errorf("derived data of message %d: %q", 1-i%2, data)
			}
		}
		if got := f.acct.Derived(2, m[0].EmailID); len(got) != 1 || got[0] != nil {
			f.Errorf("derived data of another parser: %q", got)
		}
	}},
}

// write appends as a session of its own, each message under the next number.
func (f *fixture) write(session, n int, box mail.MailboxID) error {
	for i := range n {
		body, err := f.acct.Stage(f.Context(), &oneByte{s: "Subject: x\n\n"}, 100)
		if err != nil {
			return err
		}
		_, err = f.acct.Do(f.Context(), mail.Request{
			ID: mail.OpID{Session: mail.SessionID{byte(session + 1), 99}, Number: uint64(i + 1)},
			Op: mail.Append{Mailbox: box, Messages: []mail.NewMessage{{Body: body}}},
		})
		if err := errors.Join(err, body.Close()); err != nil {
			return err
		}
	}
	return nil
}

var errShrank = errors.New("a later view had fewer messages, or its counter lied")

// watchGrow checks that each view is whole, and none older than the one before.
func (f *fixture) watchGrow(box mail.MailboxID) error {
	last := uint32(0)
	for range 20 {
		v, err := f.acct.View(f.Context())
		if err != nil {
			return err
		}
		m, err := v.Mailbox(box)
		n := uint32(0)
		for _, e := range v.Messages(box, 1, maxUID) {
			err = errors.Join(err, e)
			n++
		}
		v.Close()
		if err != nil {
			return err
		}
		if m.Messages < last || m.Messages != n {
			return errShrank
		}
		last = n
	}
	return nil
}

// patience is for what has happened already when it is asked for.
const patience = 10 * time.Second

func signalled(f *fixture, what string, ch <-chan struct{}) {
	f.Helper()
	select {
	case <-ch:
	case <-time.After(patience):
		f.Fatalf("%s: no signal", what)
	}
}

func silent(f *fixture, what string, ch <-chan struct{}) {
	f.Helper()
	select {
	case <-ch:
		f.Errorf("%s: signal", what)
	default:
	}
}
