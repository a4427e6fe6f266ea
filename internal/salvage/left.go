package salvage

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"runtime/debug"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/journal"
	"github.com/tandemail/tandemail/internal/mail"
	"github.com/tandemail/tandemail/internal/state"
	"github.com/tandemail/tandemail/internal/state/operation"
)

// LeftConfig is of Left. All but Cut are required.
type LeftConfig struct {
	FS vfs.FS
	// Dirs are those of one slot, whose journal nobody writes; with Cut, a running
	// slot's will do.
	Dirs []string
	// Cut is a tail kept beside the journal; nil: the journal itself.
	Cut   *journal.Cut
	Forks []cluster.Fork // of the store, all
	// Scratch is a directory on FS, outside Dirs, for a temporary index. It is made,
	// and removed again.
	Scratch string
}

// LeftOp is an operation of a history that a forced failover left. One without Op is
// the end.
type LeftOp struct {
	LSN  cluster.LSN
	From cluster.LSN // where the history was left
	Op   *operation.Operation
	// Outcome is what it came to there; nil if the state there cannot be told, and
	// it is taken for done.
	Outcome *state.Outcome
	Added   []Added // the messages that it inserted, in order
	Mailbox string  // the name of the one that it changes, "" if it cannot be told
}

// Added is a message as it was inserted.
type Added struct {
	Account    mail.AccountID
	Number     uint32 // of a delivery's recipient, else the place in the operation
	ContentKey [32]byte
	Confirmed  bool // the MTA had the reply
	Mailbox    mail.MailboxID
	Name       string // of the mailbox, "" if it cannot be told
	Flags      mail.Flags
	Keywords   []string
	Date       mail.Instant
	EmailID    mail.EmailID
	ThreadID   mail.ThreadID
	Prefix     []byte
	Size       int64 // without the prefix
	// Octets reads and verifies what follows the prefix, while Left runs.
	Octets func() ([]byte, error)
}

// LeftReport says what was read.
type LeftReport struct {
	Left     bool // false: no forced failover left this history, or not yet as far as is known
	From, To cluster.LSN
	Epoch    cluster.Epoch // of the last batch
	Hole     bool          // a part of it is not in the journal, or cannot be read
	Damage   []string      // what could not be read
}

// Left shows the operations of a history from where forced failovers left it on, in
// order. State is made up to there, so that visit is told what each came to. An
// error of visit ends it.
func Left(ctx context.Context, cfg LeftConfig, visit func(LeftOp) error) (r LeftReport, err error) {
	fs := readOnly{cfg.FS}
	slots, err := find(fs, cfg.Dirs)
	if err != nil {
		return r, err
	}
	if len(slots) != 1 || slots[0].journal == "" {
		return r, fmt.Errorf("%v: not one slot with a journal: %w", cfg.Dirs, ErrNothing)
	}
	l := &left{
		work:   &work{cfg: &Config{}, fs: fs, from: slots[0], report: &SlotReport{}, scratch: cfg.Scratch, on: cfg.FS},
		report: &r, visit: visit, confirmed: map[state.DeliveryRef]bool{},
	}
	if cfg.Cut != nil {
		l.journal, err = journal.OpenCut(fs, l.from.journal, *cfg.Cut)
	} else {
		l.journal, err = journal.OpenRemains(fs, l.from.journal)
	}
	if err != nil {
		return r, err
	}
	defer func() {
		for _, p := range l.packs {
			p.set.Close()
		}
		err = errors.Join(err, l.closeIndex(), l.journal.Close())
	}()
	if err := l.survey(ctx, cfg.Forks); err != nil || !r.Left {
		return r, err
	}
	l.limit = r.From
	if err := l.restore(); err != nil {
		return r, err
	}
	if err := l.indexPacks(); err != nil {
		return r, err
	}
	if err = l.walk(ctx); err == nil {
		err = visit(LeftOp{From: r.From})
	}
	for _, d := range l.work.report.Damage {
		l.damage(errors.New(d))
	}
	return r, err
}

