package state

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/tandemail/tandemail/internal/mail"
)

func (h *harness) history(a mail.AccountID) (list []Deed) {
	h.t.Helper()
	for d, err := range History(h.kv, a) {
		if err != nil {
			h.t.Fatal(err)
		}
		list = append(list, d)
	}
	return list
}

func TestHistorySaysWhoDidWhat(t *testing.T) {
	h := newHarness(t)
	a := h.account(mail.AccountID{1})
	inbox, sent := h.box(a, "INBOX").ID, h.box(a, "Sent").ID
	actor := mail.Actor{User: "u", By: "v", Session: mail.SessionID{7}, Remote: "192.0.2.1", Command: "X"}
	do := func(op mail.Op) mail.Result {
		t.Helper()
		out := h.apply(h.build.Propose(a, mail.Request{Actor: actor, Op: op}))
		equal(t, fmt.Sprintf("%T", op), out.Code, Done)
		return out.Result
	}
	h.apply(h.build.Deliver(Delivery{Body: h.body("x"), Recipients: []Recipient{{Account: a}}}))
	do(mail.Append{Mailbox: inbox, Messages: []mail.NewMessage{{Body: h.body("x")}, {Body: h.body("y")}}})
	do(mail.Store{Mailbox: inbox, UIDs: everyUID, Mode: mail.AddFlags, Flags: mail.Seen})
	do(mail.Move{From: inbox, UIDs: mail.UIDSet{{Lo: 3, Hi: 3}}, To: sent})
	do(mail.Store{Mailbox: inbox, UIDs: everyUID, Mode: mail.AddFlags, Flags: mail.Deleted})
	do(mail.Store{Mailbox: inbox, UIDs: mail.UIDSet{{Lo: 1, Hi: 1}}, Mode: mail.RemoveFlags, Flags: mail.Deleted})
	by := do(mail.Expunge{Mailbox: inbox, UIDs: everyUID}).ModSeq
	do(mail.Expunge{Mailbox: inbox, UIDs: everyUID}) // nothing happens
	do(mail.SetMetadata{Mailbox: inbox, Entries: []mail.Metadata{{Name: "/Shared/comment", Value: []byte("x")}, {Name: "/private/comment"}}})
	do(mail.Subscribe{Name: "inbox", On: false})
	do(mail.Subscribe{Name: "inbox", On: true})
	do(mail.Create{Name: "inbox/x"})
	do(mail.Rename{From: "INBOX/x", To: "y"})
	y := h.box(a, "y").ID
	do(mail.Delete{Name: "y"})
	h.undelete(a, Undelete{Mailbox: y, Name: "z"})
	h.undelete(a, Undelete{Mailbox: inbox, UIDs: everyUID, To: sent})
	h.apply(h.build.Freeze(mail.Actor{}, a, true, "why"))
	h.apply(h.build.DeleteAccount(mail.Actor{}, a))
	var got []string
	for _, d := range h.history(a) {
		if d.Kind != DeedCreateAccount && d.Kind != DeedFreeze && d.Kind != DeedDeleteAccount && !strings.HasPrefix(d.Kind, "undelete") && d.Actor != actor {
			t.Errorf("%s by %+v", d.Kind, d.Actor)
		}
		if d.At != mail.InstantOf(h.now) {
			t.Errorf("%s at %v", d.Kind, d.At)
		}
		got = append(got, fmt.Sprintf("%s %q>%q %v>%v", d.Kind, d.Name, d.NewName, d.UIDs, d.ToUIDs)+strings.Join(d.Entries, " "))
	}
	want := `create-account "">"" >
append "">"" 2:3>
move "">"" 3>1
flag-deleted "">"" 1:2>
expunge "">"" 2>
metadata "">"" >/shared/comment
unsubscribe "INBOX">"" >
subscribe "">"INBOX" >
create-mailbox "">"INBOX/x" >
rename-mailbox "INBOX/x">"y" >
delete-mailbox "y">"" >
undelete-mailbox "">"z" >
undelete "">"" 2>2
freeze "">"" >
delete-account "">"" >`
	if s := strings.Join(got, "\n"); s != want {
		t.Errorf("history:\n%s\nwant:\n%s", s, want)
	}
	d, ok, err := DeedAt(h.kv, a, by)
	if !ok || err != nil || d.Kind != DeedExpunge || d.ModSeq != by || d.Mailbox != inbox {
		t.Errorf("deed at %d: %+v, %v, %v", by, d, ok, err)
	}
}

func TestHistoryIsBoundedAndForgotten(t *testing.T) {
	h := newHarness(t)
	a := h.account(mail.AccountID{1})
	inbox := h.box(a, "INBOX").ID
	h.add(a, "INBOX", make([]mail.Flags, 1000)...)
	var odd []mail.UIDRange
	for u := mail.UID(1); u <= 1000; u += 2 {
		odd = append(odd, mail.UIDRange{Lo: u, Hi: u})
	}
	uids := mail.NewUIDSet(odd...)
	for i := range 1_000 {
		f := []mail.Flags{mail.Deleted, mail.Deleted | mail.Seen}[i%2]
		h.do(a, mail.Store{Mailbox: inbox, UIDs: uids, Flags: f})
		h.now = h.now.Add(time.Second)
	}
	list := h.history(a)
	if n := len(list); n < 900 || n > 999 {
		t.Errorf("%d deeds are kept", n)
	}
	if list[0].Cut || len(list[0].UIDs) != 500 {
		t.Errorf("%d ranges, cut %v", len(list[0].UIDs), list[0].Cut)
	}
	h.audit()
	h.do(a, mail.Copy{From: inbox, UIDs: mail.UIDSet{{Lo: 2, Hi: 1000}}, To: h.box(a, "Sent").ID})
	half := list[len(list)/2].At
	equal(t, "more", h.apply(h.build.Purge(mail.Actor{}, a, Purge{History: half})).Result.More, false)
	equal(t, "the oldest left", h.history(a)[0].At > half, true)
	h.audit()
	h.apply(h.build.Purge(mail.Actor{}, a, Purge{History: Everything}))
	equal(t, "left", h.keys(a, kindHistory), 0)
	h.audit()
}

func TestHistoryIsTheSameOnEveryCopy(t *testing.T) {
	h := newHarness(t)
	a := h.account(mail.AccountID{1})
	h.do(a, mail.Create{Name: "x"})
	sum := h.digest()
	k := accountKey(nil, a, kindHistory).uint64(uint64(h.history(a)[1].ModSeq))
	if err := h.kv.Delete(k); err != nil {
		t.Fatal(err)
	}
	if h.digest() == sum {
		t.Error("a deed that is missing is not in the store's digest")
	}
	before, _ := Digest(h.kv, a)
	if err := h.kv.Set(k, []byte("x")); err != nil {
		t.Fatal(err)
	}
	if after, _ := Digest(h.kv, a); after != before {
		t.Error("the history is in the account's digest")
	}
}
