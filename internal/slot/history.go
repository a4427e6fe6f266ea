package slot

import (
	"context"
	"slices"
	"time"

	"github.com/tandemail/tandemail/internal/mail"
	"github.com/tandemail/tandemail/internal/message"
	"github.com/tandemail/tandemail/internal/state"
)

// HistoryQuery asks who changed what in an account.
type HistoryQuery struct {
	Mailbox   string       `json:"mailbox,omitempty"` // its name, or its id; "": all
	UID       mail.UID     `json:"uid,omitempty"`     // in Mailbox; 0: any
	MessageID string       `json:"message_id,omitempty"`
	Since     mail.Instant `json:"since,omitempty"`
	Limit     int          `json:"limit,omitempty"` // the newest so many
}

// History is what is known of the changes of an account, the oldest first.
type History struct {
	Deeds []Deed `json:"deeds"`
	// Places are where the message that was asked for is now, or was expunged.
	Places []Place `json:"places,omitempty"`
	More   bool    `json:"more,omitempty"` // there are older ones
}

// Deed is one change.
type Deed struct {
	At      time.Time `json:"at"`
	Kind    string    `json:"kind"`
	By      Actor     `json:"by"`
	Mailbox string    `json:"mailbox,omitempty"` // its name now, or its id if it is gone
	UIDs    string    `json:"uids,omitempty"`
	To      string    `json:"to,omitempty"`
	ToUIDs  string    `json:"to_uids,omitempty"`
	Cut     bool      `json:"cut,omitempty"`      // the UIDs are not all
	Name    string    `json:"name,omitempty"`     // of the mailbox, before
	NewName string    `json:"new_name,omitempty"` // and after
	// Of a changed right: the user whose it is, by account id or, where the directory is
	// at hand, by name, or "anyone"; and all that they have since then.
	Grantee string `json:"grantee,omitempty"`
	Rights  string `json:"rights,omitempty"`
}

// Place is where a message is.
type Place struct {
	Mailbox string    `json:"mailbox"`
	UID     mail.UID  `json:"uid"`
	Saved   time.Time `json:"saved"` // when it came there
	// Expunged is when it went, if it did.
	Expunged time.Time `json:"expunged,omitzero"`
}

// History answers the query. mail.ErrNoAccount.
func (s *Slot) History(ctx context.Context, account string, q HistoryQuery) (History, error) {
	var h History
	err := s.reading(ctx, account, func(r *accountReader) error {
		var err error
		h, err = r.history(q)
		return err
	})
	return h, err
}

func (r *accountReader) history(q HistoryQuery) (History, error) {
	h := History{Deeds: []Deed{}}
	var all []state.Deed // at most state.MaxHistory octets
	for d, err := range state.History(r, r.id) {
		if err != nil {
			return h, err
		}
		all = append(all, d)
	}
	about := func(d *state.Deed) bool { return true }
	switch {
	case q.MessageID != "" || q.UID != 0:
		t, err := r.trace(q, &h)
		if err != nil {
			return h, err
		}
		t.follow(all)
		about = t.about
	case q.Mailbox != "":
		boxes := r.named(q.Mailbox)
		about = func(d *state.Deed) bool {
			return boxes[d.Mailbox] || boxes[d.To] || d.Name == q.Mailbox || d.NewName == q.Mailbox
		}
	}
	for i := len(all) - 1; i >= 0 && all[i].At >= q.Since; i-- {
		if !about(&all[i]) {
			continue
		}
		if h.More = len(h.Deeds) == q.Limit; h.More {
			break
		}
		h.Deeds = append(h.Deeds, r.deed(&all[i]))
	}
	slices.Reverse(h.Deeds)
	return h, nil
}

func (r *accountReader) deed(d *state.Deed) Deed {
	out := Deed{
		At: d.At.Time(), Kind: d.Kind, By: actorOf(d.Actor), UIDs: d.UIDs.String(), ToUIDs: d.ToUIDs.String(),
		Cut: d.Cut, Name: d.Name, NewName: d.NewName,
	}
	if d.Kind == state.DeedSetACL {
		out.Rights, out.Grantee = d.Rights.String(), "anyone"
		if !d.Grantee.IsZero() {
			out.Grantee = d.Grantee.String()
		}
	}
	for _, x := range []struct {
		id   mail.MailboxID
		name *string
	}{{d.Mailbox, &out.Mailbox}, {d.To, &out.To}} {
		if x.id.IsZero() {
			continue
		}
		if *x.name = r.name(x.id); *x.name == "" {
			*x.name = x.id.String()
		}
	}
	return out
}

// spot is a mailbox and a UID: a message for ever.
type spot struct {
	box mail.MailboxID
	uid mail.UID
}

// trace is where one message has been.
type trace struct{ spots map[spot]bool }

// trace finds the message that is asked for.
func (r *accountReader) trace(q HistoryQuery, h *History) (*trace, error) {
	t := &trace{map[spot]bool{}}
	boxes := r.named(q.Mailbox)
	if q.UID != 0 {
		for id := range boxes {
			t.spots[spot{id, q.UID}] = true
		}
	}
	if q.MessageID == "" {
		return t, nil
	}
	id := message.MessageID(q.MessageID)
	for m, err := range state.InThread(r, r.id, message.IDHash(id)) {
		if err != nil {
			return nil, err
		}
		if !boxes[m.Mailbox] || q.UID != 0 && m.UID != q.UID || message.MessageID(r.field(m.Message, "Message-ID")) != id {
			continue
		}
		p := Place{Mailbox: r.name(m.Mailbox), UID: m.UID, Saved: m.SaveDate.Time()}
		if m.At != 0 {
			p.Expunged = m.At.Time()
		}
		h.Places = append(h.Places, p)
		t.spots[spot{m.Mailbox, m.UID}] = true
	}
	return t, nil
}

// follow adds where the message was before and went later, by the deeds that took it
// from one mailbox to another.
func (t *trace) follow(deeds []state.Deed) {
	for i := len(deeds) - 1; i >= 0; i-- {
		for from, to := range passages(&deeds[i]) {
			if t.spots[to] {
				t.spots[from] = true
			}
		}
	}
	for i := range deeds {
		for from, to := range passages(&deeds[i]) {
			if t.spots[from] {
				t.spots[to] = true
			}
		}
	}
}

// passages yields where each message of a deed was and where it came to.
func passages(d *state.Deed) func(func(from, to spot) bool) {
	return func(yield func(from, to spot) bool) {
		if d.To.IsZero() {
			return
		}
		var to []mail.UID
		for u := range d.ToUIDs.All() {
			to = append(to, u)
		}
		i := 0
		for u := range d.UIDs.All() {
			if i == len(to) || !yield(spot{d.Mailbox, u}, spot{d.To, to[i]}) {
				return
			}
			i++
		}
	}
}

// about reports whether a deed is about the message, or a mailbox that it was in as
// a whole.
func (t *trace) about(d *state.Deed) bool {
	whole := d.Kind == state.DeedDelete || d.Kind == state.DeedRename || d.Kind == state.DeedUndeleteMailbox
	for s := range t.spots {
		if s.box == d.Mailbox && (whole || d.UIDs.Contains(s.uid)) || s.box == d.To && d.ToUIDs.Contains(s.uid) {
			return true
		}
	}
	return false
}