// left is one walk over such a history.
type left struct {
	*work
	report    *LeftReport
	visit     func(LeftOp) error
	confirmed map[state.DeliveryRef]bool
	unknown   bool // the state where the history was left cannot be told
	begun     bool // a batch was seen
}

// trimmed: what was left first is in no operation any more, but in snapshots and packs,
// where nothing tells what came to be when. A person has to compare.
func (l *left) trimmed(low cluster.LSN) error {
	l.report.Hole = true
	return fmt.Errorf("the journal begins at %d, after the histories parted at %d: take the messages out with `tandemail salvage`, and deliver by hand what is missing", low, l.report.From)
}

func (l *left) damage(err error) {
	if len(l.report.Damage) < maxDamage {
		l.report.Damage = append(l.report.Damage, err.Error())
	}
}

// maxConfirmed bounds the memory for replies that are known to have arrived; those
// beyond count as in doubt.
const maxConfirmed = 1 << 19

// survey finds out where the history was left, and which deliveries were confirmed.
func (l *left) survey(ctx context.Context, forks []cluster.Fork) error {
	lowest := cluster.LSN(0)
	for i, f := range forks {
		if i == 0 || f.LSN < lowest {
			lowest = f.LSN
		}
	}
	for b, err := range l.journal.Batches() {
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, cluster.ErrNewer):
			return err
		case err != nil:
			continue // walk tells
		}
		l.report.Epoch, l.report.To = b.Epoch, b.End
		if b.Base < lowest {
			continue
		}
		for _, rec := range b.Records() {
			if rec.Kind != journal.KindOperation {
				continue
			}
			op, err := operation.Decode(rec.Payload)
			if err != nil || op.GetSettleDeliveries() == nil {
				continue
			}
			for _, ref := range op.GetSettleDeliveries().Confirmed {
				if len(l.confirmed) < maxConfirmed {
					l.confirmed[state.DeliveryRef{Account: mail.AccountID(ref.Account), Transaction: mail.TransactionID(ref.Transaction), Number: ref.Number}] = true
				}
			}
		}
	}
	from, ok := cluster.Left(forks, l.report.Epoch)
	l.report.From, l.report.Left = from, ok && from < l.report.To
	return nil
}

// walk makes the state up to where the history was left, and shows what follows.
func (l *left) walk(ctx context.Context) error {
	for b, err := range l.journal.Batches() {
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, cluster.ErrNewer):
			return err
		case err != nil:
			l.damage(err)
			l.unknown = true
			var corrupt *journal.CorruptError
			l.report.Hole = l.report.Hole || !errors.As(err, &corrupt) || corrupt.At >= l.report.From
		case b.Base > l.report.From && !l.begun && b.Base == l.journal.Low():
			return l.trimmed(b.Base)
		case b.End <= l.at.LSN:
			l.begun = true
		case b.Base < l.report.From:
			l.common(b)
		default:
			if err := l.tail(b); err != nil {
				return err
			}
		}
		if err := l.db.Err(); err != nil {
			return err
		}
	}
	return nil
}

// common applies a batch that is not shown.
func (l *left) common(b journal.Batch) {
	l.begun = true
	if l.unknown = l.unknown || b.Base != l.at.LSN; l.unknown {
		return
	}
	if err := l.apply(b); err != nil {
		l.damage(err)
		l.unknown = true
	}
}

func (l *left) tail(b journal.Batch) error {
	l.begun = true
	if b.Base != l.at.LSN && !l.unknown {
		l.damage(fmt.Errorf("the state at %d cannot be told: operations are taken for done, and copies are not made again", l.report.From))
		l.unknown = true
	}
	for lsn, rec := range b.Records() {
		if rec.Kind != journal.KindOperation && rec.Kind != journal.KindFork {
			continue
		}
		op, err := operation.Decode(rec.Payload)
		if errors.Is(err, cluster.ErrNewer) {
			return fmt.Errorf("operation at %d: %w", lsn, err)
		}
		if err != nil {
			l.damage(fmt.Errorf("operation at %d: %w", lsn, err))
			continue
		}
		shown := LeftOp{LSN: lsn, From: l.report.From, Op: op}
		if !l.unknown {
			out, err := l.applyOne(b, lsn, rec, op)
			if err != nil {
				l.damage(err)
				l.unknown = true
			} else {
				shown.Outcome = &out
			}
		}
		if shown.Added, err = l.added(lsn, op, shown.Outcome); err != nil {
			return err
		}
		shown.Mailbox = l.nameOf(op)
		if err := l.visit(shown); err != nil {
			return err
		}
	}
	l.at = b.Position()
	return nil
}

