package mailtest

import (
	"errors"
	"io"
	"strings"

	"github.com/tandemail/tandemail/internal/mail"
)

var newAccountProperties = []property{
	{"a new user has the mailboxes of a new user", func(f *fixture) {
		want := map[string]mail.SpecialUse{
			"INBOX": "", "Drafts": mail.UseDrafts, "Sent": mail.UseSent, "Trash": mail.UseTrash,
			"Junk": mail.UseJunk, "Archive": mail.UseArchive,
		}
		validity := map[mail.UIDValidity]bool{}
		for i, m := range collect(f, f.view().Mailboxes()) {
			if use, ok := want[m.Name]; !ok || use != m.Use || !m.Subscribed || m.NonExistent || validity[m.UIDValidity] {
				f.Errorf("unexpected %+v", m)
			}
			if i == 0 && m.Name != mail.Inbox {
				f.Errorf("first is %q", m.Name)
			}
			validity[m.UIDValidity] = true
			delete(want, m.Name)
			equal(f, "UIDNEXT", m.UIDNext, 1)
			if m.HighestModSeq == 0 || m.HighestModSeq > f.account().ModSeq {
				f.Errorf("HIGHESTMODSEQ %d of an empty mailbox, account %d", m.HighestModSeq, f.account().ModSeq)
			}
		}
		if len(want) != 0 {
			f.Errorf("missing %v", want)
		}
	}},
}

