package salvage

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"

	"github.com/tandemail/tandemail/internal/index"
	"github.com/tandemail/tandemail/internal/mail"
	"github.com/tandemail/tandemail/internal/state"
)

// mailboxes writes what the state says there is.
func (w *work) mailboxes(ctx context.Context) error {
	snap, err := w.db.Snapshot()
	if err != nil {
		return err
	}
	defer snap.Close()
	for id, err := range state.Accounts(snap) {
		if err == nil {
			err = w.account(ctx, snap, id)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (w *work) account(ctx context.Context, snap *index.Snapshot, id mail.AccountID) error {
	v, err := state.NewView(snap, id, nil, nil)
	if err != nil {
		return fmt.Errorf("account %v: %w", id, err)
	}
	defer v.Close()
	out, err := w.out(id, v)
	if err != nil || out == nil {
		return err
	}
	for box, err := range v.Mailboxes() {
		if err != nil {
			return fmt.Errorf("account %v: %w", id, err)
		}
		if box.NonExistent {
			continue
		}
		if err := w.mailbox(ctx, snap, out, v, box); err != nil {
			return fmt.Errorf("account %v: mailbox %q: %w", id, box.Name, err)
		}
	}
	return nil
}

func (w *work) mailbox(ctx context.Context, snap *index.Snapshot, out *account, v *state.View, box mail.MailboxInfo) error {
	if err := out.sink.mailbox(folder{box.Name, box.UIDValidity, box.Keywords}); err != nil {
		return err
	}
	out.report.Mailboxes++
	flags, stop := iter.Pull2(v.Flags(box.ID, 1, box.UIDNext, 0))
	defer stop()
	for m, err := range v.Messages(box.ID, 1, box.UIDNext) {
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return err
		}
		f, err, ok := flags()
		for ok && err == nil && f.UID < m.UID {
			f, err, ok = flags()
		}
		if err != nil {
			return err
		}
		msg := message{mailbox: box.Name, uid: m.UID, validity: box.UIDValidity, date: m.InternalDate, size: m.Size}
		if ok && f.UID == m.UID {
			msg.flags, msg.keywords = f.Flags, keywords(box.Keywords, f.Keywords)
		}
		if err := w.message(snap, out, msg, m); err != nil {
			return err
		}
	}
	return nil
}

// keywords are the names of those that are set.
func keywords(table []string, set mail.Keywords) (names []string) {
	for i, name := range table {
		if set.Has(i) {
			names = append(names, name)
		}
	}
	return names
}

// message writes one message, or notes that it is lost.
func (w *work) message(r state.Reader, out *account, msg message, m mail.Message) error {
	parts := []state.Section{}
	var bodies []*source
	var failed error
	for _, e := range m.Extents {
		b, err := w.body(r, e.Body)
		if err == nil && e.Offset+e.Length > b.length {
			err = fmt.Errorf("body %d has %d octets, not %d", e.Body, b.length, e.Offset+e.Length)
		}
		if b != nil {
			bodies = append(bodies, b)
		}
		if failed = err; failed != nil {
			break
		}
		parts = append(parts, state.Section{R: b, Offset: e.Offset, Length: e.Length})
	}
	var err error
	if failed == nil {
		c := state.NewContent(m.Prefix, parts, nil)
		msg.size = c.Size()
		err = out.write(msg, io.NewSectionReader(c, 0, c.Size()))
	} else {
		out.lost(msg, failed)
	}
	for _, b := range bodies {
		err = errors.Join(err, b.close())
	}
	return err
}
