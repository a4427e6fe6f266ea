package host

import (
	"context"
	"errors"
	"fmt"

	"github.com/tandemail/tandemail/internal/imapd"
	"github.com/tandemail/tandemail/internal/session"
)

// redeem brings the executor into the state that the token describes.
// imapd.ErrNotResumable, and what else keeps a command from being executed.
func (c *conn) redeem(ctx context.Context) error {
	t, err := session.DecodeToken(c.open.Token)
	switch {
	case err != nil:
		return errors.Join(imapd.ErrNotResumable, err)
	case t.Account != c.open.Account || t.User != c.open.User || t.By != c.open.By:
		return fmt.Errorf("%w: token of another user", imapd.ErrNotResumable)
	}
	return c.executor.Resume(ctx, t)
}
