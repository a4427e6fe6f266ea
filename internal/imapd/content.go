package imapd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/tandemail/tandemail/internal/imapwire"
	"github.com/tandemail/tandemail/internal/mail"
	"github.com/tandemail/tandemail/internal/message"
)

// content is one message's octets and what is derived from them, each read when
// it is first asked for. It is the only place that knows package message's
// parser and the cache of its results.
type content struct {
	s       *Session
	uid     mail.UID
	msg     mail.Message // if it is of no row
	row     *row         // that it is of, if others follow it
	octets  mail.Content
	encoded []byte        // what is derived of it; nil: not asked for yet
	root    *message.Part // nil: not asked for yet
}

func (s *Session) content(msg mail.Message) *content { return &content{s: s, uid: msg.UID, msg: msg} }

// contentOf is content of a message that a walk has come to.
func (s *Session) contentOf(w *row) *content { return &content{s: s, uid: w.flags.UID, row: w} }

func (c *content) close() {
	if c.octets != nil {
		_ = c.octets.Close() // read only
	}
}

// message gives the message's record.
func (c *content) message(ctx context.Context) (*mail.Message, error) {
	if c.row != nil {
		return c.row.message(ctx)
	}
	return &c.msg, nil
}

// open gives the octets. They stay readable when the View has gone.
func (c *content) open(ctx context.Context) (mail.Content, error) {
	if c.octets != nil {
		return c.octets, nil
	}
	octets, err := c.openNow(ctx)
	if err != nil {
		return nil, fmt.Errorf("open message %d: %w", c.uid, err)
	}
	c.octets = octets
	return octets, nil
}

func (c *content) openNow(ctx context.Context) (mail.Content, error) {
	if c.row != nil {
		return c.row.ahead.open(ctx, c.row.at)
	}
	v, err := c.s.current(ctx)
	if err != nil {
		return nil, err
	}
	return v.Open(ctx, c.msg)
}

func (s *Session) derived(version uint32, id mail.EmailID) []byte {
	return s.at.account.Derived(version, id)[0]
}

// cached gives what is cached of what is derived; nil if that is nothing.
func (c *content) cached(ctx context.Context) ([]byte, error) {
	if c.encoded != nil {
		return c.encoded, nil
	}
	if c.row != nil {
		var err error
		c.encoded, err = c.row.ahead.derivedOf(ctx, c.row.at)
		return c.encoded, err
	}
	c.encoded = c.s.derived(message.Version, c.msg.EmailID)
	return c.encoded, nil
}

// derive gives all that can be derived, from the octets.
func (c *content) derive(ctx context.Context) ([]byte, error) {
	msg, err := c.message(ctx)
	if err != nil {
		return nil, err
	}
	octets, err := c.open(ctx)
	if err != nil {
		return nil, err
	}
	var data []byte
	if c.row != nil {
		data = c.row.ahead.parsed(c.row.at)
	}
	if data == nil {
		if data, err = parse(octets); err != nil {
			return nil, fmt.Errorf("read message %d: %w", c.uid, err)
		}
	}
	c.encoded = data
	c.s.at.account.SetDerived(msg.EmailID, message.Version, data)
	return data, nil
}

// parse gives what can be derived of octets, encoded.
func parse(octets mail.Content) ([]byte, error) {
	d, err := message.Parse(octets, octets.Size())
	if err != nil {
		return nil, err
	}
	return d.Append(nil), nil
}

// piece gives a piece of what is derived: as it is cached, or made anew.
func (c *content) piece(ctx context.Context, p message.Piece) ([]byte, error) {
	if data, err := c.cached(ctx); err != nil || data != nil {
		if err != nil {
			return nil, err
		}
		if b, err := message.Cut(data, p); err == nil {
			return b, nil
		} // else it is made again
	}
	data, err := c.derive(ctx)
	if err != nil {
		return nil, err
	}
	return message.Cut(data, p)
}

