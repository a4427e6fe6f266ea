package deliver

import (
	"context"
	"errors"
	"log/slog"

	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/mail"
	"github.com/tandemail/tandemail/internal/slot"
	"github.com/tandemail/tandemail/internal/state"
)

// Handler answers requests on the machine of a master. Safe for concurrent use.
type Handler struct {
	// Slot finds the slot of a store on this machine.
	Slot func(cluster.Store) (*slot.Slot, error)
	Log  *slog.Logger
}

// Handle answers one request, whose octets it does not keep. The error is for
// octets that are no request.
func (h *Handler) Handle(ctx context.Context, b []byte) ([]byte, error) {
	r := reader{b: b}
	v, kind := r.u8(), r.u8()
	if r.bad || v != version {
		return nil, errWire
	}
	var resp Response
	switch kind {
	case kindDeliver:
		q := r.request()
		if r.bad {
			return nil, errWire
		}
		resp = h.Deliver(ctx, q)
	case kindSettle:
		s := r.settle()
		if !r.end() {
			return nil, errWire
		}
		resp = h.Settle(ctx, s)
	case kindProbe:
		p := r.probe()
		if !r.end() {
			return nil, errWire
		}
		resp = h.probe(p)
	default:
		return nil, errWire
	}
	return resp.append(nil), nil
}

// Deliver stores q if this machine's slot is the master.
func (h *Handler) Deliver(ctx context.Context, q Request) Response {
	if q.wait > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, q.wait)
		defer cancel()
	}
	s, err := h.Slot(q.Store)
	if err != nil {
		return Response{Status: Moved}
	}
	epoch := s.Status().Epoch
	if epoch < q.Epoch {
		return h.response(s, cluster.ErrBehind, q.Store)
	}
	out, err := s.Deliver(ctx, slot.Delivery{
		Transaction: q.Transaction, Octets: q.Octets, Recipients: q.Recipients,
		Actor: mail.Actor{Command: "LMTP", Remote: q.Remote, QueueID: q.QueueID},
	})
	if err != nil {
		return h.response(s, err, q.Store)
	}
	return Response{Status: Done, Epoch: epoch, Results: results(out)}
}

func results(out []state.RecipientOutcome) []Result {
	list := make([]Result, len(out))
	for i, o := range out {
		list[i] = Result{Number: o.Number, Code: o.Code, Duplicate: o.Duplicate, UIDValidity: o.Result.UIDValidity}
		if len(o.Result.UIDs) > 0 {
			list[i].UID = o.Result.UIDs[0].Lo
		}
	}
	return list
}

// Settle passes on what became of replies.
func (h *Handler) Settle(ctx context.Context, q Settle) Response {
	s, err := h.Slot(q.Store)
	if err != nil {
		return Response{Status: Moved}
	}
	return h.response(s, s.Settle(ctx, q.Confirmed, q.InDoubt), q.Store)
}

// probe tells whether a delivery would reach the master here.
func (h *Handler) probe(p probe) Response {
	s, err := h.Slot(p.store)
	if err != nil {
		return Response{Status: Moved}
	}
	st := s.Status()
	switch {
	case st.Epoch < p.epoch:
		err = cluster.ErrBehind
	case !st.Serving:
		err = cluster.ErrNotMaster
	}
	return h.response(s, err, p.store)
}

// response says what err means for a router, and who is master as far as s knows.
func (h *Handler) response(s *slot.Slot, err error, store cluster.Store) Response {
	rec := s.Status().Record
	resp := Response{Status: statusOf(err), Epoch: rec.Epoch, Master: rec.MachineOf(rec.Master)}
	if resp.Status == Failed {
		resp.Text = err.Error()
		h.Log.Warn("delivery failed", "store", store, "err", err)
	}
	return resp
}

// statuses maps the errors of a slot, first match first.
var statuses = []struct {
	err    error
	status Status
}{
	{mail.ErrMoved, Moved},
	{cluster.ErrBehind, Moved},
	{cluster.ErrNotMaster, Moved},
	{mail.ErrBusy, Busy}, // also of chunks laid ahead, whose own fate is nothing
	{mail.ErrUnknown, Unknown},
	{cluster.ErrUnknown, Unknown},
	{cluster.ErrStopped, Moved},
	{mail.ErrFull, Full},
	{cluster.ErrFull, Full},
	// The router's time is over, and it knows that.
	{context.DeadlineExceeded, Unknown},
	{context.Canceled, Unknown},
}

// statusOf: what is not in the table has failed, which an MTA hears as temporary.
func statusOf(err error) Status {
	if err == nil {
		return Done
	}
	for _, m := range statuses {
		if errors.Is(err, m.err) {
			return m.status
		}
	}
	return Failed
}