var appendProperties = []property{
	{"append gives the next UIDs in order under one MODSEQ", func(f *fixture) {
		before := f.account().ModSeq
		res := f.add("INBOX", 0, mail.Seen, mail.Deleted)
		m := f.mailbox("INBOX")
		equal(f, "UIDs", res.UIDs.String(), "1:3")
		equal(f, "mailbox", res.Mailbox, m.ID)
		equal(f, "UIDVALIDITY", res.UIDValidity, m.UIDValidity)
		equal(f, "MODSEQ", res.ModSeq, before+1)
		equal(f, "HIGHESTMODSEQ", m.HighestModSeq, res.ModSeq)
		equal(f, "messages", m.Messages, 3)
		equal(f, "unseen", m.Unseen, 2)
		equal(f, "deleted", m.Deleted, 1)
		equal(f, "UIDNEXT", m.UIDNext, 4)
		for i, fl := range f.flags(m.ID, 0) {
			equal(f, "flags", fl.Flags, []mail.Flags{0, mail.Seen, mail.Deleted}[i])
			equal(f, "MODSEQ of a message", fl.ModSeq, res.ModSeq)
		}
		seen := map[mail.EmailID]bool{}
		for _, msg := range f.messages(m.ID) {
			if seen[msg.EmailID] || msg.EmailID == (mail.EmailID{}) || msg.ThreadID == (mail.ThreadID{}) {
				f.Errorf("EMAILID %v, THREADID %v", msg.EmailID, msg.ThreadID)
			}
			seen[msg.EmailID] = true
			equal(f, "created", msg.Created, res.ModSeq)
		}
	}},
	{"append keeps the internal date and counts octets", func(f *fixture) {
		when := mail.Instant(86_400_000_000)
		f.do(mail.Append{Mailbox: f.id("Sent"), Messages: []mail.NewMessage{
			{Body: f.stage("a: b\r\n\r\n12345"), InternalDate: when},
		}})
		msg := f.messages(f.id("Sent"))[0]
		equal(f, "INTERNALDATE", msg.InternalDate, when)
		equal(f, "size", msg.Size, 13)
		equal(f, "mailbox size", f.mailbox("Sent").Size, 13)
		equal(f, "octets used", f.account().Quota.UsedOctets, 13)
		equal(f, "messages used", f.account().Quota.UsedMessages, 1)
	}},
	{"a copy of another account's message keeps its ids", func(f *fixture) {
		email, thread := mail.EmailID{1, 2}, mail.ThreadID{3, 4}
		one := "Message-ID: <one@example.org>\r\n\r\n"
		f.do(mail.Append{Mailbox: f.id("Sent"), Messages: []mail.NewMessage{{Body: f.stage(one), EmailID: email, ThreadID: thread}}})
		f.do(mail.Append{Mailbox: f.id("Sent"), Messages: []mail.NewMessage{
			{Body: f.stage("In-Reply-To: <one@example.org>\r\n\r\n"), EmailID: mail.EmailID{5}, ThreadID: mail.ThreadID{6}},
		}})
		list := f.messages(f.id("Sent"))
		equal(f, "EMAILID", list[0].EmailID, email)
		equal(f, "THREADID", list[0].ThreadID, thread)
		equal(f, "EMAILID of the reply", list[1].EmailID, mail.EmailID{5})
		equal(f, "THREADID of the reply, which is known here", list[1].ThreadID, thread)
	}},
	{"an imported message has the UIDL of its old server, and so have its copies", func(f *fixture) {
		longest := strings.Repeat("~", mail.MaxUIDL)
		f.do(mail.Append{Mailbox: f.id("INBOX"), Messages: []mail.NewMessage{
			{Body: f.stage("x"), UIDL: "!0000abcd"}, {Body: f.stage("y")}, {Body: f.stage("z"), UIDL: longest},
		}})
		f.do(mail.Copy{From: f.id("INBOX"), UIDs: all, To: f.id("Archive")})
		f.do(mail.Move{From: f.id("Archive"), UIDs: set(1, 2), To: f.id("Trash")})
		f.do(mail.Move{From: f.id("Trash"), UIDs: all, To: f.id("INBOX")})
		for name, want := range map[string]string{"INBOX": "!0000abcd  " + longest + " !0000abcd ", "Archive": longest} {
			var got []string
			for _, m := range f.messages(f.id(name)) {
				got = append(got, m.UIDL)
			}
			equal(f, "UIDLs in "+name, strings.Join(got, " "), want)
		}
		m, err := f.view().Message(f.id("INBOX"), 4)
		equal(f, "UIDL of one message", m.UIDL, "!0000abcd")
		equal(f, "error", err, nil)
	}},
	{"what cannot be a UIDL is refused", func(f *fixture) {
		for _, s := range []string{"a b", "a\x7f", "a\r\n", "\xc3\xbc", strings.Repeat("x", mail.MaxUIDL+1)} {
			f.refused(mail.Append{Mailbox: f.id("INBOX"), Messages: []mail.NewMessage{{Body: f.stage("x"), UIDL: s}}}, mail.ErrCannot)
		}
	}},
	{"content is the canonical octets", func(f *fixture) {
		f.do(mail.Append{Mailbox: f.id("INBOX"), Messages: []mail.NewMessage{
			{Body: f.stage("a: b\nc: d\r\n\r\nbare \r cr, nul \x00, 8 bit \xff\n.\n")},
		}})
		v := f.view()
		msg := f.messages(f.id("INBOX"))[0]
		want := "a: b\r\nc: d\r\n\r\nbare \r cr, nul \x80, 8 bit \xff\r\n.\r\n"
		equal(f, "content", f.content(v, msg), want)
		equal(f, "size", msg.Size, int64(len(want)))
	}},
	{"a large message and an empty one come back whole", func(f *fixture) {
		large := "Subject: large\r\n\r\n" + strings.Repeat("0123456789abcde\r\n", 200_000)
		f.do(mail.Append{Mailbox: f.id("INBOX"), Messages: []mail.NewMessage{
			{Body: f.stage(large)}, {Body: f.stage("")}, {Body: f.stage("Subject: small\r\n\r\n")},
		}})
		v := f.view()
		for i, msg := range f.messages(f.id("INBOX")) {
			if want := []string{large, "", "Subject: small\r\n\r\n"}[i]; f.content(v, msg) != want {
				f.Errorf("message %d of %d octets differs", i, len(want))
			}
		}
		c, err := v.Open(f.Context(), f.messages(f.id("INBOX"))[0])
		if err != nil {
			f.Fatal(err)
		}
		defer c.Close()
		part := make([]byte, 100)
		at := int64(1<<20 - 50) // across the chunks of a journal
		if _, err := c.ReadAt(part, at); err != nil || string(part) != large[at:at+100] {
			f.Errorf("read across: %q, %v", part, err)
		}
		if n, err := c.ReadAt(part, c.Size()-10); n != 10 || !errors.Is(err, io.EOF) {
			f.Errorf("read at the end: %d, %v", n, err)
		}
	}},
	{"staging more than the limit keeps nothing", func(f *fixture) {
		if _, err := f.acct.Stage(f.Context(), strings.NewReader("12345678\n"), 9); !errors.Is(err, mail.ErrTooLarge) {
			f.Errorf("9 octets that become 10: %v", err)
		}
		b, err := f.acct.Stage(f.Context(), strings.NewReader("12345678\n"), 10)
		if err != nil {
			f.Fatal(err)
		}
		equal(f, "size", b.Size(), 10)
		if err := b.Close(); err != nil {
			f.Error(err)
		}
	}},
	{"append is refused whole", func(f *fixture) {
		f.refused(mail.Append{Mailbox: mail.MailboxID{9}, Messages: []mail.NewMessage{{Body: f.stage("x")}}}, mail.ErrNoMailbox)
		f.do(mail.SetQuota{LimitMessages: 2})
		two := mail.Append{Mailbox: f.id("INBOX"), Messages: []mail.NewMessage{{Body: f.stage("x")}, {Body: f.stage("y")}}}
		f.do(two)
		f.refused(mail.Append{Mailbox: f.id("INBOX"), Messages: []mail.NewMessage{{Body: f.stage("z")}}}, mail.ErrOverQuota)
		f.do(mail.SetQuota{LimitOctets: 10})
		big := mail.NewMessage{Body: f.stage("123456789")}
		f.refused(mail.Append{Mailbox: f.id("INBOX"), Messages: []mail.NewMessage{big}}, mail.ErrOverQuota)
		equal(f, "listed", f.listed(f.id("INBOX")), "1:2")
	}},
	{"threads follow Message-ID, References and In-Reply-To", func(f *fixture) {
		for _, h := range []string{
			"Message-ID: <b@x>\r\nReferences: <a@x>\r\n", "Message-ID: <c@x>\r\nIn-Reply-To: <a@x>\r\n",
			"Message-ID: <a@x>\r\n", "Message-ID: <z@x>\r\n",
			// Both are known: the first decides, and threads are never merged.
			"Message-ID: <y@x>\r\nReferences: <z@x> <b@x>\r\n", "Message-ID: <x@x>\r\nReferences: <c@x> <z@x>\r\n",
		} {
			f.do(mail.Append{Mailbox: f.id("INBOX"), Messages: []mail.NewMessage{{Body: f.stage(h + "\r\n")}}})
		}
		m := f.messages(f.id("INBOX"))
		if m[4].ThreadID != m[3].ThreadID || m[5].ThreadID != m[0].ThreadID {
			f.Errorf("threads of two references %v %v, theirs %v %v", m[4].ThreadID, m[5].ThreadID, m[3].ThreadID, m[0].ThreadID)
		}
		if m[1].ThreadID != m[0].ThreadID || m[2].ThreadID != m[0].ThreadID || m[3].ThreadID == m[0].ThreadID {
			f.Errorf("threads %v %v %v %v", m[0].ThreadID, m[1].ThreadID, m[2].ThreadID, m[3].ThreadID)
		}
	}},
}
