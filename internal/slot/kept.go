package slot

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/tandemail/tandemail/internal/mail"
	"github.com/tandemail/tandemail/internal/message"
	"github.com/tandemail/tandemail/internal/state"
)

// Actor is who made a change.
type Actor struct {
	User    string `json:"user,omitempty"`
	By      string `json:"by,omitempty"`      // who authorised it, or the operator
	Session string `json:"session,omitempty"` // at a front end, 32 hexadecimal digits
	Remote  string `json:"remote,omitempty"`  // the client's address
	Command string `json:"command,omitempty"`
	QueueID string `json:"queue_id,omitempty"` // the MTA's
}

func actorOf(a mail.Actor) Actor {
	out := Actor{User: a.User, By: a.By, Remote: a.Remote, Command: a.Command, QueueID: a.QueueID}
	if a.Session != (mail.SessionID{}) {
		out.Session = fmt.Sprintf("%x", a.Session[:])
	}
	return out
}

// DeletedQuery asks what of an account can come back.
type DeletedQuery struct {
	Mailbox string       `json:"mailbox,omitempty"` // its name, or its id; "": all
	Since   mail.Instant `json:"since,omitempty"`   // of the deletion; 0: no bound
	Until   mail.Instant `json:"until,omitempty"`
	UIDs    mail.UIDSet  `json:"uids,omitempty"`
	Details int          `json:"details,omitempty"` // so many messages are described
}

func (q *DeletedQuery) wants(at mail.Instant) bool {
	return at >= q.Since && (q.Until == 0 || at <= q.Until)
}

// Deleted is what of an account can come back.
type Deleted struct {
	Account time.Time  `json:"account,omitzero"` // the account itself was deleted then
	Quota   mail.Quota `json:"quota"`
	// Taken are the names of the mailboxes that there are.
	Taken map[string]mail.MailboxID `json:"taken"`
	// Mailboxes that are hidden, or that messages were expunged from.
	Mailboxes []DeletedMailbox `json:"mailboxes"`
	// Messages are the first of those that were expunged.
	Messages []DeletedMessage `json:"messages"`
	// More: the UIDs of Mailboxes are not all.
	More bool `json:"more,omitempty"`
}

// DeletedMailbox is a mailbox that is hidden, or has expunged messages that can come
// back.
type DeletedMailbox struct {
	ID       mail.MailboxID `json:"id"`
	Name     string         `json:"mailbox"`
	Hidden   bool           `json:"hidden,omitempty"`
	Wanted   bool           `json:"wanted,omitempty"` // hidden, in the time that was asked for
	At       time.Time      `json:"deleted_at,omitzero"`
	By       Actor          `json:"by,omitzero"`
	Messages int64          `json:"messages"` // that come back with it
	Octets   int64          `json:"octets"`
	Expunged int64          `json:"expunged"` // and that were expunged from it
	// ExpungedOctets is their size, UIDs what they had.
	ExpungedOctets int64       `json:"expunged_octets"`
	UIDs           mail.UIDSet `json:"uids,omitempty"`
}

// DeletedMessage is a message that can come back.
type DeletedMessage struct {
	MailboxID mail.MailboxID `json:"mailbox_id"`

	Mailbox string    `json:"mailbox"`
	UID     mail.UID  `json:"uid"`
	Octets  int64     `json:"octets"`
	Date    time.Time `json:"date"` // INTERNALDATE
	Subject string    `json:"subject,omitempty"`
	At      time.Time `json:"deleted_at"`
	By      Actor     `json:"by,omitzero"`
}

// maxKeptRanges bounds the UIDs of one answer.
const maxKeptRanges = 20_000

// Deleted says what can come back. mail.ErrNoAccount.
func (s *Slot) Deleted(ctx context.Context, account string, q DeletedQuery) (Deleted, error) {
	var d Deleted
	err := s.reading(ctx, account, func(r *accountReader) error {
		d = Deleted{Quota: r.is.Quota, Mailboxes: []DeletedMailbox{}, Messages: []DeletedMessage{}}
		if r.is.Deleted != 0 {
			d.Account = r.is.Deleted.Time()
		}
		return r.deleted(&d, q)
	})
	return d, err
}

// accountReader reads one account, deleted or not, in one picture of the state.
type accountReader struct {
	*snapshot
	id    mail.AccountID
	is    state.Existence
	boxes []state.AnyMailbox
}

