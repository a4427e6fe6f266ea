package state

import (
	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/mail"
	"github.com/tandemail/tandemail/internal/state/operation"
)

// How long deliveries are remembered (design: exactly once).
const (
	DeliveryAge = mail.Instant(24 * 3600 * 1e6)     // the result for a recipient
	DoubtAge    = mail.Instant(5 * 24 * 3600 * 1e6) // an unconfirmed one, from the delivery on
	// DoubtAfter: a delivery that nobody confirmed or called in doubt for so long
	// is in doubt, since its router must have died. Routers settle much sooner.
	DoubtAfter = mail.Instant(120 * 1e6)
)

// delivery is the record of one recipient of one transaction.
type delivery struct {
	time       mail.Instant
	contentKey []byte // 32 octets or none
	code       Code
	result     mail.Result
}

func deliveryKey(dst key, a mail.AccountID, id deliveryID) key {
	return accountKey(dst, a, kindDelivery).octets(id.transaction[:]...).uint32(id.number)
}

type deliveryID struct {
	transaction mail.TransactionID
	number      uint32
}

func (d *delivery) encode(w *writer) {
	w.start()
	w.int(int64(d.time))
	w.bytes(d.contentKey)
	encodeResult(w, d.code, &d.result)
}

// decodeDelivery: contentKey aliases b.
func decodeDelivery(b []byte) (d delivery, err error) {
	var r reader
	r.start(b)
	d.time = mail.Instant(r.int())
	d.contentKey = r.bytes()
	d.code, d.result = r.result()
	return d, r.finish("delivery")
}

// deliver adds one body for several recipients, each decided on its own.
func (s *store) deliver(at cluster.LSN, op *operation.Operation, d *operation.Deliver) Outcome {
	out := Outcome{Recipients: make([]RecipientOutcome, 0, len(d.Recipients))}
	body := bodyOf(at, d.Body)
	var txs []*tx
	stored := uint64(0)
	for _, r := range d.Recipients {
		t := s.txOf(&txs, mail.AccountID(r.Account), at, mail.Instant(op.Time))
		if t == nil {
			out.Recipients = append(out.Recipients, RecipientOutcome{Number: r.Number, Code: NoAccount})
			continue
		}
		o := t.deliverTo(d, r, body)
		if o.Code == Done && !o.Repeated && !o.Duplicate {
			stored++
		}
		out.Recipients = append(out.Recipients, o)
	}
	if stored > 0 {
		s.retainOnly(at, d.Body, stored)
	}
	for _, t := range txs {
		t.expire(expirePerOperation)
		if c := t.flush(); len(c.Mailboxes) > 0 {
			out.Changed = append(out.Changed, c)
		}
	}
	return out
}

// txOf returns the account's work, begun at its first recipient.
func (s *store) txOf(txs *[]*tx, id mail.AccountID, at cluster.LSN, now mail.Instant) *tx {
	for _, t := range *txs {
		if t.id == id {
			return t
		}
	}
	t, ok := s.begin(id, at, now)
	if !ok {
		return nil
	}
	*txs = append(*txs, t)
	return t
}

// deliverTo decides one recipient: seen before, in doubt before, refused or stored.
func (t *tx) deliverTo(d *operation.Deliver, r *operation.Recipient, body mail.BodyID) RecipientOutcome {
	o := RecipientOutcome{Number: r.Number}
	id := deliveryID{mail.TransactionID(d.Transaction), r.Number}
	if b := t.get(deliveryKey(t.key, t.id, id)); b != nil {
		old, err := decodeDelivery(b)
		if err != nil {
			t.fail(err)
		}
		o.Code, o.Result, o.Repeated = old.code, old.result, true
		return o
	}
	if t.acc.frozen {
		o.Code = Frozen
		return o
	}
	marks := t.marks(r.ContentKey)
	if first := t.inDoubt(marks, r.ContentKey, id); first != nil {
		o.Code, o.Result, o.Duplicate = first.code, first.result, true
	} else {
		o.Code, o.Result = t.insertDelivery(d, r, body)
	}
	rec := delivery{time: t.now, code: o.Code, result: o.Result}
	if o.Code == Done {
		rec.contentKey = r.ContentKey
	}
	rec.encode(&t.buf)
	t.set(deliveryKey(t.key, t.id, id), t.buf)
	t.enqueueDelivery(t.now+DeliveryAge, id)
	if o.Code == Done && !o.Duplicate && len(r.ContentKey) > 0 {
		t.addMark(marks, r.ContentKey, id)
	}
	return o
}

func (t *tx) insertDelivery(d *operation.Deliver, r *operation.Recipient, body mail.BodyID) (Code, mail.Result) {
	b := t.target(r)
	if b == nil {
		return NoMailbox, mail.Result{}
	}
	size := d.Body.Size + int64(len(r.Prefix))
	if size > mail.MaxMessageSize {
		return Limit, mail.Result{}
	}
	if code := t.room(b, 1, size); code != Done {
		return code, mail.Result{}
	}
	// A full keyword table is no reason to refuse mail: what does not fit is dropped.
	var words mail.Keywords
	if len(r.Keywords) > 0 {
		table := t.keywords(b)
		for i := range r.Keywords {
			if k, grown, ok := places(table, r.Keywords[i:i+1]); ok {
				words, table = words.Or(k), grown
			}
		}
		b.growKeywords(table)
	}
	uid := t.insert(b, &mail.Message{
		Size:         size,
		InternalDate: mail.Instant(r.InternalDate),
		EmailID:      mail.EmailID(r.EmailId),
		ThreadID:     t.thread(d.References, mail.ThreadID(r.ThreadId)),
		Prefix:       r.Prefix,
		Extents:      []mail.Extent{{Body: body, Length: d.Body.Size}},
	}, mail.Flags(r.Flags), words)
	return Done, mail.Result{
		Mailbox: b.id, UIDValidity: b.uidvalidity, ModSeq: b.highest,
		UIDs: mail.UIDSet{{Lo: uid, Hi: uid}},
	}
}

// target is the mailbox asked for, by id or by use; INBOX when that is gone.
func (t *tx) target(r *operation.Recipient) *box {
	if len(r.Mailbox) > 0 {
		if b := t.box(mail.MailboxID(r.Mailbox)); b != nil {
			return b
		}
	} else if r.Use != "" {
		if id := t.idAt(t.useKey(mail.SpecialUse(r.Use))); id != nil {
			if b := t.box(*id); b != nil {
				return b
			}
		}
	}
	return t.box(t.acc.inbox)
}

// settle confirms deliveries, or calls them in doubt. Those not known are passed over.
func (s *store) settle(at cluster.LSN, op *operation.Operation, settled *operation.SettleDeliveries) {
	var txs []*tx
	for i, list := range [][]*operation.DeliveryRef{settled.Confirmed, settled.InDoubt} {
		for _, ref := range list {
			t := s.txOf(&txs, mail.AccountID(ref.Account), at, mail.Instant(op.Time))
			if t == nil {
				continue
			}
			id := deliveryID{mail.TransactionID(ref.Transaction), ref.Number}
			b := t.get(deliveryKey(t.key, t.id, id))
			if b == nil {
				continue
			}
			d, err := decodeDelivery(b)
			if err != nil {
				s.fail(err)
				return
			}
			if len(d.contentKey) > 0 {
				t.settleMark([32]byte(d.contentKey), id, i == 1)
			}
		}
	}
	for _, t := range txs {
		t.flush()
	}
}
