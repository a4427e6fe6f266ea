package state

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/mail"
)

func (w *walk) undeleted(u Undelete, want Code, effective bool) mail.Result {
	w.Helper()
	out := w.h.undelete(w.a, u)
	if out.Code != want {
		w.Fatalf("%+v: got %v, want %v", u, out.Code.Err(), want.Err())
	}
	if effective {
		w.m.modseq++
	}
	return out.Result
}

func (w *walk) undelete() {
	_, from := w.some()
	_, to := w.some()
	u := Undelete{Mailbox: from.id, UIDs: w.uids(from), To: to.id, OverQuota: rapid.Bool().Draw(w.T, "over quota")}
	var back, left []modelMessage
	var source mail.UIDSet
	for _, m := range from.gone {
		if !u.UIDs.Contains(m.uid) {
			left = append(left, m)
			continue
		}
		source = source.Add(m.uid)
		m.flags &^= mail.Deleted
		back = append(back, m)
	}
	if len(back) > 0 && !u.OverQuota && w.m.limit > 0 && w.m.used()+int64(len(back)) > w.m.limit {
		w.undeleted(u, OverQuota, false)
		return
	}
	res := w.undeleted(u, Done, len(back) > 0)
	from.gone = left
	equal(w, "came back", res.UIDs.String(), w.insert(to, back).String())
	equal(w, "came back from", res.Source.String(), source.String())
}

func (w *walk) undeleteMailbox() {
	if len(w.m.hidden) == 0 {
		return
	}
	i, n := rapid.IntRange(0, len(w.m.hidden)-1).Draw(w.T, "hidden"), w.name()
	b := w.m.hidden[i]
	u := Undelete{Mailbox: b.id, Name: n, OverQuota: rapid.Bool().Draw(w.T, "over quota")}
	switch {
	case w.m.boxes[n] != nil:
		w.undeleted(u, Exists, false)
	case !u.OverQuota && w.m.limit > 0 && w.m.used()+int64(len(b.messages)) > w.m.limit:
		w.undeleted(u, OverQuota, false)
	default:
		res := w.undeleted(u, Done, true)
		equal(w, "UIDVALIDITY", res.UIDValidity, b.validity)
		w.m.hidden = slices.Delete(w.m.hidden, i, i+1)
		w.m.boxes[n], b.highest = b, w.m.modseq
		w.happened(mail.MailboxCreated, "", n)
	}
}

// expungedIn counts what can come back.
func (h *harness) expungedIn(a mail.AccountID, box mail.MailboxID) (n int) {
	h.t.Helper()
	for _, err := range Expunged(h.kv, a, box) {
		if err != nil {
			h.t.Fatal(err)
		}
		n++
	}
	return n
}

