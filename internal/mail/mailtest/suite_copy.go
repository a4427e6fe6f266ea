package mailtest

import (
	"strings"

	"github.com/tandemail/tandemail/internal/mail"
)

var copyProperties = []property{
	{"copy keeps flags, dates, ids and content", func(f *fixture) {
		f.addKeyword("Archive", "first") // so that the tables differ
		f.add("INBOX", 0, mail.Seen|mail.Flagged, mail.Deleted)
		f.do(mail.Store{Mailbox: f.id("INBOX"), UIDs: set(2), Mode: mail.AddFlags, Keywords: []string{"second", "first"}})
		before := f.account()
		res := f.do(mail.Copy{From: f.id("INBOX"), UIDs: set(2, 3, 9), To: f.id("Archive")})
		equal(f, "source", res.Source.String(), "2:3")
		equal(f, "UIDs", res.UIDs.String(), "2:3")
		equal(f, "target", res.Mailbox, f.id("Archive"))
		equal(f, "UIDVALIDITY", res.UIDValidity, f.mailbox("Archive").UIDValidity)
		equal(f, "MODSEQ", res.ModSeq, before.ModSeq+1)
		equal(f, "source's HIGHESTMODSEQ", f.mailbox("INBOX").HighestModSeq, before.ModSeq)
		equal(f, "used", f.account().Quota.UsedMessages, before.Quota.UsedMessages+2)
		from, to := f.messages(f.id("INBOX"))[1], f.messages(f.id("Archive"))[1]
		if from.EmailID != to.EmailID || from.ThreadID != to.ThreadID || from.InternalDate != to.InternalDate || from.Size != to.Size {
			f.Errorf("copied %+v to %+v", from, to)
		}
		v := f.view()
		equal(f, "content", f.content(v, to), f.content(v, from))
		fl := f.flags(f.id("Archive"), 0)[1]
		equal(f, "flags", fl.Flags, mail.Seen|mail.Flagged)
		equal(f, "MODSEQ of the copy", fl.ModSeq, res.ModSeq)
		table := f.mailbox("Archive").Keywords
		equal(f, "table", strings.Join(table, " "), "first second")
		if !fl.Keywords.Has(0) || !fl.Keywords.Has(1) {
			f.Errorf("keywords %x", fl.Keywords)
		}
	}},
	{"a copy outlives its original", func(f *fixture) {
		f.add("INBOX", mail.Deleted)
		v := f.view()
		want := f.content(v, f.messages(f.id("INBOX"))[0])
		f.do(mail.Copy{From: f.id("INBOX"), UIDs: all, To: f.id("Archive")})
		f.do(mail.Copy{From: f.id("Archive"), UIDs: all, To: f.id("Archive")})
		f.do(mail.Expunge{Mailbox: f.id("INBOX"), UIDs: all})
		equal(f, "listed", f.listed(f.id("Archive")), "1:2")
		for _, m := range f.messages(f.id("Archive")) {
			equal(f, "content", f.content(f.view(), m), want)
		}
	}},
	{"move is one change of both mailboxes", func(f *fixture) {
		f.add("INBOX", 0, mail.Seen, 0)
		before := f.account()
		res := f.do(mail.Move{From: f.id("INBOX"), UIDs: set(1, 2), To: f.id("Trash")})
		equal(f, "source", res.Source.String(), "1:2")
		equal(f, "UIDs", res.UIDs.String(), "1:2")
		equal(f, "MODSEQ", res.ModSeq, before.ModSeq+1)
		equal(f, "INBOX", f.listed(f.id("INBOX")), "3")
		equal(f, "Trash", f.listed(f.id("Trash")), "1:2")
		equal(f, "quota", f.account().Quota, before.Quota)
		equal(f, "INBOX's HIGHESTMODSEQ", f.mailbox("INBOX").HighestModSeq, res.ModSeq)
		equal(f, "Trash's HIGHESTMODSEQ", f.mailbox("Trash").HighestModSeq, res.ModSeq)
		equal(f, "tombstones", len(f.expunged(f.id("INBOX"), before.ModSeq)), 1)
		equal(f, "counter", f.mailbox("INBOX").Messages, 1)
		f.content(f.view(), f.messages(f.id("Trash"))[0])
	}},
	{"moving within a mailbox gives new UIDs", func(f *fixture) {
		f.add("INBOX", 0, 0)
		res := f.do(mail.Move{From: f.id("INBOX"), UIDs: set(1), To: f.id("INBOX")})
		equal(f, "UIDs", res.UIDs.String(), "3")
		equal(f, "listed", f.listed(f.id("INBOX")), "2:3")
	}},
	{"copying nothing changes nothing", func(f *fixture) {
		before := f.account()
		for _, op := range []mail.Op{
			mail.Copy{From: f.id("INBOX"), UIDs: all, To: f.id("Sent")},
			mail.Move{From: f.id("INBOX"), UIDs: all, To: f.id("Sent")},
		} {
			equal(f, "MODSEQ", f.do(op).ModSeq, 0)
		}
		equal(f, "account", f.account(), before)
	}},
	{"copy is refused whole", func(f *fixture) {
		f.add("INBOX", 0, 0)
		f.refused(mail.Copy{From: f.id("INBOX"), UIDs: all, To: mail.MailboxID{9}}, mail.ErrNoMailbox)
		f.refused(mail.Move{From: mail.MailboxID{9}, UIDs: all, To: f.id("INBOX")}, mail.ErrNoMailbox)
		f.do(mail.SetQuota{LimitMessages: 3})
		f.refused(mail.Copy{From: f.id("INBOX"), UIDs: all, To: f.id("Sent")}, mail.ErrOverQuota)
		used := f.account().Quota.UsedOctets
		f.do(mail.SetQuota{LimitOctets: used + 1})
		f.refused(mail.Copy{From: f.id("INBOX"), UIDs: set(1), To: f.id("Sent")}, mail.ErrOverQuota)
		equal(f, "moved over quota", f.do(mail.Move{From: f.id("INBOX"), UIDs: all, To: f.id("Sent")}).UIDs.Len(), 2)
	}},
}

