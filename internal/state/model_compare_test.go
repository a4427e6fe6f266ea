package state

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/tandemail/tandemail/internal/mail"
)

// compare looks at everything a View shows.
func (w *walk) compare() {
	v := w.h.view(w.a)
	info, _ := v.Account()
	equal(w, "account MODSEQ", info.ModSeq, w.m.modseq)
	equal(w, "used", info.Quota.UsedMessages, w.m.used())
	seen := 0
	for got, err := range v.Mailboxes() {
		if err != nil {
			w.Fatal(err)
		}
		equal(w, "subscribed "+got.Name, got.Subscribed, w.m.subs[got.Name])
		b := w.m.boxes[got.Name]
		if got.NonExistent != (b == nil) {
			w.Fatalf("mailbox %q: listed as %+v", got.Name, got)
		}
		if b == nil {
			equal(w, "inferiors of "+got.Name, len(w.inferiors(got.Name)) > 0, true)
			continue
		}
		seen++
		w.compareBox(v, got, b)
	}
	equal(w, "mailboxes", seen, len(w.m.boxes))
	w.compareMetadata(v, mail.MailboxID{}, w.m.entries)
	for _, m := range append([]mail.MailboxID{{0xee}}, w.m.ids()...) {
		k, err := v.AccessKey(m)
		equal(w, "access key", fmt.Sprintf("%x %v", k, err), fmt.Sprintf("%x <nil>", w.m.keys[m]))
	}
	w.compareSince(v, 0)
	w.compareSince(v, w.m.modseq-1)
	w.compareSince(v, w.m.modseq/2)
}

func (w *walk) compareMetadata(v *View, id mail.MailboxID, want map[string]string) {
	for _, prefix := range []string{"", "/shared/a"} {
		var is, ought []string
		for e, err := range v.Metadata(id, prefix) {
			if err != nil {
				w.Fatal(err)
			}
			is = append(is, e.Name+"="+string(e.Value))
		}
		for _, name := range slices.Sorted(maps.Keys(want)) {
			if strings.HasPrefix(name, prefix) {
				ought = append(ought, name+"="+want[name])
			}
		}
		equal(w, "metadata", fmt.Sprint(is), fmt.Sprint(ought))
	}
}

// compareSince looks at which mailboxes changed, and what else happened.
func (w *walk) compareSince(v *View, since mail.ModSeq) {
	var last mail.ModSeq
	changed := 0
	for m, err := range v.Changed(since) {
		if err != nil {
			w.Fatal(err)
		}
		b := w.m.boxes[m.Name]
		if b == nil || b.id != m.ID || b.highest <= since || b.highest < last {
			w.Fatalf("changed since %d: %q at %d", since, m.Name, m.HighestModSeq)
		}
		last = b.highest
		changed++
	}
	for _, b := range w.m.boxes {
		if b.highest > since {
			changed--
		}
	}
	equal(w, "mailboxes that changed", changed, 0)
	var events, want []string
	for e, err := range v.Events(since) {
		if err != nil {
			w.Fatal(err)
		}
		events = append(events, fmt.Sprint(e.ModSeq, e.Kind, e.Name, e.NewName, e.Entries))
	}
	for _, e := range w.m.events {
		var at mail.ModSeq
		if _, err := fmt.Sscan(e, &at); err != nil {
			w.Fatal(err)
		}
		if at > since {
			want = append(want, e)
		}
	}
	equal(w, "events", strings.Join(events, "\n"), strings.Join(want, "\n"))
}

func (w *walk) compareBox(v *View, got mail.MailboxInfo, b *modelBox) {
	want := got
	want.ID, want.UIDValidity, want.UIDNext, want.HighestModSeq = b.id, b.validity, b.next, b.highest
	want.Messages, want.Unseen, want.Deleted, want.Size = uint32(len(b.messages)), 0, 0, 0
	for _, m := range b.messages {
		want.Size += m.size
		if m.flags&mail.Seen == 0 {
			want.Unseen++
		}
		if m.flags&mail.Deleted != 0 {
			want.Deleted++
		}
	}
	equal(w, got.Name, fmt.Sprintf("%+v", got), fmt.Sprintf("%+v", want))
	i := 0
	for f, err := range v.Flags(b.id, 1, 1<<32-1, 0) {
		if err != nil || i >= len(b.messages) {
			w.Fatalf("%s: %d messages expected, error %v", got.Name, len(b.messages), err)
		}
		var words []string
		for place, k := range got.Keywords {
			if f.Keywords.Has(place) {
				words = append(words, k)
			}
		}
		slices.Sort(words)
		m := b.messages[i]
		is := modelMessage{f.UID, f.Flags, strings.Join(words, " "), f.ModSeq, m.size, m.seen, m.marked}
		if is != m {
			w.Fatalf("%s: got %+v, want %+v", got.Name, is, m)
		}
		i++
	}
	equal(w, "messages in "+got.Name, i, len(b.messages))
	w.compareOther(got.Name, b)
	w.compareMetadata(v, b.id, b.entries)
	w.compareChanged(v, b, b.highest-1)
	w.compareChanged(v, b, b.highest/2)
	var tombs []string
	for t, err := range v.Expunged(b.id, got.TombstoneFloor) {
		if err != nil {
			w.Fatal(err)
		}
		tombs = append(tombs, fmt.Sprint(t.ModSeq, t.UIDs))
	}
	// Old ones may be gone: what is listed is the end of what happened.
	if len(tombs) > len(b.tombs) || !slices.Equal(tombs, b.tombs[len(b.tombs)-len(tombs):]) {
		w.Fatalf("%s: expunged %v, want the end of %v", got.Name, tombs, b.tombs)
	}
}

// compareChanged looks at what CHANGEDSINCE shows.
func (w *walk) compareChanged(v *View, b *modelBox, since mail.ModSeq) {
	var got, want mail.UIDSet
	for f, err := range v.Flags(b.id, 1, 1<<32-1, since) {
		if err != nil {
			w.Fatal(err)
		}
		got = got.Add(f.UID)
	}
	for _, m := range b.messages {
		if m.changed > since {
			want = want.Add(m.uid)
		}
	}
	equal(w, "changed since", got.String(), want.String())
}
