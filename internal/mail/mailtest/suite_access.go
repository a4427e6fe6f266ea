package mailtest

import (
	"bytes"

	"github.com/tandemail/tandemail/internal/mail"
)

func (f *fixture) accessKey(m mail.MailboxID) []byte {
	f.Helper()
	k, err := f.view().AccessKey(m)
	if err != nil {
		f.Fatal(err)
	}
	if k != nil && len(k) != mail.AccessKeySize {
		f.Fatalf("access key of %d octets", len(k))
	}
	return k
}

// elsewhere is a mailbox of another account.
var elsewhere = mail.MailboxID{0xee}

var accessProperties = []property{
	{"an access key is made once and stays until it is removed", func(f *fixture) {
		inbox, sent := f.id("INBOX"), f.id("Sent")
		equal(f, "at first", len(f.accessKey(inbox)), 0)
		at := f.account().ModSeq
		f.do(mail.SetAccess{Mailbox: inbox})
		f.do(mail.SetAccess{Mailbox: sent})
		f.do(mail.SetAccess{Mailbox: elsewhere})
		first := f.accessKey(inbox)
		f.do(mail.SetAccess{Mailbox: inbox})
		equal(f, "kept", bytes.Equal(f.accessKey(inbox), first), true)
		equal(f, "another mailbox's is another", bytes.Equal(f.accessKey(sent), first), false)
		f.do(mail.SetAccess{Mailbox: inbox, Drop: true})
		f.do(mail.SetAccess{Mailbox: inbox, Drop: true})
		equal(f, "removed", f.accessKey(inbox) == nil, true)
		f.do(mail.SetAccess{Mailbox: inbox})
		equal(f, "a new one", bytes.Equal(f.accessKey(inbox), first), false)
		f.do(mail.SetAccess{Drop: true})
		for _, m := range []mail.MailboxID{inbox, sent, elsewhere} {
			equal(f, "all removed", f.accessKey(m) == nil, true)
		}
		equal(f, "MODSEQ", f.account().ModSeq, at)
		equal(f, "no metadata", f.metadata(inbox, ""), "")
		f.refused(mail.SetAccess{}, mail.ErrNoMailbox)
	}},
	{"an access key goes with its mailbox, and not with its name", func(f *fixture) {
		id := f.do(mail.Create{Name: "a"}).Mailbox
		f.do(mail.SetAccess{Mailbox: id})
		f.do(mail.Rename{From: "a", To: "b"})
		equal(f, "renamed", len(f.accessKey(id)), mail.AccessKeySize)
		equal(f, "of the name's next", f.accessKey(f.do(mail.Create{Name: "a"}).Mailbox) == nil, true)
		f.do(mail.Delete{Name: "b"})
		equal(f, "deleted", f.accessKey(id) == nil, true)
		f.refused(mail.SetAccess{Mailbox: id}, mail.ErrNoMailbox)
	}},
	{"who watches a mailbox, of any account, is told that its access key is removed", func(f *fixture) {
		inbox, stop := f.acct.Watch(f.id("INBOX"))
		defer stop()
		other, stopOther := f.acct.Watch(elsewhere)
		defer stopOther()
		account, stopAccount := f.acct.Watch(mail.MailboxID{})
		defer stopAccount()
		f.do(mail.SetAccess{Mailbox: f.id("INBOX")})
		f.do(mail.SetAccess{Mailbox: elsewhere})
		f.do(mail.SetAccess{Mailbox: f.id("INBOX"), Drop: true})
		signalled(f, "one", inbox)
		signalled(f, "one, account", account)
		silent(f, "one, another", other)
		f.do(mail.SetAccess{Mailbox: f.id("INBOX")})
		f.do(mail.SetAccess{Drop: true})
		signalled(f, "all", inbox)
		signalled(f, "all, another account's", other)
		signalled(f, "all, account", account)
	}},
	{"access keys are the owner's alone", func(f *fixture) {
		f.grant("INBOX", bob, "lrswipkxtea")
		inbox := f.id("INBOX")
		f.do(mail.SetAccess{Mailbox: inbox})
		equal(f, "to bob", f.as(bob).accessKey(inbox) == nil, true)
		f.as(bob).refused(mail.SetAccess{Mailbox: inbox}, mail.ErrNoPerm)
		f.as(bob).refused(mail.SetAccess{Drop: true}, mail.ErrNoPerm)
		equal(f, "to the owner", len(f.accessKey(inbox)), mail.AccessKeySize)
	}},
}
