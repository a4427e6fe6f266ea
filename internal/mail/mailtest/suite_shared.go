package mailtest

import (
	"errors"
	"fmt"
	"strings"

	"github.com/tandemail/tandemail/internal/mail"
)

// Users who are not the owner.
var (
	bob = mail.AccountID{0xb0, 1}
	eve = mail.AccountID{0xe0, 1}
)

// as is a session of another user.
func (f *fixture) as(user mail.AccountID) *fixture {
	g := *f
	g.acct, g.session = f.acct.As(user), mail.SessionID(user)
	return &g
}

// grant gives a user these rights, and no others.
func (f *fixture) grant(box string, user mail.AccountID, letters string) {
	f.Helper()
	rights, ok := mail.ParseRights(letters)
	if !ok {
		f.Fatalf("rights %q", letters)
	}
	f.do(mail.SetACL{Mailbox: f.id(box), User: user, Rights: rights})
}

func (f *fixture) acl(box string) string {
	f.Helper()
	list, err := f.view().ACL(f.id(box))
	if err != nil {
		f.Fatal(err)
	}
	var parts []string
	for _, g := range list {
		parts = append(parts, fmt.Sprintf("%x:%v", g.User[0], g.Rights))
	}
	return strings.Join(parts, " ")
}

// shown lists what is shown, computed names in parentheses.
func (f *fixture) shown() string {
	f.Helper()
	var list []string
	for _, m := range collect(f, f.view().Mailboxes()) {
		if m.NonExistent {
			m.Name = "(" + m.Name + ")"
		}
		list = append(list, m.Name)
	}
	return strings.Join(list, " ")
}

// seen lists the UIDs that the user has seen, and checks the counter.
func (f *fixture) seen(box string) string {
	f.Helper()
	m := f.mailbox(box)
	var set mail.UIDSet
	for _, fl := range f.flags(m.ID, 0) {
		if fl.Flags&mail.Seen != 0 {
			set = set.Add(fl.UID)
		}
	}
	equal(f, "unseen in "+box, int(m.Unseen), int(m.Messages)-set.Len())
	return set.String()
}

func (f *fixture) mark(box string, uids ...mail.UID) mail.Result {
	f.Helper()
	return f.do(mail.Store{Mailbox: f.id(box), UIDs: set(uids...), Mode: mail.AddFlags, Flags: mail.Seen})
}

