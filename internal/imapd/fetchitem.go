package imapd

import (
	"context"
	"time"

	"github.com/tandemail/tandemail/internal/imapwire"
	"github.com/tandemail/tandemail/internal/mail"
	"github.com/tandemail/tandemail/internal/message"
)

// plain writes the beginning of a response with all items that are not sections.
func (r *fetchRun) plain(ctx context.Context, w *row, c *content) error {
	r.out.buf = r.fetchHead(w.number, w.flags.UID, false)
	flags := false
	for i, item := range r.items {
		if i > 0 {
			r.out.buf = append(r.out.buf, ' ')
		}
		flags = flags || item.Kind == imapwire.ItemFlags
		b, err := r.item(ctx, r.out.buf, item, w, c)
		if err != nil {
			return err
		}
		r.out.buf = b
	}
	if !flags && (&update{told: r.seen}).hasTold(&w.flags) {
		if len(r.items) > 0 {
			r.out.buf = append(r.out.buf, ' ')
		}
		r.out.buf = append(r.out.buf, "FLAGS "...)
		r.out.buf = r.appendFlags(r.out.buf, &w.flags, r.keywords)
		if r.condStore() {
			r.out.buf = appendModSeq(append(r.out.buf, ' '), w.flags.ModSeq)
		}
		flags = true
	}
	if len(r.sections) > 0 && (flags || len(r.items) > 0) {
		r.out.buf = append(r.out.buf, ' ')
	}
	return nil
}

// item appends one item with its name.
func (r *fetchRun) item(ctx context.Context, b []byte, item imapwire.FetchItem, w *row, c *content) ([]byte, error) {
	switch item.Kind {
	case imapwire.ItemUID:
		return imapwire.AppendNumber(append(b, "UID "...), w.flags.UID), nil
	case imapwire.ItemFlags:
		return r.appendFlags(append(b, "FLAGS "...), &w.flags, r.keywords), nil
	case imapwire.ItemModSeq:
		return appendModSeq(b, w.flags.ModSeq), nil
	case imapwire.ItemEnvelope:
		e, err := c.envelope(ctx)
		if err != nil {
			return nil, err
		}
		if !r.utf8() {
			e = e.Downgraded()
		}
		return message.AppendEnvelope(append(b, "ENVELOPE "...), e), nil
	case imapwire.ItemPreview:
		return c.preview(ctx, b, item.Lazy)
	case imapwire.ItemBinarySize:
		return r.binarySize(ctx, b, item, c)
	case imapwire.ItemBody, imapwire.ItemBodyStructure:
		return r.structureItem(ctx, b, item, c)
	}
	m, err := w.message(ctx)
	if err != nil {
		return nil, err
	}
	return recordItem(b, item, m), nil
}

// recordItem appends an item that the message's record has.
func recordItem(b []byte, item imapwire.FetchItem, m *mail.Message) []byte {
	switch item.Kind {
	case imapwire.ItemInternalDate:
		return appendTime(append(b, "INTERNALDATE "...), m.InternalDate)
	case imapwire.ItemSaveDate:
		return appendTime(append(b, "SAVEDATE "...), m.SaveDate)
	case imapwire.ItemSize:
		return imapwire.AppendNumber(append(b, "RFC822.SIZE "...), m.Size)
	case imapwire.ItemEmailID:
		return append(b, "EMAILID ("+m.EmailID.String()+")"...)
	default: // ItemThreadID
		return append(b, "THREADID ("+m.ThreadID.String()+")"...)
	}
}

func (r *fetchRun) structureItem(ctx context.Context, b []byte, item imapwire.FetchItem, c *content) ([]byte, error) {
	root, err := c.structure(ctx)
	if err != nil {
		return nil, err
	}
	if item.Kind == imapwire.ItemBody {
		return r.appendStructure(append(b, "BODY "...), root, false), nil
	}
	return r.appendStructure(append(b, "BODYSTRUCTURE "...), root, true), nil
}

// appendStructure appends a part's structure as this client can read it (RFC 6855).
func (s *Session) appendStructure(b []byte, p *message.Part, extended bool) []byte {
	if !s.utf8() {
		p = p.Downgraded()
	}
	return message.AppendBodyStructure(b, p, extended)
}

// binarySize is BINARY.SIZE; of a part that does not exist it is 0.
func (r *fetchRun) binarySize(ctx context.Context, b []byte, item imapwire.FetchItem, c *content) ([]byte, error) {
	_, size, _, err := c.binary(ctx, item.Section.Path)
	if err != nil {
		return nil, err
	}
	b = imapwire.AppendSection(append(b, "BINARY.SIZE"...), item.Section)
	return imapwire.AppendNumber(append(b, ' '), size), nil
}

// appendTime appends an instant, which is shown in UTC.
func appendTime(b []byte, i mail.Instant) []byte {
	return imapwire.AppendDateTime(b, i.Time().In(time.UTC))
}