func TestExpungedMessageComesBackAsItWas(t *testing.T) {
	h := newHarness(t)
	a := h.account(mail.AccountID{1})
	inbox, sent := h.box(a, "INBOX").ID, h.box(a, "Sent").ID
	h.do(a, mail.Append{Mailbox: inbox, Messages: []mail.NewMessage{{
		Body: h.body("Message-ID: <a@b>\r\n\r\nx"), Flags: mail.Seen | mail.Deleted, Keywords: []string{"$k", "other"}, InternalDate: 5,
	}}})
	before, err := h.view(a).Message(inbox, 1)
	if err != nil {
		t.Fatal(err)
	}
	h.do(a, mail.Append{Mailbox: sent, Messages: []mail.NewMessage{{Body: h.body("y"), Keywords: []string{"other"}}}})
	h.now = h.now.Add(time.Hour)
	by := h.do(a, mail.Expunge{Mailbox: inbox, UIDs: everyUID}).ModSeq
	h.audit()
	for m, err := range Expunged(h.kv, a, inbox) {
		if err != nil || m.UID != 1 || m.By != by || m.At != mail.InstantOf(h.now) || m.Flags != mail.Seen|mail.Deleted || m.EmailID != before.EmailID {
			t.Errorf("kept as %+v, %v", m, err)
		}
	}
	for i, to := range []mail.MailboxID{inbox, sent} {
		from := inbox
		if i == 1 { // once more, from the UID that it got
			h.do(a, mail.Store{Mailbox: inbox, UIDs: everyUID, Mode: mail.AddFlags, Flags: mail.Deleted})
			h.do(a, mail.Expunge{Mailbox: inbox, UIDs: everyUID})
		}
		out := h.undelete(a, Undelete{Mailbox: from, UIDs: everyUID, To: to})
		equal(t, "from", out.Result.Source.String(), fmt.Sprint(i+1))
		equal(t, "to", out.Result.UIDs.String(), "2")
		m, err := h.view(a).Message(to, 2)
		if err != nil || m.EmailID != before.EmailID || m.ThreadID != before.ThreadID || m.InternalDate != 5 || m.Extents[0] != before.Extents[0] {
			t.Errorf("came back as %+v, %v; was %+v", m, err, before)
		}
		words := h.box(a, map[int]string{0: "INBOX", 1: "Sent"}[i]).Keywords
		for f, err := range h.view(a).Flags(to, 2, 2, 0) {
			if err != nil || f.Flags != mail.Seen || !f.Keywords.Has(slices.Index(words, "$k")) || !f.Keywords.Has(slices.Index(words, "other")) {
				t.Errorf("flags %v, %v of %v, %v", f.Flags, f.Keywords, words, err)
			}
		}
		equal(t, "left", h.expungedIn(a, mail.MailboxID{}), 0)
		equal(t, "a second time", h.undelete(a, Undelete{Mailbox: from, UIDs: everyUID, To: to}).Result.ModSeq, 0)
		h.audit()
	}
	h.purge(a, Everything)
	equal(t, "bodies", h.bodies(), 2)
	h.audit()
}

func TestUndeleteIsRefusedWhole(t *testing.T) {
	h := newHarness(t)
	a := h.account(mail.AccountID{1})
	inbox := h.box(a, "INBOX").ID
	h.add(a, "INBOX", mail.Deleted, mail.Deleted)
	h.do(a, mail.Expunge{Mailbox: inbox, UIDs: everyUID})
	h.do(a, mail.SetQuota{LimitMessages: 1})
	all := Undelete{Mailbox: inbox, UIDs: everyUID, To: inbox}
	equal(t, "over quota", h.undelete(a, all).Code, OverQuota)
	equal(t, "nowhere", h.undelete(a, Undelete{Mailbox: inbox, UIDs: everyUID}).Code, NoMailbox)
	equal(t, "from nowhere", h.undelete(a, Undelete{UIDs: everyUID, To: inbox}).Code, NoMailbox)
	h.apply(h.build.Freeze(mail.Actor{}, a, true, ""))
	equal(t, "frozen", h.undelete(a, all).Code, Frozen)
	h.apply(h.build.Freeze(mail.Actor{}, a, false, ""))
	equal(t, "left", h.expungedIn(a, inbox), 2)
	all.OverQuota = true
	equal(t, "even so", h.undelete(a, all).Result.UIDs.String(), "3:4")
	h.audit()
}

func TestUndeleteAskedAgainGivesItsFirstAnswer(t *testing.T) {
	h := newHarness(t)
	a := h.account(mail.AccountID{1})
	inbox := h.box(a, "INBOX").ID
	h.add(a, "INBOX", mail.Deleted)
	h.do(a, mail.Expunge{Mailbox: inbox, UIDs: everyUID})
	ask := func() Outcome {
		return h.apply(h.build.Undelete(mail.Actor{}, mail.OpID{Session: mail.SessionID{1}, Number: 1}, a, Undelete{Mailbox: inbox, UIDs: everyUID, To: inbox}))
	}
	first := ask()
	h.do(a, mail.Store{Mailbox: inbox, UIDs: everyUID, Mode: mail.AddFlags, Flags: mail.Deleted})
	h.do(a, mail.Expunge{Mailbox: inbox, UIDs: everyUID})
	again := ask()
	if !again.Repeated || again.Result.UIDs.String() != first.Result.UIDs.String() {
		t.Errorf("answers %+v and %+v", first, again)
	}
	equal(t, "left", h.expungedIn(a, inbox), 1)
}