// part decodes a piece.
func part[T any](ctx context.Context, c *content, p message.Piece, decode func([]byte) (T, error)) (v T, err error) {
	var b []byte
	if c.row != nil {
		b, err = c.row.ahead.piece(ctx, c, p)
	} else {
		b, err = c.piece(ctx, p)
	}
	if err != nil {
		return v, err
	}
	if v, err = decode(b); err == nil {
		return v, nil
	}
	if b, err = c.derive(ctx); err == nil {
		b, err = message.Cut(b, p)
	}
	if err != nil {
		return v, err
	}
	return decode(b)
}

// structure gives the message as a part.
func (c *content) structure(ctx context.Context) (*message.Part, error) {
	if c.root != nil {
		return c.root, nil
	}
	root, err := part(ctx, c, message.StructurePiece, message.DecodeStructure)
	c.root = root
	return root, err
}

func (c *content) envelope(ctx context.Context) (*message.Envelope, error) {
	return part(ctx, c, message.EnvelopePiece, message.DecodeEnvelope)
}

func (c *content) kept(ctx context.Context) (message.Kept, error) {
	return part(ctx, c, message.FieldsPiece, message.DecodeKept)
}

func (c *content) sent(ctx context.Context) (message.Date, error) {
	return part(ctx, c, message.StructurePiece, message.DecodeSent)
}

// fields is a header with at least the named fields: what is kept of it, or all.
func (c *content) fields(ctx context.Context, names ...string) (message.Header, error) {
	if message.Keeps(names...) {
		k, err := c.kept(ctx)
		if err != nil {
			return "", err
		}
		if k.Valid {
			return k.Header, nil
		}
	} else if len(names) == 1 && c.row != nil {
		return c.row.ahead.field(ctx, c, names[0])
	}
	return c.header(ctx)
}

// header is the message's header.
func (c *content) header(ctx context.Context) (message.Header, error) {
	root, err := c.structure(ctx)
	if err != nil {
		return "", err
	}
	octets, err := c.open(ctx)
	if err != nil {
		return "", err
	}
	return message.ReadHeader(octets, root.Header)
}

// section gives the octets of BODY[...]; false if there is no such section.
func (c *content) section(ctx context.Context, s imapwire.Section) (*io.SectionReader, bool, error) {
	if len(s.Path) == 0 && s.Kind == imapwire.SectionHeaderFields {
		h, err := c.fields(ctx, s.Fields...)
		if err != nil {
			return nil, false, err
		}
		text := h.Select(s.Fields, false)
		return io.NewSectionReader(strings.NewReader(text), 0, int64(len(text))), true, nil
	}
	octets, err := c.open(ctx)
	if err != nil {
		return nil, false, err
	}
	if len(s.Path) == 0 && s.Kind == imapwire.SectionAll {
		return io.NewSectionReader(octets, 0, octets.Size()), true, nil
	}
	root, err := c.structure(ctx)
	if err != nil {
		return nil, false, err
	}
	return root.Open(octets, message.Section{Path: s.Path, Kind: sectionKinds[s.Kind], Fields: s.Fields})
}

var sectionKinds = [...]message.SectionKind{
	imapwire.SectionAll:             message.SectionAll,
	imapwire.SectionHeader:          message.SectionHeader,
	imapwire.SectionHeaderFields:    message.SectionHeaderFields,
	imapwire.SectionHeaderFieldsNot: message.SectionHeaderFieldsNot,
	imapwire.SectionText:            message.SectionText,
	imapwire.SectionMIME:            message.SectionMIME,
}

// errUnknownCTE: a part's transfer encoding is one that nobody knows.
var errUnknownCTE = errors.New("unknown transfer encoding")

// binary gives the decoded octets of a part and their number; false if there is
// no such part.
func (c *content) binary(ctx context.Context, path []int) (r io.Reader, size int64, ok bool, err error) {
	octets, err := c.open(ctx)
	if err != nil {
		return nil, 0, false, err
	}
	root, err := c.structure(ctx)
	if err != nil {
		return nil, 0, false, err
	}
	size, ok, err = root.BinarySize(octets, path)
	if ok && err == nil {
		r, ok, err = root.OpenBinary(octets, path)
	}
	if errors.Is(err, message.ErrEncoding) {
		err = fmt.Errorf("%w: %w", errUnknownCTE, err)
	}
	return r, size, ok, err
}
