package state

import (
	"slices"
	"testing"

	"github.com/tandemail/tandemail/internal/mail"
)

func TestGrantsOfAMailboxAreBounded(t *testing.T) {
	h := newHarness(t)
	a := h.account(mail.AccountID{1})
	inbox := h.box(a, "INBOX").ID
	for i := range mail.MaxGrants {
		h.do(a, mail.SetACL{Mailbox: inbox, User: mail.AccountID{9, byte(i >> 8), byte(i)}, Rights: mail.MayRead})
	}
	op := mail.SetACL{Mailbox: inbox, User: mail.AccountID{8}, Rights: mail.MayRead}
	if out := h.try(a, op); out.Code != Limit {
		t.Errorf("one more: %v", out.Code.Err())
	}
	h.do(a, mail.SetACL{Mailbox: inbox, User: mail.AccountID{9, 1}, Rights: mail.AllRights})
	h.do(a, mail.SetACL{Mailbox: inbox, User: mail.AccountID{9, 2}, Mode: mail.DeleteGrant})
	h.do(a, op)
	h.audit()
}

func TestHistoryTellsWhoseRightsChanged(t *testing.T) {
	h := newHarness(t)
	a, bob := h.account(mail.AccountID{1}), mail.AccountID{2}
	inbox := h.box(a, "INBOX").ID
	h.do(a, mail.SetACL{Mailbox: inbox, User: bob, Rights: mail.MayRead | mail.MayAdmin})
	h.apply(h.build.ProposeAs(a, bob, mail.Request{
		Actor: mail.Actor{User: "bob"}, Op: mail.SetACL{Mailbox: inbox, Mode: mail.AddRights, Rights: mail.MayLookup},
	}))
	h.do(a, mail.SetACL{Mailbox: inbox, User: a, Mode: mail.RemoveRights, Rights: mail.MayPost})
	h.do(a, mail.SetACL{Mailbox: inbox, User: a, Mode: mail.DeleteGrant})
	var got []Deed
	for d, err := range History(h.kv, a) {
		if err != nil {
			t.Fatal(err)
		}
		if d.Kind == DeedSetACL {
			got = append(got, Deed{Actor: d.Actor, Mailbox: d.Mailbox, Grantee: d.Grantee, Rights: d.Rights})
		}
	}
	want := []Deed{
		{Mailbox: inbox, Grantee: bob, Rights: mail.MayRead | mail.MayAdmin},
		{Mailbox: inbox, Rights: mail.MayLookup, Actor: mail.Actor{User: "bob"}},
		{Mailbox: inbox, Grantee: a, Rights: mail.AllRights &^ mail.MayPost},
		{Mailbox: inbox, Grantee: a, Rights: mail.AllRights},
	}
	if !slices.EqualFunc(got, want, func(a, b Deed) bool {
		return a.Actor == b.Actor && a.Mailbox == b.Mailbox && a.Grantee == b.Grantee && a.Rights == b.Rights
	}) {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

// TestMailboxGoesWithAllThatUsersHadOfIt: grants and what was seen wait with a deleted
// mailbox, and go with it.
func TestMailboxGoesWithAllThatUsersHadOfIt(t *testing.T) {
	h := newHarness(t)
	a, bob := h.account(mail.AccountID{1}), mail.AccountID{2}
	h.add(a, "Sent", make([]mail.Flags, 200)...)
	sent := h.box(a, "Sent").ID
	h.do(a, mail.SetACL{Mailbox: sent, User: bob, Rights: mail.AllRights})
	h.apply(h.build.ProposeAs(a, bob, mail.Request{Op: mail.Store{Mailbox: sent, UIDs: everyUID, Mode: mail.AddFlags, Flags: mail.Seen}}))
	h.do(a, mail.Delete{Name: "Sent"})
	h.audit()
	h.undelete(a, Undelete{Mailbox: sent, Name: "Back"})
	v := h.view(a).As(bob)
	if m, err := v.Lookup("Back"); err != nil || m.Unseen != 0 || m.Rights != mail.AllRights {
		t.Errorf("came back as %+v, %v", m, err)
	}
	h.audit()
	h.do(a, mail.Delete{Name: "Back"})
	for h.purge(a, Everything).Result.More {
		h.audit()
	}
	for _, kind := range []byte{kindGrants, kindPrivate, kindSeen} {
		equal(t, "keys of kind "+string(rune(kind)), h.keys(a, kind), 0)
	}
	h.audit()
}

// TestForkOutdatesWhatAUserKnows: after a fork all of a user's MODSEQs are new, and what
// he has seen is as it was.
func TestForkOutdatesWhatAUserKnows(t *testing.T) {
	h := newHarness(t)
	a, bob := h.account(mail.AccountID{1}), mail.AccountID{2}
	h.add(a, "INBOX", 0, 0)
	inbox := h.box(a, "INBOX").ID
	h.do(a, mail.SetACL{Mailbox: inbox, User: bob, Rights: mail.AllRights})
	h.apply(h.build.ProposeAs(a, bob, mail.Request{Op: mail.Store{Mailbox: inbox, UIDs: everyUID, Mode: mail.AddFlags, Flags: mail.Seen}}))
	before := h.box(a, "INBOX").HighestModSeq
	h.apply(h.build.Fork(mail.Actor{}, 0))
	n := 0
	for f, err := range h.view(a).As(bob).Flags(inbox, 1, 2, before) {
		if err != nil || f.Flags != mail.Seen {
			t.Errorf("%+v, %v", f, err)
		}
		n++
	}
	equal(t, "messages changed since", n, 2)
	h.add(a, "INBOX", 0)
	h.audit()
}
