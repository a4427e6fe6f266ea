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

// Handler answers requests on the machine of a master.
type Handler struct {
	// Slot finds the slot of a store on this machine.
	Slot func(cluster.Store) (*slot.Slot, error)
	Log  *slog.Logger
}

// Handle answers one request. The error is for octets that are no request.
func (h *Handler) Handle(ctx context.Context, b []byte) ([]byte, error) {
	r := reader{b: b}
	v, kind := r.u8(), r.u8()
	switch {
	case r.bad || v != version:
		return nil, errWire
	case kind == kindDeliver:
		q := r.request()
		if r.bad {
			return nil, errWire
		}
		resp := h.Deliver(ctx, q)
		return resp.append(nil), nil
	case kind == kindSettle:
		s := Settle{Store: cluster.Store(r.text())}
		s.Confirmed, s.InDoubt = r.refs(), r.refs()
		if r.bad || len(r.b) != 0 {
			return nil, errWire
		}
		resp := h.Settle(ctx, s)
		return resp.append(nil), nil
	}
	return nil, errWire
}

// Deliver stores q if this machine's slot is the master.
func (h *Handler) Deliver(ctx context.Context, q Request) Response {
	s, err := h.Slot(q.Store)
	if err != nil {
		return Response{Status: Moved}
	}
	st := s.Status()
	if st.Epoch < q.Epoch {
		return h.response(s, cluster.ErrBehind, q.Store)
	}
	out, err := s.Deliver(ctx, slot.Delivery{
		Transaction: q.Transaction, Octets: q.Octets, Recipients: q.Recipients,
		Actor: mail.Actor{Command: "LMTP", Remote: q.Remote, QueueID: q.QueueID},
	})
	if err != nil {
		return h.response(s, err, q.Store)
	}
	return Response{Status: Done, Epoch: st.Epoch, Results: results(out)}
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

// statusOf is the one table from errors to statuses. What is not known has failed,
// which an MTA hears as temporary.
func statusOf(err error) Status {
	for _, m := range []struct {
		err    error
		status Status
	}{
		{mail.ErrMoved, Moved}, {cluster.ErrBehind, Moved}, {cluster.ErrNotMaster, Moved}, {cluster.ErrStopped, Moved},
		{mail.ErrBusy, Busy}, {mail.ErrUnknown, Unknown}, {cluster.ErrUnknown, Unknown},
	} {
		if errors.Is(err, m.err) {
			return m.status
		}
	}
	if err == nil {
		return Done
	}
	return Failed
}
