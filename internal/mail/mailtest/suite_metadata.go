package mailtest

import (
	"errors"
	"fmt"
	"strings"

	"github.com/tandemail/tandemail/internal/mail"
)

// entry is one change of metadata; without a value it is removed.
func entry(name string, value ...string) mail.Metadata {
	e := mail.Metadata{Name: name}
	for _, v := range value {
		e.Value = []byte(v)
	}
	return e
}

func (f *fixture) setMetadata(m mail.MailboxID, entries ...mail.Metadata) mail.Result {
	f.Helper()
	return f.do(mail.SetMetadata{Mailbox: m, Entries: entries})
}

func (f *fixture) metadata(m mail.MailboxID, prefix string) string {
	f.Helper()
	var list []string
	for _, e := range collect(f, f.view().Metadata(m, prefix)) {
		list = append(list, fmt.Sprintf("%s=%q", e.Name, e.Value))
	}
	return strings.Join(list, " ")
}

// events is what happened after since, one word each.
func (f *fixture) events(since mail.ModSeq) string {
	f.Helper()
	var list []string
	for _, e := range collect(f, f.view().Events(since)) {
		list = append(list, fmt.Sprintf("%d:%s>%s%s", e.Kind, e.Name, e.NewName, strings.Join(e.Entries, ",")))
	}
	return strings.Join(list, " ")
}

// changed is the names of the mailboxes that changed after since.
func (f *fixture) changed(since mail.ModSeq) string {
	f.Helper()
	var list []string
	for _, m := range collect(f, f.view().Changed(since)) {
		list = append(list, m.Name)
	}
	return strings.Join(list, " ")
}