var expungeProperties = []property{
	{"expunge removes what is deleted among the UIDs", func(f *fixture) {
		f.add("INBOX", mail.Deleted, 0, mail.Deleted, mail.Deleted)
		before := f.account().ModSeq
		res := f.do(mail.Expunge{Mailbox: f.id("INBOX"), UIDs: set(1, 2, 3)})
		equal(f, "removed", res.UIDs.String(), "1,3")
		equal(f, "MODSEQ", res.ModSeq, before+1)
		equal(f, "more", res.More, false)
		m := f.mailbox("INBOX")
		equal(f, "listed", f.listed(m.ID), "2,4")
		equal(f, "messages", m.Messages, 2)
		equal(f, "deleted", m.Deleted, 1)
		equal(f, "HIGHESTMODSEQ", m.HighestModSeq, res.ModSeq)
		var size int64
		for _, msg := range f.messages(m.ID) {
			size += msg.Size
		}
		equal(f, "size", m.Size, size)
		equal(f, "octets used", f.account().Quota.UsedOctets, size)
		equal(f, "again", f.do(mail.Expunge{Mailbox: m.ID, UIDs: set(1, 2, 3)}).ModSeq, 0)
		f.refused(mail.Expunge{Mailbox: mail.MailboxID{9}, UIDs: all}, mail.ErrNoMailbox)
	}},
	{"a UID is never used twice", func(f *fixture) {
		f.add("INBOX", mail.Deleted, mail.Deleted)
		f.do(mail.Expunge{Mailbox: f.id("INBOX"), UIDs: all})
		equal(f, "UIDNEXT", f.mailbox("INBOX").UIDNext, 3)
		equal(f, "UIDs", f.add("INBOX", 0).UIDs.String(), "3")
	}},
	{"expunges are listed in order and from a point on", func(f *fixture) {
		f.add("INBOX", mail.Deleted, mail.Deleted, mail.Deleted, 0, mail.Deleted)
		box := f.id("INBOX")
		start := f.account().ModSeq
		f.do(mail.Expunge{Mailbox: box, UIDs: set(2)})
		f.add("INBOX", 0)
		f.do(mail.Expunge{Mailbox: box, UIDs: set(1, 5)})
		all := f.expunged(box, start)
		if len(all) != 2 || !strings.HasSuffix(all[0], ":2") || !strings.HasSuffix(all[1], ":1,5") {
			f.Errorf("expunged %v", all)
		}
		equal(f, "after the first", strings.Join(f.expunged(box, start+1), " "), all[1])
		equal(f, "after the last", len(f.expunged(box, start+3)), 0)
		equal(f, "floor", f.mailbox("INBOX").TombstoneFloor, 0)
	}},
}
