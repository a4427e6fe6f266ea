package imapd

import (
	"context"

	"github.com/tandemail/tandemail/internal/message"
)

// A search for text in bodies reads every message, unless its signature says that the
// text is not in it. Signatures are made by the first such search and kept in pages.

// contains searches the message's text.
func (c *content) contains(ctx context.Context, n message.Needle, scope message.Scope) (bool, error) {
	if c.row != nil && !c.s.at.away() {
		may, err := c.row.ahead.may(ctx, c, n)
		if err != nil || !may {
			return false, err
		}
	}
	root, err := c.structure(ctx)
	if err != nil {
		return false, err
	}
	octets, err := c.open(ctx)
	if err != nil {
		return false, err
	}
	return message.Contains(ctx, octets, root, n, scope)
}

// may reports whether a row's message may have n in its text.
func (a *ahead) may(ctx context.Context, c *content, n message.Needle) (bool, error) {
	p := &a.signatures
	b, err := a.paged(ctx, c.row, p, func() ([]byte, error) {
		if !p.loaded {
			return nil, nil
		}
		s, err := c.sign(ctx)
		return append([]byte{}, s...), err // not nil: it is known that there is none
	})
	return err == nil && message.Signature(b).May(n), err
}

func (c *content) sign(ctx context.Context) (message.Signature, error) {
	root, err := c.structure(ctx)
	if err != nil {
		return nil, err
	}
	octets, err := c.open(ctx)
	if err != nil {
		return nil, err
	}
	return message.Sign(ctx, octets, root)
}