var metadataProperties = []property{
	{"metadata is kept with a mailbox and with the account", func(f *fixture) {
		inbox, before := f.mailbox("INBOX"), f.account().ModSeq
		res := f.setMetadata(inbox.ID, entry("/Shared/Comment", "a\x00b"), entry("/private/comment", ""), entry("/private/none"))
		equal(f, "MODSEQ", res.ModSeq, before+1)
		f.setMetadata(mail.MailboxID{}, entry("/private/vendor/x/y", "server"))
		equal(f, "entries", f.metadata(inbox.ID, ""), `/private/comment="" /shared/comment="a\x00b"`)
		equal(f, "entries below", f.metadata(inbox.ID, "/shared/"), `/shared/comment="a\x00b"`)
		equal(f, "entries of the account", f.metadata(mail.MailboxID{}, "/"), `/private/vendor/x/y="server"`)
		equal(f, "HIGHESTMODSEQ", f.mailbox("INBOX").HighestModSeq, inbox.HighestModSeq)
		equal(f, "again", f.setMetadata(inbox.ID, entry("/private/comment", ""), entry("/private/none")).ModSeq, 0)
		f.setMetadata(inbox.ID, entry("/private/comment"), entry("/shared/comment", "c"))
		equal(f, "entries", f.metadata(inbox.ID, ""), `/shared/comment="c"`)
	}},
	{"metadata that may not be is refused whole", func(f *fixture) {
		inbox := f.id("INBOX")
		good := entry("/shared/comment", "x")
		for _, name := range []string{
			"", "/", "/shared", "shared/a", "/other/a", "/shared/", "/shared//a", "/shared/a/", "/shared/a*", "/shared/%",
			"/shared/a\x00", "/shared/ä", "/shared/vendor/x", "/shared/" + strings.Repeat("x", mail.MaxMetadataName),
		} {
			f.refused(mail.SetMetadata{Mailbox: inbox, Entries: []mail.Metadata{good, entry(name, "y")}}, mail.ErrBadName)
		}
		large := strings.Repeat("x", mail.MaxMetadataValue)
		f.refused(mail.SetMetadata{Mailbox: inbox, Entries: []mail.Metadata{good, entry("/shared/a", large+"x")}}, mail.ErrTooLarge)
		f.refused(mail.SetMetadata{Mailbox: inbox, Entries: []mail.Metadata{good, good}}, mail.ErrBadName)
		f.refused(mail.SetMetadata{Mailbox: mail.MailboxID{1}, Entries: []mail.Metadata{good}}, mail.ErrNoMailbox)
		f.refused(mail.SetMetadata{Mailbox: inbox}, mail.ErrLimit)
		equal(f, "entries", f.metadata(inbox, ""), "")
		f.setMetadata(inbox, entry("/shared/a", large))
		for _, err := range f.view().Metadata(mail.MailboxID{1}, "") {
			if !errors.Is(err, mail.ErrNoMailbox) {
				f.Errorf("metadata of no mailbox: %v", err)
			}
		}
	}},
	{"metadata has a bound for all of an account, which removing it makes room in", func(f *fixture) {
		inbox := f.id("INBOX")
		large := strings.Repeat("x", mail.MaxMetadataValue)
		const together = 15 // so that they fit one operation
		for n := 1; n < mail.MaxMetadataOctets/mail.MaxMetadataValue; n += together {
			var op mail.SetMetadata
			for i := range together {
				op.Entries = append(op.Entries, entry(fmt.Sprintf("/shared/%d", n+i), large))
			}
			f.do(op)
		}
		f.refused(mail.SetMetadata{Mailbox: inbox, Entries: []mail.Metadata{entry("/shared/x", large)}}, mail.ErrOverQuota)
		f.setMetadata(mail.MailboxID{}, entry("/shared/1"))
		f.setMetadata(inbox, entry("/shared/x", large))
	}},
	{"metadata goes with its mailbox and follows its name", func(f *fixture) {
		f.do(mail.Create{Name: "a"})
		id := f.id("a")
		f.setMetadata(id, entry("/shared/comment", "x"))
		f.do(mail.Rename{From: "a", To: "b"})
		equal(f, "entries", f.metadata(f.id("b"), ""), `/shared/comment="x"`)
		f.do(mail.Delete{Name: "b"})
		f.do(mail.Create{Name: "b"})
		equal(f, "entries of another", f.metadata(f.id("b"), ""), "")
		f.refused(mail.SetMetadata{Mailbox: id, Entries: []mail.Metadata{entry("/shared/comment", "y")}}, mail.ErrNoMailbox)
		f.setMetadata(f.id("INBOX"), entry("/private/comment", "in"))
		f.do(mail.Rename{From: "INBOX", To: "old"})
		equal(f, "entries of INBOX", f.metadata(f.id("INBOX"), ""), `/private/comment="in"`)
		equal(f, "entries of what it was renamed to", f.metadata(f.id("old"), ""), `/private/comment="in"`)
	}},
	{"what happened to an account is told in order", func(f *fixture) {
		at := f.account().ModSeq
		f.do(mail.Create{Name: "a"})
		f.add("a", 0)
		f.do(mail.Subscribe{Name: "a", On: true})
		f.do(mail.Rename{From: "a", To: "b"})
		f.setMetadata(f.id("b"), entry("/shared/comment", "x"), entry("/private/comment"))
		f.do(mail.Subscribe{Name: "a", On: false})
		f.do(mail.Delete{Name: "b"})
		f.do(mail.Rename{From: "INBOX", To: "c"})
		equal(f, "events", f.events(at), "1:>a 4:>a 3:a>b 6:>/shared/comment 5:a> 2:b> 1:>c")
		equal(f, "events since", f.events(f.account().ModSeq-2), "2:b> 1:>c")
	}},
	{"mailboxes that changed are listed in the order of their changes", func(f *fixture) {
		at := f.account().ModSeq
		f.add("INBOX", 0, 0)
		f.add("Sent", 0)
		f.do(mail.Store{Mailbox: f.id("INBOX"), UIDs: set(1), Mode: mail.AddFlags, Flags: mail.Seen})
		f.do(mail.Subscribe{Name: "Junk", On: false})
		equal(f, "changed", f.changed(at), "Sent INBOX")
		equal(f, "changed since", f.changed(f.mailbox("Sent").HighestModSeq), "INBOX")
		f.do(mail.Delete{Name: "Sent"})
		equal(f, "changed", f.changed(at), "INBOX")
		equal(f, "changed by nothing", f.changed(f.account().ModSeq), "")
	}},
	{"metadata of a shared mailbox is read and set with rights, the owner's own by nobody else", func(f *fixture) {
		id, b := f.id("INBOX"), f.as(bob)
		f.setMetadata(id, entry("/shared/comment", "x"), entry("/private/comment", "y"))
		f.setMetadata(mail.MailboxID{}, entry("/shared/comment", "server"))
		shared, private := mail.SetMetadata{Mailbox: id, Entries: []mail.Metadata{entry("/shared/comment", "z")}},
			mail.SetMetadata{Mailbox: id, Entries: []mail.Metadata{entry("/private/comment", "z")}}
		for _, x := range []struct {
			rights          string
			shared, private error
		}{
			{"", mail.ErrNoMailbox, mail.ErrNoMailbox},
			{"rw", mail.ErrNoMailbox, mail.ErrNoMailbox},
			{"lka", mail.ErrNoPerm, mail.ErrNoPerm},
			{"lrsip", mail.ErrNoPerm, mail.ErrCannot},
		} {
			f.grant("INBOX", bob, x.rights)
			b.refused(shared, x.shared)
			b.refused(private, x.private)
		}
		equal(f, "entries", b.metadata(id, ""), `/shared/comment="x"`)
		equal(f, "entries of the account", b.metadata(mail.MailboxID{}, ""), "")
		f.grant("INBOX", bob, "lw")
		b.do(shared)
		b.refused(mail.SetMetadata{Entries: []mail.Metadata{entry("/private/comment", "z")}}, mail.ErrNoPerm)
		equal(f, "entries", f.metadata(id, ""), `/private/comment="y" /shared/comment="z"`)
		f.grant("INBOX", f.account().ID, "lr")
		f.refused(shared, mail.ErrNoPerm)
		f.do(private)
	}},
	{"other users are told of what they may see", func(f *fixture) {
		b, at := f.as(bob), f.account().ModSeq
		f.do(mail.Create{Name: "a"})
		f.do(mail.Create{Name: "a/b"})
		f.do(mail.Subscribe{Name: "a", On: true})
		f.setMetadata(f.id("a/b"), entry("/shared/comment", "x"), entry("/private/comment", "x"))
		f.setMetadata(f.id("a/b"), entry("/private/comment"))
		f.setMetadata(mail.MailboxID{}, entry("/shared/comment", "x"))
		f.add("a/b", 0)
		equal(f, "events", b.events(at), "")
		equal(f, "changed", b.changed(at), "")
		f.grant("a/b", bob, "l")
		equal(f, "events", b.events(at), "1:>a/b 7:a/b>")
		f.grant("a/b", bob, "lr")
		equal(f, "events", b.events(at), "1:>a/b 6:>/shared/comment 7:a/b> 7:a/b>")
		equal(f, "changed", b.changed(at), "a/b")
		at = f.account().ModSeq
		f.do(mail.Rename{From: "a", To: "c"})
		f.do(mail.Create{Name: "other"})
		f.do(mail.Delete{Name: "other"})
		equal(f, "events", b.events(at), "3:a>c")
		f.grant("c/b", eve, "lr")
		equal(f, "events", b.events(at), "3:a>c")
		equal(f, "events of the owner", f.events(at), "3:a>c 1:>other 2:other>")
		at = f.account().ModSeq
		f.do(mail.Delete{Name: "c/b"})
		equal(f, "events", b.events(at), "2:c/b>")
		at = f.account().ModSeq
		f.grant("c", bob, "lr")
		f.grant("c", bob, "")
		f.do(mail.Rename{From: "c", To: "d"})
		var was string
		for _, e := range collect(f, b.view().Events(at)) {
			was += fmt.Sprintf("%s %v,", e.Name, e.Was)
		}
		equal(f, "events", was, "c ,c lr,")
		f.grant("d", f.account().ID, "l")
		equal(f, "events of the owner", f.events(at), "3:c>d 7:d>")
	}},
}
