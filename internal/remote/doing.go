package remote

import (
	"context"
	"errors"
	"fmt"

	"github.com/tandemail/tandemail/internal/mail"
	"github.com/tandemail/tandemail/internal/state"
)

// Do implements mail.Account. It asks whoever is master, under the same OpID, until the
// outcome is known, and for a hold at most after the first attempt that gave none. So
// a request without an id is asked once.
func (a *Account) Do(ctx context.Context, req mail.Request) (res mail.Result, err error) {
	open := false // an attempt may have had its effect
	err = a.patiently(ctx, func(c *conn) (final bool, err error) {
		if !c.hold() {
			return false, c.lost()
		}
		defer c.release()
		var sent bool
		res, sent, err = a.do(ctx, c, req)
		if err == nil {
			return true, nil
		}
		open = open || sent && (errors.Is(err, errLost) || errors.Is(err, mail.ErrUnknown) || ctx.Err() != nil)
		return !passing(err) || open && req.ID == (mail.OpID{}) || ctx.Err() != nil, err
	})
	if err != nil && open && !decided(err) {
		err = fmt.Errorf("%w: %v", mail.ErrUnknown, err) // whatever it is, it is of a later attempt
	}
	return res, err
}

// decided: the state says so, which knows whether the id was there before.
func decided(err error) bool {
	for _, c := range codes {
		if errors.Is(err, c.err) {
			return c.code >= firstRefusal || c.err == mail.ErrOldCommand
		}
	}
	return false
}

// do asks one master. sent: the change may have reached it.
func (a *Account) do(ctx context.Context, c *conn, req mail.Request) (res mail.Result, sent bool, err error) {
	if op, ok := req.Op.(mail.Append); ok {
		var ids []uint64
		if req.Op, ids, err = upload(ctx, c, op); err != nil {
			for _, id := range ids {
				c.giveUp(id)
			}
			return res, false, err
		}
	}
	octets, _, sent, err := c.call(ctx, qDo{a.as, req})
	if err != nil {
		return res, sent, err
	}
	if res, err = decoded(c, octets, decoder.result); err != nil {
		err = fmt.Errorf("%w: %w", errLost, err)
	}
	return res, sent, err
}

// upload sends the bodies of an Append, each once, and puts what names them at the
// master in their place. The ids of those that were begun are returned with an error too.
func upload(ctx context.Context, c *conn, op mail.Append) (mail.Op, []uint64, error) {
	var ids []uint64
	sent := map[*state.Staged]bodyRef{}
	messages := make([]mail.NewMessage, len(op.Messages))
	for i, m := range op.Messages {
		st, err := staged(m.Body)
		if err != nil {
			return nil, ids, err
		}
		ref, ok := sent[st]
		if !ok {
			up := &uploading{credits: make(chan struct{}, pieceWindow), refused: make(chan struct{})}
			id, err := c.begin(ctx, qStage{st.Size()}, up)
			if err != nil {
				return nil, ids, err
			}
			ids, ref = append(ids, id), bodyRef(id)
			if err := up.send(ctx, c, id, st); err != nil {
				return nil, ids, err
			}
			c.forget(id)
			sent[st] = ref
		}
		m.Body = ref
		messages[i] = m
	}
	op.Messages = messages
	return op, ids, nil
}

// uploading waits for the master to want more of a body.
type uploading struct {
	credits chan struct{}
	refused chan struct{} // closed when the master wants none
	err     error         // of that
}

// take implements waiter.
func (u *uploading) take(f frame) (bool, error) {
	switch f := f.(type) {
	case credit:
		for range min(f.N, pieceWindow+1) {
			select {
			case u.credits <- struct{}{}:
			default:
				return true, fmt.Errorf("credit of more than %d pieces: %w", pieceWindow, errProtocol)
			}
		}
		return false, nil
	case failed:
		u.err = errorOf(f.Code, f.Text)
		close(u.refused)
		return true, nil
	}
	return true, fmt.Errorf("frame %T for a message on its way: %w", f, errProtocol)
}

// send sends a body.
func (u *uploading) send(ctx context.Context, c *conn, id uint64, st *state.Staged) error {
	for range pieceWindow {
		u.credits <- struct{}{}
	}
	for chunk, err := range st.Chunks() {
		for err == nil && len(chunk) > 0 {
			n := min(len(chunk), pieceOctets)
			err = u.piece(ctx, c, data{id, chunk[:n]})
			chunk = chunk[n:]
		}
		if err != nil {
			return err
		}
	}
	return u.piece(ctx, c, data{ID: id})
}

// piece sends one when there is credit for it. The end costs none.
func (u *uploading) piece(ctx context.Context, c *conn, d data) error {
	if len(d.Octets) > 0 {
		select {
		case <-u.credits:
		case <-u.refused:
			return u.err
		case <-ctx.Done():
			return fmt.Errorf("send message: %w: %w", mail.ErrBusy, context.Cause(ctx))
		case <-c.ended:
			return c.lost()
		}
	}
	err := send(ctx, c.f, d)
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return fmt.Errorf("send message: %w: %w", mail.ErrBusy, err)
	}
	c.f.Abort()
	return c.lost()
}