var sharedProperties = []property{
	{"a mailbox is its owner's until it is granted", func(f *fixture) {
		f.add("INBOX", 0)
		id, b := f.id("INBOX"), f.as(bob)
		equal(f, "names", b.shown(), "")
		equal(f, "subscriptions", len(collect(f, b.view().Subscriptions())), 0)
		if _, err := b.view().Lookup("INBOX"); !errors.Is(err, mail.ErrNoMailbox) {
			f.Errorf("look-up: %v", err)
		}
		for _, err := range b.view().Messages(id, 1, maxUID) {
			if !errors.Is(err, mail.ErrNoMailbox) {
				f.Errorf("messages: %v", err)
			}
		}
		for _, op := range []mail.Op{
			mail.Append{Mailbox: id, Messages: []mail.NewMessage{{Body: b.stage("x")}}},
			mail.Store{Mailbox: id, UIDs: all, Flags: mail.Seen},
			mail.Copy{From: id, UIDs: all, To: id},
			mail.Expunge{Mailbox: id, UIDs: all},
			mail.Delete{Name: "Sent"},
			mail.Rename{From: "Sent", To: "x"},
			mail.SetACL{Mailbox: id, User: bob, Rights: mail.AllRights},
		} {
			b.refused(op, mail.ErrNoMailbox)
		}
		for _, op := range []mail.Op{
			mail.Create{Name: "x"}, mail.Rename{From: "INBOX", To: "x"}, mail.SetQuota{LimitMessages: 1}, mail.Subscribe{Name: "x", On: true},
		} {
			b.refused(op, mail.ErrNoPerm)
		}
		equal(f, "rights of the owner", f.mailbox("INBOX").Rights, mail.AllRights)
		equal(f, "rights by the owner's id", f.as(f.account().ID).mailbox("INBOX").Rights, mail.AllRights)
	}},
	{"grants are replaced, added to, taken from and deleted", func(f *fixture) {
		f.grant("INBOX", bob, "lr")
		f.grant("INBOX", mail.AccountID{}, "l")
		id := f.id("INBOX")
		equal(f, "grants", f.acl("INBOX"), "0:l b0:lr")
		equal(f, "bob's", f.as(bob).mailbox("INBOX").Rights.String(), "lr")
		equal(f, "eve's", f.as(eve).mailbox("INBOX").Rights.String(), "l")
		before := f.account()
		f.grant("INBOX", bob, "rl")
		equal(f, "MODSEQ after what was so", f.account().ModSeq, before.ModSeq)
		f.do(mail.SetACL{Mailbox: id, User: bob, Mode: mail.AddRights, Rights: mail.MayInsert})
		f.do(mail.SetACL{Mailbox: id, User: bob, Mode: mail.RemoveRights, Rights: mail.MayRead | mail.MayAdmin})
		equal(f, "grants", f.acl("INBOX"), "0:l b0:li")
		f.do(mail.SetACL{Mailbox: id, User: bob, Mode: mail.DeleteGrant})
		f.do(mail.SetACL{Mailbox: id, User: eve, Mode: mail.DeleteGrant})
		equal(f, "grants", f.acl("INBOX"), "0:l")
		f.grant("INBOX", mail.AccountID{}, "")
		equal(f, "grants", f.acl("INBOX"), "")
		equal(f, "shared", f.mailbox("INBOX").Shared, false)
		f.refused(mail.SetACL{Mailbox: mail.MailboxID{9}, User: bob, Rights: mail.MayRead}, mail.ErrNoMailbox)
	}},
	{"an owner may take rights from himself, but not l and a", func(f *fixture) {
		owner := f.account().ID
		f.add("INBOX", 0)
		f.grant("INBOX", owner, "r")
		equal(f, "rights", f.mailbox("INBOX").Rights.String(), "lra")
		id := f.id("INBOX")
		f.refused(mail.Store{Mailbox: id, UIDs: all, Mode: mail.AddFlags, Flags: mail.Seen}, mail.ErrNoPerm)
		f.refused(mail.Expunge{Mailbox: id, UIDs: all}, mail.ErrNoPerm)
		f.do(mail.SetACL{Mailbox: id, User: owner, Mode: mail.DeleteGrant})
		equal(f, "rights", f.mailbox("INBOX").Rights, mail.AllRights)
		equal(f, "shared", f.mailbox("INBOX").Shared, false)
		f.do(mail.SetACL{Mailbox: id, User: owner, Mode: mail.RemoveRights, Rights: mail.MayExpunge})
		f.refused(mail.Expunge{Mailbox: id, UIDs: all}, mail.ErrNoPerm)
		f.grant("INBOX", owner, mail.AllRights.String())
		f.do(mail.Expunge{Mailbox: id, UIDs: all})
	}},
	{"a user is shown what he may look up", func(f *fixture) {
		for _, name := range []string{"a", "a/b", "a/b/c", "d/e"} {
			f.do(mail.Create{Name: name})
		}
		f.grant("a/b/c", bob, "l")
		f.grant("d/e", bob, "lr")
		f.grant("Sent", bob, "r")
		b := f.as(bob)
		equal(f, "names", b.shown(), "(a) (a/b) a/b/c (d) d/e")
		equal(f, "use", b.mailbox("Sent").Use, "")
		equal(f, "rights", b.mailbox("Sent").Rights, mail.MayRead)
		f.do(mail.SetACL{Mailbox: f.id("d/e"), User: bob, Mode: mail.DeleteGrant})
		equal(f, "names", b.shown(), "(a) (a/b) a/b/c")
		if _, err := b.view().Mailbox(f.id("d/e")); !errors.Is(err, mail.ErrNoMailbox) {
			f.Errorf("a mailbox that is granted no more: %v", err)
		}
	}},
	{"what a user has seen is his own", func(f *fixture) {
		f.add("INBOX", mail.Seen, 0, 0, mail.Flagged)
		f.grant("INBOX", bob, "lrsw")
		f.grant("INBOX", eve, "lrs")
		b, e := f.as(bob), f.as(eve)
		equal(f, "bob has seen", b.seen("INBOX"), "")
		before := f.mailbox("INBOX").HighestModSeq
		res := b.mark("INBOX", 2, 3)
		equal(f, "changed", res.UIDs.String(), "2:3")
		e.mark("INBOX", 4)
		equal(f, "owner has seen", f.seen("INBOX"), "1")
		equal(f, "bob has seen", b.seen("INBOX"), "2:3")
		equal(f, "eve has seen", e.seen("INBOX"), "4")
		equal(f, "changed for bob", len(b.flags(f.id("INBOX"), before)), 2)
		equal(f, "changed for the owner", len(f.flags(f.id("INBOX"), before)), 0)
		equal(f, "bob's MODSEQ", b.flags(f.id("INBOX"), before)[0].ModSeq, res.ModSeq)
		equal(f, "again", b.mark("INBOX", 2, 3).ModSeq, 0)
		f.do(mail.Store{Mailbox: f.id("INBOX"), UIDs: set(2), Mode: mail.ReplaceFlags, Flags: mail.Draft})
		b.do(mail.Store{Mailbox: f.id("INBOX"), UIDs: set(1, 3), Mode: mail.ReplaceFlags, Flags: mail.Answered})
		equal(f, "bob has seen", b.seen("INBOX"), "2")
		equal(f, "owner has seen", f.seen("INBOX"), "1")
		equal(f, "flags of 1", f.flags(f.id("INBOX"), 0)[0].Flags, mail.Seen|mail.Answered)
	}},
	{"a user's conditional store minds his own changes", func(f *fixture) {
		f.add("INBOX", 0, 0)
		f.grant("INBOX", bob, "lrsw")
		b, since := f.as(bob), f.mailbox("INBOX").HighestModSeq
		b.mark("INBOX", 1)
		op := mail.Store{Mailbox: f.id("INBOX"), UIDs: set(1, 2), Mode: mail.AddFlags, Flags: mail.Flagged, UnchangedSince: &since}
		res := b.do(op)
		equal(f, "changed", res.UIDs.String(), "2")
		equal(f, "modified", res.Modified.String(), "1")
		res = f.do(op)
		equal(f, "changed by the owner", res.UIDs.String(), "1")
	}},
	{"flags that a user may not set are left as they are", func(f *fixture) {
		f.addKeyword("INBOX", "old")
		id := f.id("INBOX")
		f.do(mail.Store{Mailbox: id, UIDs: all, Mode: mail.AddFlags, Flags: mail.Deleted | mail.Flagged})
		for _, t := range []struct {
			rights, want string
			keywords     bool
		}{
			{"lrs", `\Flagged \Deleted \Seen`, true},
			{"lrt", `\Flagged \Deleted`, true},
			{"lrw", `\Deleted \Draft`, false},
			{"lrsw", `\Deleted \Seen \Draft`, false},
		} {
			f.grant("INBOX", bob, t.rights)
			b := f.as(bob)
			f.do(mail.Store{Mailbox: id, UIDs: all, Flags: mail.Deleted | mail.Flagged, Keywords: []string{"old"}})
			b.do(mail.Store{Mailbox: id, UIDs: all, Flags: mail.Deleted | mail.Seen | mail.Draft})
			got := b.flags(id, 0)[0]
			equal(f, "flags with "+t.rights, strings.Join(got.Flags.Names(), " "), t.want)
			equal(f, "keyword with "+t.rights, !got.Keywords.IsZero(), t.keywords)
			f.grant("INBOX", bob, "lrs")
			b.do(mail.Store{Mailbox: id, UIDs: all, Mode: mail.RemoveFlags, Flags: mail.Seen})
		}
		b := f.as(bob)
		f.grant("INBOX", bob, "lrs")
		b.refused(mail.Store{Mailbox: id, UIDs: all, Mode: mail.AddFlags, Flags: mail.Deleted, Keywords: []string{"new"}}, mail.ErrNoPerm)
		f.grant("INBOX", bob, "li")
		b.do(mail.Append{Mailbox: id, Messages: []mail.NewMessage{{Body: b.stage("x"), Flags: mail.AllFlags, Keywords: []string{"new"}}}})
		equal(f, "flags of a message of bob's", f.flags(id, 0)[1].Flags, 0)
	}},
	{"an inserted message is seen by who inserted it", func(f *fixture) {
		f.grant("INBOX", bob, "lrsi")
		b := f.as(bob)
		b.add("INBOX", mail.Seen, 0, mail.Seen)
		equal(f, "bob has seen", b.seen("INBOX"), "1,3")
		equal(f, "owner has seen", f.seen("INBOX"), "")
		f.add("INBOX", mail.Seen)
		equal(f, "bob has seen", b.seen("INBOX"), "1,3")
	}},
	{"copies and moves keep what their users have seen", func(f *fixture) {
		f.add("INBOX", make([]mail.Flags, 70)...)
		f.grant("INBOX", bob, "lrste")
		f.grant("INBOX", eve, "lrs")
		f.grant("Sent", bob, "lrsi")
		f.grant("Sent", eve, "lrs")
		b, e := f.as(bob), f.as(eve)
		b.mark("INBOX", 2, 65, 69)
		e.mark("INBOX", 3, 65)
		f.mark("INBOX", 4)
		f.do(mail.Copy{From: f.id("INBOX"), UIDs: mail.UIDSet{{Lo: 1, Hi: 4}, {Lo: 65, Hi: 65}}, To: f.id("Sent")})
		equal(f, "bob has seen in Sent", b.seen("Sent"), "2,5")
		equal(f, "eve has seen in Sent", e.seen("Sent"), "3,5")
		equal(f, "owner has seen in Sent", f.seen("Sent"), "4")
		res := b.do(mail.Move{From: f.id("INBOX"), UIDs: mail.UIDSet{{Lo: 64, Hi: 70}}, To: f.id("Sent")})
		equal(f, "moved", res.UIDs.String(), "6:12")
		equal(f, "bob has seen in Sent", b.seen("Sent"), "2,5,7,11")
		equal(f, "eve has seen in Sent", e.seen("Sent"), "3,5,7")
		equal(f, "bob has seen", b.seen("INBOX"), "2")
		f.grant("Sent", bob, "lri")
		b.do(mail.Copy{From: f.id("INBOX"), UIDs: set(2, 3), To: f.id("Sent")})
		equal(f, "bob, without s,", b.seen("Sent"), "2,5,7,11")
		equal(f, "eve", e.seen("Sent"), "3,5,7,14")
	}},
	{"what is expunged was seen by nobody", func(f *fixture) {
		f.add("INBOX", mail.Deleted, mail.Deleted, 0)
		f.grant("INBOX", bob, "lrs")
		b := f.as(bob)
		b.mark("INBOX", 1, 2, 3)
		f.do(mail.Expunge{Mailbox: f.id("INBOX"), UIDs: set(1)})
		equal(f, "bob has seen", b.seen("INBOX"), "2:3")
		f.do(mail.Expunge{Mailbox: f.id("INBOX"), UIDs: all})
		f.do(mail.Store{Mailbox: f.id("INBOX"), UIDs: all, Mode: mail.AddFlags, Flags: mail.Deleted})
		f.do(mail.Expunge{Mailbox: f.id("INBOX"), UIDs: all})
		equal(f, "bob has seen", b.seen("INBOX"), "")
		equal(f, "expunged for bob", len(collect(b, b.view().Expunged(f.id("INBOX"), 0))), 3)
	}},
	{"each change needs its rights", func(f *fixture) {
		f.add("INBOX", mail.Deleted, 0)
		f.do(mail.Create{Name: "a"})
		f.do(mail.Create{Name: "a/b"})
		f.grant("Sent", bob, "li")
		id, sent, b := f.id("INBOX"), f.id("Sent"), f.as(bob)
		body := func() []mail.NewMessage { return []mail.NewMessage{{Body: b.stage("x")}} }
		for _, t := range []struct {
			box, need string
			op        mail.Op
		}{
			{"INBOX", "i", mail.Append{Mailbox: id, Messages: body()}},
			{"INBOX", "te", mail.Append{Mailbox: sent, Messages: body(), Replaces: &mail.Replaced{Mailbox: id, UID: 2}}},
			{"INBOX", "s", mail.Store{Mailbox: id, UIDs: all, Mode: mail.AddFlags, Flags: mail.Seen}},
			{"INBOX", "t", mail.Store{Mailbox: id, UIDs: all, Mode: mail.RemoveFlags, Flags: mail.Deleted}},
			{"INBOX", "w", mail.Store{Mailbox: id, UIDs: all, Mode: mail.AddFlags, Keywords: []string{"k"}}},
			{"INBOX", "r", mail.Copy{From: id, UIDs: all, To: sent}},
			{"INBOX", "i", mail.Copy{From: sent, UIDs: all, To: id}},
			{"INBOX", "rte", mail.Move{From: id, UIDs: set(1), To: sent}},
			{"INBOX", "e", mail.Expunge{Mailbox: id, UIDs: all}},
			{"INBOX", "te", mail.Expunge{Mailbox: id, UIDs: set(1), Unmarked: true}},
			{"INBOX", "a", mail.SetACL{Mailbox: id, User: eve, Rights: mail.MayLookup}},
			{"a", "k", mail.Create{Name: "a/c/d"}},
			{"a/b", "x", mail.Delete{Name: "a/b"}},
			{"a", "x", mail.Rename{From: "a/c/d", To: "a/e"}},
		} {
			what := fmt.Sprintf("%T with %s", t.op, t.need)
			if r, ok := t.op.(mail.Rename); ok {
				f.grant("a", bob, "lk")
				f.grant(r.From, bob, "l")
				b.refused(r, mail.ErrNoPerm)
				f.grant(r.From, bob, "lx")
				b.do(r)
				continue
			}
			if t.box == "INBOX" {
				f.grant("Sent", bob, "lri")
			}
			f.grant(t.box, bob, "l")
			b.refused(t.op, mail.ErrNoPerm)
			for i := range t.need {
				less := mail.AllRights
				rights, _ := mail.ParseRights(t.need[i : i+1])
				f.grant(t.box, bob, (less &^ rights).String())
				b.refused(t.op, mail.ErrNoPerm)
			}
			f.grant(t.box, bob, "l"+t.need)
			if _, err := b.try(t.op); err != nil {
				f.Errorf("%s: %v", what, err)
			}
		}
	}},
	{"a new mailbox has the grants of the one above", func(f *fixture) {
		f.do(mail.Create{Name: "team"})
		f.grant("team", bob, "lrk")
		f.grant("team", eve, "l")
		f.do(mail.Create{Name: "team/x"})
		b := f.as(bob)
		b.do(mail.Create{Name: "team/y/z"})
		equal(f, "of the owner's", f.acl("team/x"), "b0:lrk e0:l")
		equal(f, "of bob's", f.acl("team/y/z"), "b0:lrk e0:l")
		b.refused(mail.Create{Name: "other"}, mail.ErrNoPerm)
		b.refused(mail.Create{Name: "team/s", Use: mail.UseAll}, mail.ErrNoPerm)
		f.do(mail.Rename{From: "team", To: "crew"})
		equal(f, "after a rename", f.acl("crew/x"), "b0:lrk e0:l")
		equal(f, "names", f.as(eve).shown(), "crew crew/x (crew/y) crew/y/z")
	}},
	{"a user's command has one effect and one answer", func(f *fixture) {
		f.grant("INBOX", bob, "lrsi")
		b := f.as(bob)
		req := mail.Request{ID: mail.OpID{Session: b.session, Number: 9}, Op: mail.Append{
			Mailbox: f.id("INBOX"), Messages: []mail.NewMessage{{Body: b.stage("x"), Flags: mail.Seen}},
		}}
		first, err := b.acct.Do(f.Context(), req)
		if err != nil {
			f.Fatal(err)
		}
		f.grant("INBOX", bob, "")
		again, err := b.acct.Do(f.Context(), req)
		if err != nil || again.UIDs.String() != first.UIDs.String() {
			f.Errorf("repeated: %+v, %v", again, err)
		}
		equal(f, "messages", f.mailbox("INBOX").Messages, 1)
	}},
	{"a change of rights is signalled", func(f *fixture) {
		ch, stop := f.as(bob).acct.Watch(f.id("INBOX"))
		defer stop()
		f.grant("INBOX", bob, "lr")
		signalled(f, "granted", ch)
		f.grant("INBOX", bob, "")
		signalled(f, "withdrawn", ch)
	}},
}