func TestPurgeRemovesWhatWasDeletedInTimeAndNoMore(t *testing.T) {
	h := newHarness(t)
	a := h.account(mail.AccountID{1})
	inbox := h.box(a, "INBOX").ID
	flags := make([]mail.Flags, 500)
	for i := range flags {
		flags[i] = mail.Deleted
	}
	for range 22 {
		h.add(a, "INBOX", flags...)
	}
	for range 3 {
		h.do(a, mail.Expunge{Mailbox: inbox, UIDs: everyUID})
	}
	first := mail.InstantOf(h.now)
	h.now = h.now.Add(time.Hour)
	h.add(a, "INBOX", mail.Deleted)
	h.do(a, mail.Expunge{Mailbox: inbox, UIDs: everyUID})
	equal(t, "kept", h.expungedIn(a, inbox), 11_001)
	h.undelete(a, Undelete{Mailbox: inbox, UIDs: mail.UIDSet{{Lo: 1, Hi: 10}}, To: inbox})
	h.purge(a, first-1)
	equal(t, "kept before its time", h.expungedIn(a, inbox), 10_991)
	for i, want := range []int{5_991, 991, 1} {
		equal(t, "more", h.purge(a, first).Result.More, i < 2)
		equal(t, "kept", h.expungedIn(a, inbox), want)
		h.audit()
	}
	equal(t, "bodies", h.bodies(), 11)
	h.apply(h.build.Purge(mail.Actor{}, a, Purge{Mailbox: inbox}))
	equal(t, "kept after a purge of the mailbox", h.expungedIn(a, inbox), 0)
	h.purge(a, Everything)
	equal(t, "queue", h.keys(a, kindRetained), 0)
	h.audit()
}

func TestDeletedMailboxComesBackAsItWas(t *testing.T) {
	h := newHarness(t)
	a := h.account(mail.AccountID{1})
	h.add(a, "Junk", 0, mail.Deleted)
	before := h.box(a, "Junk")
	h.do(a, mail.Expunge{Mailbox: before.ID, UIDs: everyUID})
	before = h.box(a, "Junk")
	h.do(a, mail.Delete{Name: "Junk"})
	h.do(a, mail.Create{Name: "Junk"})
	equal(t, "its name is taken", h.undelete(a, Undelete{Mailbox: before.ID, Name: "Junk"}).Code, Exists)
	if _, err := h.build.Undelete(mail.Actor{}, mail.OpID{}, a, Undelete{Mailbox: before.ID, Name: "x//y"}); !errors.Is(err, mail.ErrBadName) {
		t.Errorf("bad name: %v", err)
	}
	h.apply(h.build.Fork(mail.Actor{}, 0))
	out := h.undelete(a, Undelete{Mailbox: before.ID, Name: "Junk (undeleted)"})
	equal(t, "undelete", out.Code, Done)
	now := h.box(a, "Junk (undeleted)")
	if now.ID != before.ID || now.UIDValidity != before.UIDValidity || now.Use != mail.UseJunk || now.Messages != 1 || now.HighestModSeq != out.Result.ModSeq {
		t.Errorf("came back as %+v, was %+v", now, before)
	}
	equal(t, "UIDNEXT, out of reach of the other history", now.UIDNext, before.UIDNext+1<<20)
	equal(t, "again", h.undelete(a, Undelete{Mailbox: before.ID, Name: "y"}).Code, Exists)
	equal(t, "what was expunged in it", h.undelete(a, Undelete{Mailbox: before.ID, UIDs: everyUID, To: now.ID}).Result.Source.String(), "2")
	h.purge(a, Everything) // its entry in the queue means nothing any more
	equal(t, "messages", h.box(a, "Junk (undeleted)").Messages, 2)
	h.audit()
}