// applyOne makes one operation happen in the temporary state.
func (l *left) applyOne(b journal.Batch, lsn cluster.LSN, rec journal.Record, op *operation.Operation) (out state.Outcome, err error) {
	kv := l.db.NewBatch()
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("operation at %d: panic: %v\n%s", lsn, p, debug.Stack())
		}
		err = errors.Join(err, kv.Close())
	}()
	if out, err = state.Apply(kv, lsn, rec.Level, op); err != nil {
		return out, fmt.Errorf("operation at %d: %w", lsn, err)
	}
	return out, kv.Commit(b.Position())
}

// added are the messages that an operation inserted.
func (l *left) added(lsn cluster.LSN, op *operation.Operation, out *state.Outcome) (list []Added, err error) {
	if out == nil {
		return l.brought(lsn, op), nil
	}
	switch k := op.Kind.(type) {
	case *operation.Operation_Deliver:
		for i, r := range k.Deliver.Recipients {
			o := out.Recipients[i]
			if o.Code != state.Done || o.Repeated || o.Duplicate {
				continue
			}
			a, err := l.inserted(mail.AccountID(r.Account), o.Result)
			if err != nil || len(a) != 1 {
				return nil, errors.Join(fmt.Errorf("delivery at %d: %d messages", lsn, len(a)), err)
			}
			l.of(&a[0], k.Deliver, r)
			list = append(list, a[0])
		}
	case *operation.Operation_Append, *operation.Operation_Copy:
		if out.Code == state.Done && !out.Repeated {
			return l.inserted(mail.AccountID(op.Account), out.Result)
		}
	}
	return list, nil
}

// of notes which delivery brought a message.
func (l *left) of(a *Added, d *operation.Deliver, r *operation.Recipient) {
	a.Number = r.Number
	copy(a.ContentKey[:], r.ContentKey)
	a.Confirmed = l.confirmed[state.DeliveryRef{Account: a.Account, Transaction: mail.TransactionID(d.Transaction), Number: r.Number}]
}

// inserted are the messages of a result, as the temporary state has them.
func (l *left) inserted(id mail.AccountID, res mail.Result) (list []Added, err error) {
	snap, err := l.db.Snapshot()
	if err != nil {
		return nil, err
	}
	defer snap.Close()
	v, err := state.NewView(snap, id, nil, nil)
	if err != nil {
		return nil, err
	}
	defer v.Close()
	box, err := v.Mailbox(res.Mailbox)
	if err != nil {
		return nil, err
	}
	for _, r := range res.UIDs {
		flags := map[mail.UID]mail.MessageFlags{}
		for f, err := range v.Flags(box.ID, r.Lo, r.Hi, 0) {
			if err != nil {
				return nil, err
			}
			flags[f.UID] = f
		}
		for m, err := range v.Messages(box.ID, r.Lo, r.Hi) {
			if err != nil {
				return nil, err
			}
			f := flags[m.UID]
			list = append(list, Added{
				Account: id, Number: uint32(len(list)), Mailbox: box.ID, Name: box.Name, Flags: f.Flags,
				Keywords: keywords(box.Keywords, f.Keywords), Date: m.InternalDate, EmailID: m.EmailID, ThreadID: m.ThreadID,
				Prefix: bytes.Clone(m.Prefix), Size: m.Size - int64(len(m.Prefix)), Octets: l.octets(snap, m.Extents),
			})
		}
	}
	return list, nil
}

