package mailtest

import "github.com/tandemail/tandemail/internal/mail"

var replaceProperties = []property{
	{"replace adds and removes at once", func(f *fixture) {
		f.add("Drafts", 0, mail.Draft)
		f.add("INBOX", 0)
		drafts, inbox := f.id("Drafts"), f.id("INBOX")
		before := f.account()
		with := func(box mail.MailboxID, text string, old mail.MailboxID, uid mail.UID) mail.Append {
			return mail.Append{
				Mailbox: box, Messages: []mail.NewMessage{{Body: f.stage(text), Flags: mail.Seen}},
				Replaces: &mail.Replaced{Mailbox: old, UID: uid},
			}
		}
		res := f.do(with(drafts, "new\r\n", drafts, 2))
		equal(f, "new UID", res.UIDs.String(), "3")
		equal(f, "replaced", res.Source.String(), "2")
		equal(f, "one MODSEQ", res.ModSeq, before.ModSeq+1)
		equal(f, "listed", f.listed(drafts), "1,3")
		equal(f, "tombstones", len(f.expunged(drafts, before.ModSeq)), 1)
		equal(f, "messages used", f.account().Quota.UsedMessages, before.Quota.UsedMessages)

		res = f.do(with(inbox, "sent\r\n", drafts, 3))
		equal(f, "in another mailbox", res.UIDs.String()+" "+res.Source.String(), "2 3")
		equal(f, "left in the old", f.listed(drafts), "1")
		equal(f, "there in the new", f.listed(inbox), "1:2")

		f.refused(with(drafts, "x", drafts, 3), mail.ErrNoMessage)
		f.refused(with(drafts, "x", mail.MailboxID{9}, 1), mail.ErrNoMailbox)
		f.refused(with(mail.MailboxID{9}, "x", drafts, 1), mail.ErrNoMailbox)
		equal(f, "refused whole", f.listed(drafts), "1")
	}},
	{"the room of a replaced message is free for the new one", func(f *fixture) {
		f.add("INBOX", 0, 0)
		used := f.account().Quota
		f.do(mail.SetQuota{LimitMessages: used.UsedMessages, LimitOctets: used.UsedOctets})
		inbox := f.id("INBOX")
		size := f.messages(inbox)[0].Size
		replace := func(octets int64, uid mail.UID) mail.Append {
			return mail.Append{
				Mailbox: inbox, Messages: []mail.NewMessage{{Body: f.stage(string(make([]byte, octets)))}},
				Replaces: &mail.Replaced{Mailbox: inbox, UID: uid},
			}
		}
		f.refused(replace(size+1, 1), mail.ErrOverQuota)
		f.do(replace(size, 1))
		f.do(mail.SetQuota{LimitMessages: 1, LimitOctets: 1})
		f.refused(replace(size+1, 2), mail.ErrOverQuota)
		f.do(replace(size, 2)) // it takes no more than there was
		equal(f, "octets used", f.account().Quota.UsedOctets, used.UsedOctets)
	}},
}
