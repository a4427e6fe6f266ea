package host

import (
	"context"
	"errors"
	"fmt"

	"github.com/tandemail/tandemail/internal/session"
)

// redeem brings the executor into the state that the token describes.
// session.ErrNotResumable, and what else keeps a command from being executed.
func (c *conn) redeem(ctx context.Context) error {
	t, err := session.DecodeToken(c.open.Token)
	switch {
	case err != nil:
		return errors.Join(session.ErrNotResumable, err)
	case t.Account != c.open.Account || t.User != c.open.User || t.By != c.open.By:
		return fmt.Errorf("%w: token of another user", session.ErrNotResumable)
	}
	return c.executor.resume(ctx, t)
}