func TestDeletedAccountComesBackUntilItsPurgeBegins(t *testing.T) {
	h := newHarness(t)
	a := h.account(mail.AccountID{1})
	h.add(a, "INBOX", 0, mail.Deleted)
	h.do(a, mail.Expunge{Mailbox: h.box(a, "INBOX").ID, UIDs: everyUID})
	sum := func() Sum { s, _ := Digest(h.kv, a); return s }
	h.apply(h.build.DeleteAccount(mail.Actor{}, a))
	h.apply(h.build.Fork(mail.Actor{}, 0))
	at := mail.InstantOf(h.now)
	h.purge(a, at-1)
	equal(t, "undelete", h.apply(h.build.UndeleteAccount(mail.Actor{By: "o"}, a)).Code, Done)
	info, _ := h.view(a).Account()
	equal(t, "fork", info.Fork, 1)
	h.audit()
	back := sum()
	equal(t, "one that is there", h.apply(h.build.UndeleteAccount(mail.Actor{}, a)).Code, Done)
	h.purge(a, at-1)
	equal(t, "digest", sum(), back)
	for range 60 {
		h.add(a, "INBOX", make([]mail.Flags, 100)...)
	}
	h.apply(h.build.DeleteAccount(mail.Actor{}, a))
	equal(t, "more", h.purge(a, Everything).Result.More, true)
	equal(t, "half of it", h.apply(h.build.UndeleteAccount(mail.Actor{}, a)).Code, NoAccount)
	equal(t, "more", h.purge(a, Everything).Result.More, false)
	equal(t, "bodies", h.bodies(), 0)
	equal(t, "none of it", h.apply(h.build.UndeleteAccount(mail.Actor{}, a)).Code, NoAccount)
	if e, err := ExistenceOf(h.kv, a); e.Known || err != nil {
		t.Errorf("it is known still: %+v, %v", e, err)
	}
}

func TestMoverFindsTheMessagesThatCanComeBack(t *testing.T) {
	h := newHarness(t)
	a := h.account(mail.AccountID{1})
	inbox := h.box(a, "INBOX").ID
	h.do(a, mail.Append{Mailbox: inbox, Messages: []mail.NewMessage{{Body: h.body("x"), Flags: mail.Deleted, Keywords: []string{"k"}}}})
	h.do(a, mail.Expunge{Mailbox: inbox, UIDs: everyUID})
	found := 0
	for m, err := range Inserted(h.kv, a, mail.InstantOf(h.now)) {
		if err != nil || m.Mailbox != inbox || m.UID != 1 {
			t.Errorf("found %+v, %v", m, err)
		}
		found++
	}
	equal(t, "found", found, 1)
	s, ok, err := Stands(h.kv, a, inbox, 1)
	if err != nil || !ok || s.Name != "INBOX" || s.Flags != mail.Deleted || len(s.Keywords) != 1 {
		t.Errorf("stands as %+v, %v, %v", s, ok, err)
	}
	if _, ok, err := Stands(h.kv, a, inbox, 2); ok || err != nil {
		t.Errorf("one that never was: %v, %v", ok, err)
	}
}

func TestRecordOfANewerReleaseIsNotRemoved(t *testing.T) {
	h := newHarness(t)
	a := h.account(mail.AccountID{1})
	if err := h.kv.Set(accountKey(nil, a, kindRetained).uint64(1).octets('?').octets(make([]byte, 16)...), mark); err != nil {
		t.Fatal(err)
	}
	p, err := h.build.Purge(mail.Actor{}, a, Purge{Deleted: Everything})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Apply(h.kv.Snapshot(), 1, cluster.CurrentLevel, p.Op); !errors.Is(err, cluster.ErrNewer) {
		t.Errorf("purge of what it does not know: %v", err)
	}
}