// nameOf is the name of the mailbox whose messages an operation changes, for people.
func (l *left) nameOf(op *operation.Operation) string {
	var id []byte
	switch k := op.Kind.(type) {
	case *operation.Operation_Store:
		id = k.Store.Mailbox
	case *operation.Operation_Expunge:
		id = k.Expunge.Mailbox
	case *operation.Operation_Move:
		id = k.Move.From
	case *operation.Operation_SetAcl:
		id = k.SetAcl.Mailbox
	default:
		return ""
	}
	snap, err := l.db.Snapshot()
	if err != nil {
		return ""
	}
	defer snap.Close()
	v, err := state.NewView(snap, mail.AccountID(op.Account), nil, nil)
	if err != nil {
		return ""
	}
	defer v.Close()
	box, err := v.Mailbox(mail.MailboxID(id))
	if err != nil {
		return ""
	}
	return box.Name
}

// octets finds out where extents are now: a later operation may let go of them.
func (l *left) octets(r state.Reader, extents []mail.Extent) func() ([]byte, error) {
	var parts []func() ([]byte, error)
	for _, e := range extents {
		rec, ok, err := state.ReadBody(r, e.Body)
		loc, found, errLoc := state.ReadLocation(r, e.Body)
		parts = append(parts, func() ([]byte, error) {
			if err = errors.Join(err, errLoc); err != nil || !ok {
				return nil, errors.Join(fmt.Errorf("body %d is not known", e.Body), err)
			}
			return l.part(e, rec, loc, found)
		})
	}
	return func() ([]byte, error) {
		var all []byte
		for _, read := range parts {
			b, err := read()
			if err != nil {
				return nil, err
			}
			all = append(all, b...)
		}
		return all, nil
	}
}

func (l *left) part(e mail.Extent, rec state.BodyRecord, loc state.Location, found bool) ([]byte, error) {
	p, failed := l.packed(e.Body)
	if p != nil {
		b, err := whole(&source{p, rec.Length, rec.SHA256, nil}, e)
		if err = errors.Join(err, p.Close()); err == nil {
			return b, nil
		}
		failed = errors.Join(failed, err)
	}
	if !found || len(loc.Chunks) == 0 {
		return nil, errors.Join(fmt.Errorf("body %d is nowhere", e.Body), failed)
	}
	b, err := whole(&source{l.chunks(loc.Chunks), rec.Length, rec.SHA256, nil}, e)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("body %d in the journal: %w", e.Body, err), failed)
	}
	return b, nil
}

// whole reads an extent of a body that is verified.
func whole(s *source, e mail.Extent) ([]byte, error) {
	if err := s.verified(); err != nil {
		return nil, err
	}
	return io.ReadAll(io.NewSectionReader(s, e.Offset, e.Length))
}

// brought is what an operation says itself of the messages that it brings, when no
// state tells what became of it.
func (l *left) brought(lsn cluster.LSN, op *operation.Operation) (list []Added) {
	add := func(id []byte, body *operation.Body, a Added) {
		s, _ := l.placed(lsn, body)
		a.Account, a.Size = mail.AccountID(id), body.Size
		a.Octets = func() ([]byte, error) { return whole(s, mail.Extent{Length: body.Size}) }
		list = append(list, a)
	}
	switch k := op.Kind.(type) {
	case *operation.Operation_Deliver:
		for _, r := range k.Deliver.Recipients {
			a := Added{
				Flags: mail.Flags(r.Flags), Keywords: r.Keywords, Date: mail.Instant(r.InternalDate), Prefix: r.Prefix,
				EmailID: mail.EmailID(r.EmailId), ThreadID: mail.ThreadID(r.ThreadId),
			}
			copy(a.Mailbox[:], r.Mailbox)
			add(r.Account, k.Deliver.Body, a)
			l.of(&list[len(list)-1], k.Deliver, r)
		}
	case *operation.Operation_Append:
		for i, m := range k.Append.Messages {
			add(op.Account, m.Body, Added{
				Number: uint32(i), Mailbox: mail.MailboxID(k.Append.Mailbox), Flags: mail.Flags(m.Flags), Keywords: m.Keywords,
				Date: mail.Instant(m.InternalDate), EmailID: mail.EmailID(m.EmailId), ThreadID: mail.ThreadID(m.ThreadId),
			})
		}
	}
	return list
}
