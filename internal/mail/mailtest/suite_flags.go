package mailtest

import (
	"fmt"
	"slices"
	"strings"

	"github.com/tandemail/tandemail/internal/mail"
)

var flagProperties = []property{
	{"the recent mark is a user's and only rises", func(f *fixture) {
		f.add("INBOX", 0, 0)
		inbox := f.id("INBOX")
		before := f.account()
		equal(f, "mark before the first", f.acct.SetRecent(inbox, "ann", 2), 0)
		equal(f, "mark before a lower one", f.acct.SetRecent(inbox, "ann", 1), 2)
		f.acct.SetRecent(mail.MailboxID{9}, "ann", 1)
		seen, err := f.view().Recent(inbox, "ann") // at once
		if err != nil {
			f.Fatal(err)
		}
		equal(f, "mark at once", seen, 2)
		f.do(mail.Subscribe{Name: "INBOX", On: true}) // comes after them
		for user, want := range map[string]mail.UID{"ann": 2, "bob": 0} {
			got, err := f.view().Recent(inbox, user)
			if err != nil {
				f.Fatal(err)
			}
			equal(f, "mark of "+user, got, want)
		}
		equal(f, "account", f.account(), before)
	}},
	{"store sets, adds and removes, and says which changed", func(f *fixture) {
		f.add("INBOX", 0, mail.Seen, mail.Flagged)
		box := f.id("INBOX")
		steps := []struct {
			mode    mail.StoreMode
			flags   mail.Flags
			changed string
			want    [3]mail.Flags
		}{
			{mail.AddFlags, mail.Seen, "1,3", [3]mail.Flags{mail.Seen, mail.Seen, mail.Seen | mail.Flagged}},
			{mail.RemoveFlags, mail.Flagged, "3", [3]mail.Flags{mail.Seen, mail.Seen, mail.Seen}},
			{mail.ReplaceFlags, mail.Answered | mail.Deleted, "1:3", [3]mail.Flags{
				mail.Answered | mail.Deleted, mail.Answered | mail.Deleted, mail.Answered | mail.Deleted,
			}},
			{mail.ReplaceFlags, 0, "1:3", [3]mail.Flags{}},
		}
		for i, s := range steps {
			before := f.account().ModSeq
			res := f.do(mail.Store{Mailbox: box, UIDs: all, Mode: s.mode, Flags: s.flags})
			equal(f, fmt.Sprint("changed by step ", i), res.UIDs.String(), s.changed)
			equal(f, "MODSEQ", res.ModSeq, before+1)
			equal(f, "HIGHESTMODSEQ", f.mailbox("INBOX").HighestModSeq, res.ModSeq)
			unseen, deleted := uint32(0), uint32(0)
			for j, fl := range f.flags(box, 0) {
				equal(f, fmt.Sprintf("flags of %d after step %d", fl.UID, i), fl.Flags, s.want[j])
				if (fl.ModSeq == res.ModSeq) != res.UIDs.Contains(fl.UID) {
					f.Errorf("step %d: UID %d has MODSEQ %d", i, fl.UID, fl.ModSeq)
				}
				if fl.Flags&mail.Seen == 0 {
					unseen++
				}
				if fl.Flags&mail.Deleted != 0 {
					deleted++
				}
			}
			equal(f, "unseen", f.mailbox("INBOX").Unseen, unseen)
			equal(f, "deleted", f.mailbox("INBOX").Deleted, deleted)
		}
	}},
	{"setting what is set draws no MODSEQ", func(f *fixture) {
		f.add("INBOX", mail.Seen)
		before := f.account().ModSeq
		for _, op := range []mail.Store{
			{Mode: mail.AddFlags, Flags: mail.Seen},
			{Mode: mail.ReplaceFlags, Flags: mail.Seen},
			{Mode: mail.RemoveFlags, Flags: mail.Draft},
			{Mode: mail.RemoveFlags, Keywords: []string{"$Unknown"}},
		} {
			op.Mailbox, op.UIDs = f.id("INBOX"), all
			res := f.do(op)
			equal(f, "MODSEQ", res.ModSeq, 0)
			equal(f, "UIDs", res.UIDs.Len(), 0)
		}
		equal(f, "account MODSEQ", f.account().ModSeq, before)
		equal(f, "keywords", len(f.mailbox("INBOX").Keywords), 0)
	}},
	{"store passes over messages that do not exist", func(f *fixture) {
		f.add("INBOX", 0, 0)
		res := f.do(mail.Store{Mailbox: f.id("INBOX"), UIDs: set(2, 7, 300), Mode: mail.AddFlags, Flags: mail.Seen})
		equal(f, "changed", res.UIDs.String(), "2")
		f.refused(mail.Store{Mailbox: mail.MailboxID{9}, UIDs: all}, mail.ErrNoMailbox)
	}},
	{"UNCHANGEDSINCE leaves what changed later and reports it", func(f *fixture) {
		first := f.add("INBOX", 0, 0, 0)
		box := f.id("INBOX")
		second := f.do(mail.Store{Mailbox: box, UIDs: set(2), Mode: mail.AddFlags, Flags: mail.Seen})
		store := mail.Store{Mailbox: box, UIDs: all, Mode: mail.AddFlags, Flags: mail.Flagged, UnchangedSince: &first.ModSeq}
		res := f.do(store)
		equal(f, "changed", res.UIDs.String(), "1,3")
		equal(f, "modified", res.Modified.String(), "2")
		store.UnchangedSince = &second.ModSeq
		res = f.do(store)
		equal(f, "changed", res.UIDs.String(), "2")
		equal(f, "modified", res.Modified.String(), "1,3")
		zero := mail.ModSeq(0)
		store.UnchangedSince = &zero
		res = f.do(store)
		equal(f, "modified since 0", res.Modified.String(), "1:3")
		equal(f, "MODSEQ", res.ModSeq, 0)
	}},
	{"CHANGEDSINCE lists exactly what changed after", func(f *fixture) {
		f.add("INBOX", make([]mail.Flags, 200)...)
		box := f.id("INBOX")
		base := f.account().ModSeq
		f.do(mail.Store{Mailbox: box, UIDs: set(3, 150), Mode: mail.AddFlags, Flags: mail.Seen})
		f.do(mail.Store{Mailbox: box, UIDs: set(64), Mode: mail.AddFlags, Flags: mail.Seen})
		var got mail.UIDSet
		for _, fl := range f.flags(box, base) {
			got = got.Add(fl.UID)
		}
		equal(f, "changed", got.String(), "3,64,150")
		equal(f, "after the last", len(f.flags(box, base+2)), 0)
		part := collect(f, f.view().Flags(box, 60, 70, base))
		if len(part) != 1 || part[0].UID != 64 {
			f.Errorf("60:70 changed: %v", part)
		}
		equal(f, "range", len(collect(f, f.view().Flags(box, 63, 128, 0))), 66)
	}},
	{"keywords are kept, whatever their case", func(f *fixture) {
		f.addKeyword("INBOX", "$Forwarded", "Work")
		box := f.id("INBOX")
		res := f.do(mail.Store{Mailbox: box, UIDs: all, Mode: mail.AddFlags, Keywords: []string{"WORK"}})
		equal(f, "set again in other case", res.ModSeq, 0)
		f.do(mail.Store{Mailbox: box, UIDs: all, Mode: mail.AddFlags, Keywords: []string{"later"}})
		f.do(mail.Store{Mailbox: box, UIDs: all, Mode: mail.RemoveFlags, Keywords: []string{"$forwarded"}})
		m := f.mailbox("INBOX")
		equal(f, "table", strings.Join(m.Keywords, " "), "$Forwarded Work later")
		var words []string
		for i, k := range m.Keywords {
			if f.flags(box, 0)[0].Keywords.Has(i) {
				words = append(words, k)
			}
		}
		slices.Sort(words)
		equal(f, "set", strings.Join(words, " "), "Work later")
	}},
	{"a full keyword table refuses new keywords only", func(f *fixture) {
		var words []string
		for i := range mail.MaxKeywords {
			words = append(words, fmt.Sprintf("k%d", i))
		}
		f.addKeyword("INBOX", words...)
		box := f.id("INBOX")
		f.refused(mail.Store{Mailbox: box, UIDs: all, Mode: mail.AddFlags, Keywords: []string{"onemore"}}, mail.ErrLimit)
		f.refused(mail.Append{Mailbox: box, Messages: []mail.NewMessage{
			{Body: f.stage("x"), Keywords: []string{"onemore"}},
		}}, mail.ErrLimit)
		equal(f, "changed", f.do(mail.Store{Mailbox: box, UIDs: all, Mode: mail.RemoveFlags, Keywords: words[:64]}).UIDs.Len(), 1)
		k := f.flags(box, 0)[0].Keywords
		if k.Has(63) || !k.Has(64) || !k.Has(127) {
			f.Errorf("keywords %x", k)
		}
	}},
}
