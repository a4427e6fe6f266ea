package salvage

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/index"
	"github.com/tandemail/tandemail/internal/journal"
	"github.com/tandemail/tandemail/internal/mail"
	"github.com/tandemail/tandemail/internal/pack"
	"github.com/tandemail/tandemail/internal/state"
	"github.com/tandemail/tandemail/internal/state/operation"
)

// beyondPacks writes what packs have of messages that came after the state: all
// there is, if there is no state.
func (w *work) beyondPacks(ctx context.Context) error {
	if w.journal != nil && !w.hole {
		return nil // the state is all
	}
	snap, err := w.db.Snapshot()
	if err != nil {
		return err
	}
	defer snap.Close()
	for k, v := range snap.Scan([]byte{keyBody}, []byte{keyBody + 1}) {
		if err := ctx.Err(); err != nil {
			return err
		}
		at := decodePlace(v)
		body, err := w.packs[at.dir].set.Body(bodyID(k), at.Location)
		if err != nil {
			w.report.incomplete("a body that a pack alone knows: %w", err)
			continue
		}
		if err := errors.Join(w.owners(snap, body), body.Close()); err != nil {
			return err
		}
	}
	return snap.Err()
}

func bodyID(key []byte) mail.BodyID { return mail.BodyID(be64(key[1:])) }

// owners writes a body for those of its owners whose messages the state does not know.
func (w *work) owners(snap *index.Snapshot, body *pack.Body) error {
	e := body.Entry()
	for _, o := range e.Owners {
		known, err := w.knew(snap, e.Body, o)
		if err != nil || known {
			if err != nil {
				return err
			}
			continue
		}
		out, err := w.out(o.Account, nil)
		if err != nil {
			return err
		}
		if out == nil {
			continue
		}
		name := o.Name
		if name == "" {
			name = mail.Inbox
		}
		msg := message{
			mailbox: name, uid: o.UID, flags: o.Flags, keywords: o.Keywords, date: o.InternalDate,
			size: int64(len(o.Prefix)) + e.Length, unplaced: true,
		}
		s := &source{body, e.Length, e.SHA256, nil}
		if err := s.verified(); err != nil {
			out.lost(msg, err)
			continue
		}
		if err := out.write(msg, io.MultiReader(bytes.NewReader(o.Prefix), io.NewSectionReader(body, 0, e.Length))); err != nil {
			return err
		}
	}
	return nil
}

// knew reports whether the state is from after that message: then it has it still, or
// has seen it go.
func (w *work) knew(snap *index.Snapshot, body mail.BodyID, o pack.Owner) (bool, error) {
	before := cluster.LSN(body) < w.at.LSN
	v, err := state.NewView(snap, o.Account, nil, nil)
	if errors.Is(err, mail.ErrNoAccount) {
		return before, nil
	} else if err != nil {
		return false, err
	}
	defer v.Close()
	box, err := v.Mailbox(o.Mailbox)
	if errors.Is(err, mail.ErrNoMailbox) {
		return before, nil
	}
	return o.UID < box.UIDNext, err
}

// beyondJournal writes what came in behind a hole of the journal.
func (w *work) beyondJournal(ctx context.Context) error {
	if w.journal == nil || !w.hole {
		return nil
	}
	snap, err := w.db.Snapshot()
	if err != nil {
		return err
	}
	defer snap.Close()
	for b, err := range w.journal.Batches() {
		if err != nil || b.End <= w.at.LSN {
			continue // told by replay
		}
		for lsn, rec := range b.Records() {
			if err := ctx.Err(); err != nil {
				return err
			}
			if rec.Kind != journal.KindOperation {
				continue
			}
			op, err := operation.Decode(rec.Payload)
			if err != nil {
				w.report.incomplete("operation at %d: %w", lsn, err)
				continue
			}
			if err := w.arrivals(snap, lsn, op); err != nil {
				return err
			}
		}
	}
	return nil
}

// arrivals writes the messages that an operation added.
func (w *work) arrivals(snap *index.Snapshot, at cluster.LSN, op *operation.Operation) error {
	switch k := op.Kind.(type) {
	case *operation.Operation_Deliver:
		for _, r := range k.Deliver.Recipients {
			a := arrival{id: mail.AccountID(r.Account), box: r.Mailbox, prefix: r.Prefix, body: k.Deliver.Body}
			a.msg = message{flags: mail.Flags(r.Flags), keywords: r.Keywords, date: mail.Instant(r.InternalDate)}
			if err := w.arrive(snap, at, a); err != nil {
				return err
			}
		}
	case *operation.Operation_Append:
		for _, m := range k.Append.Messages {
			a := arrival{id: mail.AccountID(op.Account), box: k.Append.Mailbox, body: m.Body}
			a.msg = message{flags: mail.Flags(m.Flags), keywords: m.Keywords, date: mail.Instant(m.InternalDate)}
			if err := w.arrive(snap, at, a); err != nil {
				return err
			}
		}
	}
	return nil
}

// arrival is one message as it came in.
type arrival struct {
	id     mail.AccountID
	box    []byte // mailbox id, or none
	prefix []byte
	body   *operation.Body
	msg    message
}

func (w *work) arrive(snap *index.Snapshot, at cluster.LSN, a arrival) error {
	s, id := w.placed(at, a.body)
	if b, err := snap.Get(bodyKey(id)); err != nil || b != nil {
		return err // beyondPacks had it
	}
	v, err := state.NewView(snap, a.id, nil, nil)
	if errors.Is(err, mail.ErrNoAccount) {
		v, err = nil, nil
	}
	if err != nil {
		return err
	}
	out, err := w.out(a.id, v)
	if err != nil || out == nil {
		return err
	}
	a.msg.mailbox = mail.Inbox
	if v != nil && len(a.box) > 0 {
		if box, err := v.Mailbox(mail.MailboxID(a.box)); err == nil {
			a.msg.mailbox = box.Name
		}
	}
	a.msg.unplaced, a.msg.size = true, int64(len(a.prefix))+s.length
	if err := s.verified(); err != nil {
		out.lost(a.msg, fmt.Errorf("body %d in the journal: %w", id, err))
		return nil
	}
	return out.write(a.msg, io.MultiReader(bytes.NewReader(a.prefix), io.NewSectionReader(s, 0, s.length)))
}

// placed is the body that the operation at an LSN refers to.
func (w *work) placed(at cluster.LSN, b *operation.Body) (*source, mail.BodyID) {
	var chunks []state.Placed
	for _, c := range b.Chunks {
		lsn := cluster.LSN(c.Lsn)
		if c.Back != 0 {
			lsn = at - cluster.LSN(c.Back)
		}
		chunks = append(chunks, state.Placed{LSN: lsn, Length: c.Length})
	}
	s := &source{ReaderAt: w.chunks(chunks), length: b.Size}
	copy(s.sum[:], b.Sha256)
	return s, mail.BodyID(chunks[0].LSN)
}
