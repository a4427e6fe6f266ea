package state

import (
	"slices"
	"testing"
	"time"

	"github.com/tandemail/tandemail/internal/mail"
)

func located(t *testing.T, r Reader, lo, hi mail.BodyID) (list []Located) {
	t.Helper()
	for b, err := range Locations(r, lo, hi) {
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, b)
	}
	return list
}

func TestBodyIsRelocatedOnlyWhileItIsReferredToAndWhereExpected(t *testing.T) {
	h := newHarness(t)
	a := h.account(mail.AccountID{1})
	h.add(a, "INBOX", 0, 0)
	inbox := h.box(a, "INBOX").ID
	before, digest := located(t, h.kv, 0, 0), h.digest()
	if len(before) != 2 || before[0].InPack() || before[0].Body >= before[1].Body {
		t.Fatalf("locations %+v", before)
	}
	first, second := before[0].Body, before[1].Body
	equal(t, "range", len(located(t, h.kv, first, second)), 1)
	equal(t, "range", len(located(t, h.kv, first+1, 0)), 1)

	to := Location{Pack: Packed{ID: 9, Offset: 64, Size: 300}}
	relocate := func(id mail.BodyID, from bool) bool {
		t.Helper()
		moved, err := Relocate(h.kv, id, func(Location) bool { return from }, to)
		if err != nil {
			t.Fatal(err)
		}
		return moved
	}
	equal(t, "from elsewhere", relocate(first, false), false)
	equal(t, "unknown", relocate(first+1, true), false)
	equal(t, "moved", relocate(first, true), true)
	equal(t, "in a pack", located(t, h.kv, 0, second)[0].Pack, to.Pack)
	equal(t, "digest", h.digest(), digest)
	if err := Audit(h.kv); err != nil {
		t.Error(err)
	}
	h.do(a, mail.Expunge{Mailbox: inbox, UIDs: everyUID})
	h.do(a, mail.Store{Mailbox: inbox, UIDs: everyUID, Mode: mail.AddFlags, Flags: mail.Deleted})
	h.do(a, mail.Expunge{Mailbox: inbox, UIDs: everyUID})
	equal(t, "after the expunge", len(located(t, h.kv, 0, 0)), 2)
	h.purge(a, Everything)
	equal(t, "after the purge", len(located(t, h.kv, 0, 0)), 0)
	equal(t, "a dead one", relocate(first, true), false)
}

func TestMessagesOfABodyAreFoundByTheTimeItCame(t *testing.T) {
	h := newHarness(t)
	a := h.account(mail.AccountID{1})
	for range 3000 { // more than one step back
		h.add(a, "INBOX", 0)
		h.now = h.now.Add(time.Second)
	}
	inbox, sent := h.box(a, "INBOX").ID, h.box(a, "Sent").ID
	var at mail.Instant
	uids := func(since mail.Instant) (list []mail.UID) {
		t.Helper()
		for m, err := range Inserted(h.kv, a, since) {
			if err != nil {
				t.Fatal(err)
			}
			if m.Mailbox == sent {
				m.UID += 100_000
			}
			list = append(list, m.UID)
		}
		slices.Sort(list)
		return list
	}
	equal(t, "all", len(uids(0)), 3000)
	for _, n := range []int{0, 1, 17, 1000, 2999} {
		at = mail.InstantOf(h.now.Add(-time.Duration(n) * time.Second))
		equal(t, "the newest", len(uids(at)), n)
	}
	at = mail.InstantOf(h.now)
	h.do(a, mail.Copy{From: inbox, UIDs: mail.UIDSet{{Lo: 5, Hi: 6}}, To: sent})
	h.do(a, mail.Move{From: inbox, UIDs: mail.UIDSet{{Lo: 7, Hi: 7}}, To: sent})
	got := uids(at)
	equal(t, "copies", len(got), 3)
	equal(t, "the last", got[2], 100_003)

	h.do(a, mail.Store{Mailbox: sent, UIDs: mail.UIDSet{{Lo: 2, Hi: 2}}, Mode: mail.AddFlags, Flags: mail.Flagged, Keywords: []string{"x", "y"}})
	s, ok, err := Stands(h.kv, a, sent, 2)
	if !ok || err != nil || s.Name != "Sent" || s.Flags != mail.Flagged || !slices.Equal(s.Keywords, []string{"x", "y"}) || s.UID != 2 {
		t.Errorf("stands %+v, %v, %v", s, ok, err)
	}
	if _, ok, err := Stands(h.kv, a, inbox, 7); ok || err != nil {
		t.Errorf("a message that has gone: %v, %v", ok, err)
	}
	h.apply(h.build.DeleteAccount(mail.Actor{}, a))
	equal(t, "of a deleted account", len(uids(at)), 3)
}
