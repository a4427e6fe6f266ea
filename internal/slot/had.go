package slot

import (
	"context"
	"fmt"

	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/journal"
	"github.com/tandemail/tandemail/internal/mail"
	"github.com/tandemail/tandemail/internal/state"
	"github.com/tandemail/tandemail/internal/state/operation"
)

// Ask is one insertion of a history that a forced failover left.
type Ask struct {
	state.DeliveryRef
	// ContentKey is that of a delivery of which the MTA may not have had the reply; it
	// may have come again under another id. Zero: none.
	ContentKey [32]byte
}

// Redelivered is the queue id of deliveries of such insertions.
const Redelivered = "after a forced failover"

// Had reports for each of asks whether this history, which goes on from from, has had
// it: under its id, as far back as journal and state tell, or, once for each, as a
// delivery of the same octets after from. It reads the whole journal, and ends with ctx.
// Only the serving master answers.
func (s *Slot) Had(ctx context.Context, from cluster.LSN, asks []Ask) ([]bool, error) {
	inc := s.current()
	if inc == nil || s.serving.master() == 0 {
		return nil, mail.ErrMoved
	}
	h := newHistory(from, asks)
	for b, err := range inc.journal.Batches(inc.journal.Low().LSN, 0) {
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return nil, fmt.Errorf("look for deliveries in the journal: %w", err)
		}
		h.batch(b)
	}
	snap, err := inc.snapshot()
	if err != nil {
		return nil, err
	}
	defer snap.release()
	for i := range asks {
		if h.had[i] {
			continue
		}
		if h.had[i], err = h.again(snap, i); err != nil {
			return nil, fmt.Errorf("look up a delivery: %w", err)
		}
	}
	return h.had, nil
}

// again reports whether an insertion was delivered again before. That may have been
// refused, so that what the journal says is not enough.
func (h *history) again(r state.Reader, i int) (bool, error) {
	known, err := state.Delivered(r, h.asks[i].DeliveryRef)
	tried, ok := h.tried[i]
	if known || err != nil || !ok {
		return known, err
	}
	for m, err := range state.Inserted(r, h.asks[i].Account, tried.at) {
		if err != nil || m.EmailID == tried.id {
			return err == nil, err
		}
	}
	return false, nil
}

// history is what is looked for.
type history struct {
	from    cluster.LSN
	asks    []Ask
	tried   map[int]redelivery // by their place in asks
	had     []bool
	number  map[deliveryNumber]int
	whole   map[mail.TransactionID][]int // of a command, all of it
	content map[contentOf][]int          // not matched yet
}

// redelivery was tried at some time, with an id that the message keeps.
type redelivery struct {
	at mail.Instant
	id mail.EmailID
}

type deliveryNumber struct {
	transaction mail.TransactionID
	number      uint32
}

type contentOf struct {
	account mail.AccountID
	key     [32]byte
}

func newHistory(from cluster.LSN, asks []Ask) *history {
	h := &history{
		from: from, asks: asks, had: make([]bool, len(asks)), tried: map[int]redelivery{},
		number: map[deliveryNumber]int{}, whole: map[mail.TransactionID][]int{}, content: map[contentOf][]int{},
	}
	for i, a := range asks {
		h.number[deliveryNumber{a.Transaction, a.Number}] = i
		h.whole[a.Transaction] = append(h.whole[a.Transaction], i)
		if a.ContentKey != [32]byte{} {
			c := contentOf{a.Account, a.ContentKey}
			h.content[c] = append(h.content[c], i)
		}
	}
	return h
}

func (h *history) batch(b journal.Batch) {
	for lsn, rec := range b.Records() {
		if rec.Kind != journal.KindOperation {
			continue
		}
		op, err := operation.Decode(rec.Payload)
		if err != nil {
			continue // it had no effect that could be told
		}
		id, ok := state.Insertion(lsn, op)
		d := op.GetDeliver()
		switch {
		case !ok:
		case d == nil:
			for _, i := range h.whole[id] {
				h.had[i] = true
			}
		default:
			for _, r := range d.Recipients {
				h.recipient(lsn, id, op, r)
			}
		}
	}
}

// recipient: an id is looked for anywhere, octets in what came after the histories
// parted, and each delivery stands for one.
func (h *history) recipient(lsn cluster.LSN, id mail.TransactionID, op *operation.Operation, r *operation.Recipient) {
	i, ok := h.number[deliveryNumber{id, r.Number}]
	switch {
	case ok && op.GetActor().GetQueueId() == Redelivered:
		if _, known := h.tried[i]; !known {
			h.tried[i] = redelivery{mail.Instant(op.Time), mail.EmailID(r.EmailId)}
		}
		return
	case ok:
		h.had[i] = true
		return
	}
	if lsn < h.from || len(r.ContentKey) == 0 {
		return
	}
	c := contentOf{account: mail.AccountID(r.Account), key: [32]byte(r.ContentKey)}
	for list := h.content[c]; len(list) > 0; list = list[1:] {
		h.content[c] = list[1:]
		if !h.had[list[0]] {
			h.had[list[0]] = true
			return
		}
	}
}
