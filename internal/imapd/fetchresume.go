package imapd

import (
	"context"
	"fmt"
	"io"

	"github.com/tandemail/tandemail/internal/mail"
	"github.com/tandemail/tandemail/internal/session"
)

// rest is those of uids that the client has no whole response for. If the client is
// inside the response of one, the run begins there.
func (r *fetchRun) rest(uids mail.UIDSet) (mail.UIDSet, error) {
	if r.resumed.number != r.number {
		return uids, nil
	}
	p := r.resumed.fetch
	if p.Whole == maxUID {
		return nil, nil
	}
	rest := intersect(uids, mail.UIDSet{{Lo: p.Whole + 1, Hi: maxUID}})
	if r.inside = p.Inside; r.inside == nil {
		return rest, nil
	}
	if !rest.Contains(r.inside.UID) {
		return nil, r.lost()
	}
	// Messages between have gone: the client was not told of them.
	return intersect(rest, mail.UIDSet{{Lo: r.inside.UID, Hi: maxUID}}), nil
}

// lost says that the response which the client has begun to read cannot be ended.
func (r *fetchRun) lost() error {
	return fmt.Errorf("%w: message %d cannot be read on from octet %d of its literal %d",
		ErrNotResumable, r.inside.UID, r.inside.Octet, r.inside.Item)
}

// again passes over what the client has of the response in which it was
// interrupted, which began at start, and goes on in the literal st. What was to be
// told before the response is told after it.
func (r *fetchRun) again(ctx context.Context, st session.Stream, from io.Reader, start int) error {
	p := r.inside
	r.out.buf = r.out.buf[:start]
	if st.Item < p.Item {
		return nil
	}
	if st.Item > p.Item || st.Length != p.Length || p.Octet > st.Length {
		return r.lost()
	}
	if _, err := io.CopyN(io.Discard, from, p.Octet); err != nil {
		return &lostError{fmt.Errorf("skip to octet %d of message %d: %w", p.Octet, p.UID, err)}
	}
	r.later = append(r.later, r.out.buf...)
	r.out.buf, r.inside = r.out.buf[:0], nil
	st.Offset = p.Octet
	return r.send(ctx, st, from)
}
