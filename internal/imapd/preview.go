package imapd

import (
	"context"

	"github.com/tandemail/tandemail/internal/imapwire"
	"github.com/tandemail/tandemail/internal/mail"
	"github.com/tandemail/tandemail/internal/message"
)

// preview appends PREVIEW (RFC 8970). With LAZY one that is not there yet is NIL.
func (c *content) preview(ctx context.Context, b []byte, lazy bool) ([]byte, error) {
	b = append(b, "PREVIEW "...)
	m, err := c.message(ctx)
	if err != nil {
		return nil, err
	}
	key := previewKey(m.EmailID)
	if data := c.s.derived(message.PreviewVersion, key); len(data) > 0 {
		return imapwire.AppendString(b, string(data[1:])), nil
	}
	if lazy {
		return append(b, "NIL"...), nil
	}
	octets, err := c.open(ctx)
	if err != nil {
		return nil, err
	}
	root, err := c.structure(ctx)
	if err != nil {
		return nil, err
	}
	text, err := message.Preview(octets, root)
	if err != nil {
		return nil, err
	}
	c.s.at.account.SetDerived(key, message.PreviewVersion, append([]byte{0}, text...)) // never empty
	return imapwire.AppendString(b, text), nil
}

// previewKey is where the preview of a content is kept: apart from what else is
// derived of it, which lists of envelopes need not carry along.
func previewKey(e mail.EmailID) mail.EmailID {
	for i := range e {
		e[i] = ^e[i]
	}
	return e
}
