package mailtest

import (
	"errors"
	"strings"

	"github.com/tandemail/tandemail/internal/mail"
)

// names lists all mailboxes; computed ones in brackets.
func (f *fixture) names() string {
	f.Helper()
	var list []string
	for _, m := range collect(f, f.view().Mailboxes()) {
		if m.Use != "" {
			continue
		}
		if m.NonExistent {
			m.Name = "[" + m.Name + "]"
		}
		list = append(list, m.Name)
	}
	return strings.Join(list, " ")
}

var nameProperties = []property{
	{"create makes an empty mailbox with numbers of its own", func(f *fixture) {
		res := f.do(mail.Create{Name: "Work"})
		m := f.mailbox("Work")
		equal(f, "id", m.ID, res.Mailbox)
		equal(f, "UIDVALIDITY", m.UIDValidity, res.UIDValidity)
		equal(f, "UIDNEXT", m.UIDNext, 1)
		if m.UIDValidity <= f.mailbox("Archive").UIDValidity {
			f.Errorf("UIDVALIDITY %d is not above an older mailbox's", m.UIDValidity)
		}
		equal(f, "subscribed", m.Subscribed, false)
		byID, err := f.view().Mailbox(res.Mailbox)
		if err != nil || byID.Name != "Work" {
			f.Errorf("by id: %+v, %v", byID, err)
		}
	}},
	{"names are listed as a tree, missing superiors computed", func(f *fixture) {
		for _, n := range []string{"b/x/y", "a-b", "a/c", "a", "b/x/z", "INBOX/sub", "Ä"} {
			f.do(mail.Create{Name: n})
		}
		equal(f, "names", f.names(), "INBOX INBOX/sub a a/c a-b [b] [b/x] b/x/y b/x/z Ä")
		if _, err := f.view().Lookup("b"); !errors.Is(err, mail.ErrNoMailbox) {
			f.Errorf("look up a computed name: %v", err)
		}
		f.do(mail.Create{Name: "b"})
		equal(f, "names", f.names(), "INBOX INBOX/sub a a/c a-b b [b/x] b/x/y b/x/z Ä")
	}},
	{"INBOX in any case is INBOX", func(f *fixture) {
		equal(f, "id", f.id("inBox"), f.id("INBOX"))
		f.refused(mail.Create{Name: "inbox"}, mail.ErrExists)
		f.refused(mail.Delete{Name: "Inbox"}, mail.ErrCannot)
		f.do(mail.Create{Name: "inbox/x"})
		equal(f, "name", f.mailbox("INBOX/x").Name, "INBOX/x")
	}},
	{"bad names are refused", func(f *fixture) {
		long := strings.Repeat("x", 256)
		for _, n := range []string{
			"", "/a", "a/", "a//b", "a*", "a%b", "a\x00", "a\x1f", "a\x7f", "a\u2028", "\xff", "e\u0301", long,
			strings.Repeat("a/", 30) + "a", strings.Repeat(strings.Repeat("y", 200)+"/", 5) + "z",
		} {
			f.refused(mail.Create{Name: n}, mail.ErrBadName)
		}
		f.do(mail.Create{Name: strings.Repeat("a/", 29) + "a"})
		f.do(mail.Create{Name: long[:255]})
		f.do(mail.Create{Name: "é & ü"})
	}},
	{"a special use has one mailbox", func(f *fixture) {
		f.refused(mail.Create{Name: "Spam", Use: mail.UseJunk}, mail.ErrUseTaken)
		f.do(mail.Delete{Name: "Junk"})
		f.do(mail.Create{Name: "Spam", Use: mail.UseJunk})
		equal(f, "use", f.mailbox("Spam").Use, mail.UseJunk)
		f.refused(mail.Create{Name: "Spam2", Use: "Nonsense"}, mail.ErrCannot)
	}},
	{"a deleted mailbox is gone, its inferiors stay, its name may come back", func(f *fixture) {
		f.do(mail.Create{Name: "a"})
		f.do(mail.Create{Name: "a/b"})
		f.add("a", 0, 0)
		old := f.mailbox("a")
		f.do(mail.Delete{Name: "a"})
		equal(f, "names", f.names(), "INBOX [a] a/b")
		if _, err := f.view().Mailbox(old.ID); !errors.Is(err, mail.ErrNoMailbox) {
			f.Errorf("deleted by id: %v", err)
		}
		for _, err := range f.view().Messages(old.ID, 1, maxUID) {
			if !errors.Is(err, mail.ErrNoMailbox) {
				f.Errorf("messages of a deleted mailbox: %v", err)
			}
		}
		equal(f, "used", f.account().Quota.UsedMessages, 0)
		f.refused(mail.Delete{Name: "a"}, mail.ErrHasChildren)
		f.refused(mail.Delete{Name: "nothing"}, mail.ErrNoMailbox)
		f.refused(mail.Store{Mailbox: old.ID, UIDs: all, Flags: mail.Seen}, mail.ErrNoMailbox)
		f.do(mail.Create{Name: "a"})
		now := f.mailbox("a")
		if now.ID == old.ID || now.UIDValidity <= old.UIDValidity || now.Messages != 0 {
			f.Errorf("created again: %+v, was %+v", now, old)
		}
	}},
	{"rename keeps the mailbox and takes the inferiors along", func(f *fixture) {
		for _, n := range []string{"a", "a/b", "a/b/c", "ab", "z"} {
			f.do(mail.Create{Name: n})
		}
		f.add("a/b", 0)
		f.do(mail.Subscribe{Name: "a/b", On: true})
		old := f.mailbox("a/b")
		f.do(mail.Rename{From: "a", To: "new/place"})
		equal(f, "names", f.names(), "INBOX ab [new] new/place new/place/b new/place/b/c z")
		now := f.mailbox("new/place/b")
		if now.ID != old.ID || now.UIDValidity != old.UIDValidity || now.UIDNext != old.UIDNext || now.Messages != 1 {
			f.Errorf("renamed: %+v, was %+v", now, old)
		}
		equal(f, "subscribed", now.Subscribed, false)
		equal(f, "subscriptions", strings.Contains(strings.Join(collect(f, f.view().Subscriptions()), " "), "a/b"), true)
		f.refused(mail.Rename{From: "z", To: "ab"}, mail.ErrExists)
		f.refused(mail.Rename{From: "z", To: "z"}, mail.ErrExists)
		f.refused(mail.Rename{From: "z", To: "inbox"}, mail.ErrExists)
		f.refused(mail.Rename{From: "z", To: "z/y"}, mail.ErrCannot)
		f.refused(mail.Rename{From: "nothing", To: "y"}, mail.ErrNoMailbox)
		f.refused(mail.Rename{From: "z", To: "y*"}, mail.ErrBadName)
		f.do(mail.Create{Name: "q/place/b"})
		f.refused(mail.Rename{From: "new", To: "q"}, mail.ErrExists)
		f.do(mail.Delete{Name: "q/place/b"})
		f.do(mail.Rename{From: "new", To: "q"}) // a computed name moves what is below it
		equal(f, "names", f.names(), "INBOX ab [q] q/place q/place/b q/place/b/c z")
	}},
	{"renaming INBOX moves its messages only", func(f *fixture) {
		f.do(mail.Create{Name: "INBOX/sub"})
		f.add("INBOX", 0, mail.Seen, 0)
		f.do(mail.Store{Mailbox: f.id("INBOX"), UIDs: set(3), Mode: mail.AddFlags, Keywords: []string{"kept"}})
		old := f.mailbox("INBOX")
		f.refused(mail.Rename{From: "INBOX", To: "Sent"}, mail.ErrExists)
		before := f.account().ModSeq
		f.do(mail.Rename{From: "inbox", To: "Old"})
		equal(f, "account MODSEQ", f.account().ModSeq, before+1)
		inbox, moved := f.mailbox("INBOX"), f.mailbox("Old")
		if inbox.ID != old.ID || inbox.UIDValidity != old.UIDValidity || inbox.UIDNext != old.UIDNext || inbox.Messages != 0 {
			f.Errorf("INBOX is %+v, was %+v", inbox, old)
		}
		equal(f, "moved", f.listed(moved.ID), "1:3")
		equal(f, "unseen", moved.Unseen, 2)
		equal(f, "keywords", strings.Join(moved.Keywords, " "), "kept")
		equal(f, "tombstones", len(f.expunged(inbox.ID, before)), 1)
		equal(f, "names", f.names(), "INBOX INBOX/sub Old")
	}},
	{"subscriptions are names of their own", func(f *fixture) {
		f.do(mail.Subscribe{Name: "not/there", On: true})
		before := f.account().ModSeq
		equal(f, "again", f.do(mail.Subscribe{Name: "not/there", On: true}).ModSeq, 0)
		equal(f, "off what is off", f.do(mail.Subscribe{Name: "other", On: false}).ModSeq, 0)
		equal(f, "account MODSEQ", f.account().ModSeq, before)
		f.do(mail.Subscribe{Name: "inbox", On: false})
		equal(f, "INBOX", f.mailbox("INBOX").Subscribed, false)
		equal(f, "list", strings.Join(collect(f, f.view().Subscriptions()), " "), "Archive Drafts Junk Sent Trash not/there")
	}},
}
