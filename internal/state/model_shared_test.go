package state

import (
	"errors"
	"strings"

	"pgregory.net/rapid"

	"github.com/tandemail/tandemail/internal/mail"
)

// other is a user who is not the owner of the model's account.
var other = mail.AccountID{8}

// inherited is the grant of the nearest mailbox above a name.
func (w *walk) inherited(name string) mail.Rights {
	for i := len(name) - 1; i > 0; i-- {
		if b := w.m.boxes[name[:i]]; name[i] == '/' && b != nil {
			return b.grant
		}
	}
	return 0
}

func (w *walk) setACL() {
	_, b := w.some()
	rights, _ := mail.ParseRights(rapid.SampledFrom([]string{"", "l", "r", "lr", "lrs", "lrsw", "lrst", "lrswitea", "i"}).Draw(w.T, "rights"))
	op := mail.SetACL{Mailbox: b.id, User: other, Mode: mail.ACLMode(rapid.IntRange(0, 3).Draw(w.T, "mode")), Rights: rights}
	want := map[mail.ACLMode]mail.Rights{
		mail.ReplaceRights: rights, mail.AddRights: b.grant | rights, mail.RemoveRights: b.grant &^ rights,
	}[op.Mode]
	w.effect(op, Done, want != b.grant)
	b.grant = want
}

// asOther is effect for the other user.
func (w *walk) asOther(op mail.Op, want Code, effective bool) mail.Result {
	w.Helper()
	out := w.h.apply(w.h.build.ProposeAs(w.a, other, mail.Request{Op: op}))
	if out.Code != want {
		w.Fatalf("%+v: got %v, want %v", op, out.Code.Err(), want.Err())
	}
	if effective {
		w.m.modseq++
	}
	return out.Result
}

// refusal is what a user gets who lacks a right.
func (b *modelBox) refusal() Code {
	if b.grant.Has(mail.MayLookup) {
		return NoPerm
	}
	return NoMailbox
}

func (b *modelBox) settable() (f mail.Flags, words bool) {
	for _, x := range []struct {
		right mail.Rights
		flags mail.Flags
	}{{mail.MaySeen, mail.Seen}, {mail.MayDeleteMail, mail.Deleted}, {mail.MayWrite, mail.Answered | mail.Flagged | mail.Draft}} {
		if b.grant.Has(x.right) {
			f |= x.flags
		}
	}
	return f, b.grant.Has(mail.MayWrite)
}

func (w *walk) otherStore() {
	_, b := w.some()
	op := mail.Store{
		Mailbox: b.id, UIDs: w.uids(b), Mode: mail.StoreMode(rapid.IntRange(0, 2).Draw(w.T, "mode")),
		Flags: w.flags(), Keywords: strings.Fields(w.words()),
	}
	if rapid.Bool().Draw(w.T, "conditional") {
		since := mail.ModSeq(rapid.Uint64Range(0, uint64(w.m.modseq)).Draw(w.T, "unchanged since"))
		op.UnchangedSince = &since
	}
	may, mayWords := b.settable()
	some := op.Flags&may != 0 || mayWords && len(op.Keywords) > 0
	nothing := op.Flags == 0 && len(op.Keywords) == 0
	if b.grant == 0 || op.Mode == mail.ReplaceFlags && may == 0 || op.Mode != mail.ReplaceFlags && !some && !nothing {
		w.asOther(op, b.refusal(), false)
		return
	}
	var changed, modified mail.UIDSet
	for i, m := range b.messages {
		switch {
		case !op.UIDs.Contains(m.uid):
			continue
		case op.UnchangedSince != nil && max(m.changed, m.marked) > *op.UnchangedSince:
			modified = modified.Add(m.uid)
			continue
		}
		sees := m
		if sees.flags &^= mail.Seen; m.seen {
			sees.flags |= mail.Seen
		}
		f, words := storeModel(sees, op)
		if f = f&may | sees.flags&^may; !mayWords {
			words = m.words
		}
		if f == sees.flags && words == m.words {
			continue
		}
		changed = changed.Add(m.uid)
		if seen := f&mail.Seen != 0; seen != m.seen {
			m.seen, m.marked = seen, w.m.modseq+1
		}
		if f = f&^mail.Seen | m.flags&mail.Seen; f != m.flags || words != m.words {
			m.flags, m.words, m.changed = f, words, w.m.modseq+1
		}
		b.messages[i] = m
	}
	res := w.asOther(op, Done, len(changed) > 0)
	equal(w, "changed by the other", res.UIDs.String(), changed.String())
	equal(w, "modified", res.Modified.String(), modified.String())
	if len(changed) > 0 {
		b.highest = w.m.modseq
	}
}

func (w *walk) otherAppend() {
	_, b := w.some()
	f, body := w.flags(), w.h.body("x")
	op := mail.Append{Mailbox: b.id, Messages: []mail.NewMessage{{Body: body, Flags: f}}}
	if !b.grant.Has(mail.MayInsert) {
		w.asOther(op, b.refusal(), false)
		return
	}
	if w.m.limit > 0 && w.m.used() >= w.m.limit {
		w.asOther(op, OverQuota, false)
		return
	}
	may, _ := b.settable()
	w.asOther(op, Done, true)
	w.insert(b, []modelMessage{{flags: f & may &^ mail.Seen, size: body.Size(), seen: f&may&mail.Seen != 0}})
}

// compareOther looks at what the other user sees of a mailbox.
func (w *walk) compareOther(name string, b *modelBox) {
	v := w.h.view(w.a).As(other)
	got, err := v.Mailbox(b.id)
	if b.grant == 0 {
		if !errors.Is(err, mail.ErrNoMailbox) {
			w.Fatalf("%s, without rights: %+v, %v", name, got, err)
		}
		return
	}
	if err != nil {
		w.Fatal(err)
	}
	equal(w, "rights", got.Rights, b.grant)
	unseen := 0
	for _, m := range b.messages {
		if !m.seen {
			unseen++
		}
	}
	equal(w, name+" unseen", int(got.Unseen), unseen)
	for _, since := range []mail.ModSeq{0, b.highest - 1, b.highest / 2} {
		var want, is []mail.MessageFlags
		for _, m := range b.messages {
			f := mail.MessageFlags{UID: m.uid, Flags: m.flags &^ mail.Seen, ModSeq: max(m.changed, m.marked)}
			if m.seen {
				f.Flags |= mail.Seen
			}
			if f.ModSeq > since {
				want = append(want, f)
			}
		}
		for f, err := range v.Flags(b.id, 1, 1<<32-1, since) {
			if err != nil {
				w.Fatal(err)
			}
			f.Keywords = mail.Keywords{}
			is = append(is, f)
		}
		if len(is) != len(want) {
			w.Fatalf("%s since %d: got %+v, want %+v", name, since, is, want)
		}
		for i := range is {
			equal(w, name+" of the other", is[i], want[i])
		}
	}
}