// reading has read look at an account. A slot that may not serve answers mail.ErrMoved.
func (s *Slot) reading(ctx context.Context, account string, read func(*accountReader) error) error {
	var r accountReader
	if err := r.id.UnmarshalText([]byte(account)); err != nil {
		return err
	}
	if err := s.serving.awaitRead(ctx); err != nil {
		return err
	}
	inc := s.current()
	if inc == nil {
		return mail.ErrMoved
	}
	var err error
	if r.snapshot, err = inc.snapshot(); err != nil {
		return err
	}
	defer r.release()
	if r.is, err = state.ExistenceOf(r, r.id); err == nil && !r.is.Known {
		err = mail.ErrNoAccount
	}
	if err == nil {
		r.boxes, err = state.AllMailboxes(r, r.id)
	}
	if err != nil {
		return err
	}
	return read(&r)
}

// named finds the mailboxes that have, or had, a name or an id; all for "".
func (r *accountReader) named(name string) map[mail.MailboxID]bool {
	found := map[mail.MailboxID]bool{}
	for _, b := range r.boxes {
		if name == "" || b.Name == name || b.ID.String() == name || strings.EqualFold(name, mail.Inbox) && b.Name == mail.Inbox {
			found[b.ID] = true
		}
	}
	return found
}

// name of a mailbox, "" once it was purged.
func (r *accountReader) name(id mail.MailboxID) string {
	for _, b := range r.boxes {
		if b.ID == id {
			return b.Name
		}
	}
	return ""
}

// who did what has a MODSEQ, as far as the history knows.
func (r *accountReader) who(at mail.ModSeq) (Actor, error) {
	d, _, err := state.DeedAt(r, r.id, at)
	return actorOf(d.Actor), err
}

func (r *accountReader) deleted(d *Deleted, q DeletedQuery) error {
	named := r.named(q.Mailbox)
	ranges := 0
	d.Taken = map[string]mail.MailboxID{}
	for _, b := range r.boxes {
		if !b.Hidden {
			d.Taken[b.Name] = b.ID
		}
		if !named[b.ID] || b.Purging {
			continue
		}
		m := DeletedMailbox{ID: b.ID, Name: b.Name, Hidden: b.Hidden}
		if m.Wanted = b.Hidden && q.wants(b.At) && len(q.UIDs) == 0; m.Wanted {
			var err error
			if m.By, err = r.who(b.By); err != nil {
				return err
			}
			m.At, m.Messages, m.Octets = b.At.Time(), int64(b.Messages), b.Size
		}
		if err := r.expunged(d, &m, q, &ranges); err != nil {
			return err
		}
		if m.Wanted || m.Expunged > 0 {
			d.Mailboxes = append(d.Mailboxes, m)
		}
	}
	slices.SortFunc(d.Mailboxes, func(a, b DeletedMailbox) int { return cmp.Compare(a.Name, b.Name) })
	return nil
}

// expunged adds what was expunged from one mailbox.
func (r *accountReader) expunged(d *Deleted, m *DeletedMailbox, q DeletedQuery, ranges *int) error {
	var described []state.ExpungedMessage
	for e, err := range state.Expunged(r, r.id, m.ID) {
		if err != nil {
			return err
		}
		if !q.wants(e.At) || len(q.UIDs) > 0 && !q.UIDs.Contains(e.UID) {
			continue
		}
		m.Expunged++
		m.ExpungedOctets += e.Size
		if n := len(m.UIDs); n == 0 || m.UIDs[n-1].Hi+1 != e.UID {
			if *ranges >= maxKeptRanges {
				d.More = true
				continue
			}
			*ranges++
		}
		if !d.More {
			m.UIDs = m.UIDs.Add(e.UID)
		}
		if len(d.Messages)+len(described) < q.Details {
			described = append(described, e)
		}
	}
	for _, e := range described {
		by, err := r.who(e.By)
		if err != nil {
			return err
		}
		d.Messages = append(d.Messages, DeletedMessage{
			MailboxID: m.ID, Mailbox: m.Name, UID: e.UID, Octets: e.Size, Date: e.InternalDate.Time(), At: e.At.Time(), By: by,
			Subject: r.field(e.Message, "Subject"),
		})
	}
	return nil
}

// headerLook is how much of a message is read for a field of its header.
const headerLook = 64 << 10

// field is one of a message's header, "" if it has none or cannot be read.
func (r *accountReader) field(m mail.Message, name string) string {
	o := r.inc.openContent(r.snapshot)(context.Background(), []mail.Message{m})[0]
	if o.Err != nil {
		return ""
	}
	c := o.Content
	defer c.Close()
	b := make([]byte, min(c.Size(), headerLook))
	if _, err := c.ReadAt(b, 0); err != nil && err != io.EOF {
		return ""
	}
	v, _ := message.Header(b).Get(name)
	return strings.TrimSpace(strings.Map(printable, message.DecodeText(v)))
}

// printable keeps what a terminal could take for more than text out of it.
func printable(r rune) rune {
	if r < ' ' || r >= 0x7f && r < 0xa0 {
		return ' '
	}
	return r
}
