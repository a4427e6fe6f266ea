package imapd

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/tandemail/tandemail/internal/imapwire"
	"github.com/tandemail/tandemail/internal/mail"
	"github.com/tandemail/tandemail/internal/message"
)

// urlFetch is URLFETCH: a response for each URL, in their order. To the session's
// protocol these are the responses of a FETCH whose UIDs are the URLs' places from 1 on,
// so that one that was interrupted goes on at another master.
func (s *Session) urlFetch(ctx context.Context, c *imapwire.Command, a *imapwire.URLFetch) (answer, error) {
	r := &fetchRun{Session: s, inline: maxInline}
	if s.resumed.number == s.number {
		r.whole, r.inside = s.resumed.fetch.Whole, s.resumed.fetch.Inside
	}
	for i := range a.URLs {
		at := mail.UID(i + 1)
		if at <= r.whole {
			continue
		}
		if err := r.url(ctx, at, &a.URLs[i]); err != nil {
			return answer{}, err
		}
	}
	if r.inside != nil {
		return answer{}, r.lost()
	}
	return ok(c.Name + " completed"), nil
}

// url writes the response for one URL: NIL where it leads nowhere, or to where nobody
// answers. Why, the log says, without the URL: that has its proof in it.
func (r *fetchRun) url(ctx context.Context, at mail.UID, a *imapwire.FetchURL) error {
	if r.inside != nil && r.inside.UID != at {
		return r.lost()
	}
	start := len(r.out.buf)
	parts, done, err := r.openURL(ctx, a)
	defer done()
	if err != nil {
		if err = r.excuse(ctx, err); !errors.Is(err, errInvalid) {
			if _, err := r.errorAnswer(err); err != nil {
				return err
			}
		}
		if r.inside != nil {
			return r.lost()
		}
		r.log.Info("URL gives nothing", "err", err)
		r.out.buf = r.out.buf[:start]
		parts = []literal{{name: imapwire.AppendString(nil, a.URL)}}
	}
	r.out.buf = append(r.out.buf, "* URLFETCH "...)
	if err := r.literals(ctx, at, parts, start); err != nil {
		return err
	}
	return r.answered(ctx, at, "\r\n")
}

// openURL makes ready what is to be given of a URL. The caller calls done.
func (r *fetchRun) openURL(ctx context.Context, a *imapwire.FetchURL) (parts []literal, done func(), err error) {
	done = func() {}
	msg, u, err := r.followURL(ctx, a.URL)
	if err != nil {
		return nil, done, err
	}
	c := r.content(msg)
	done = c.close
	octets, exists, err := c.section(ctx, u.Section)
	if err == nil && !exists {
		err = invalid("there is no such section")
	}
	if err != nil {
		return nil, done, err
	}
	name := imapwire.AppendString(nil, a.URL)
	if len(a.Items) == 0 {
		l, err := r.urlOctets(&u, octets, octets.Size())
		l.name = name
		return []literal{l}, done, err
	}
	decoded, err := c.decoded(ctx, a, u.Section)
	if err != nil {
		return nil, done, err
	}
	for i, item := range a.Items {
		var l literal
		switch item {
		case imapwire.URLStructure:
			l, err = r.urlStructure(ctx, c, u.Section, decoded)
		case imapwire.URLBody:
			l, err = r.urlOctets(&u, octets, octets.Size())
			l.name = []byte("(BODY")
		case imapwire.URLBinary:
			l, err = r.urlBinary(ctx, c, &u, octets, decoded)
		}
		if err != nil {
			return nil, done, err
		}
		if l.tail = ")"; i == 0 {
			l.name = append(append(name, ' '), l.name...)
		}
		parts = append(parts, l)
	}
	return parts, done, nil
}

// urlOctets is what a URL names of n octets, which may have a PARTIAL.
func (r *fetchRun) urlOctets(u *imapwire.AuthURL, octets io.Reader, n int64) (literal, error) {
	from, n := u.Window(n)
	if _, err := io.CopyN(io.Discard, octets, from); err != nil {
		return literal{}, fmt.Errorf("skip to octet %d of message %d: %w", from, u.UID, err)
	}
	l := literal{r: octets, size: n, exists: true}
	if n > r.inline {
		return l, nil
	}
	return l, l.hold(make([]byte, n))
}

// urlBinary is the data without its transfer encoding, NIL if that is not known.
// RFC 5524 5 wants a literal8 only where there is a NUL.
func (r *fetchRun) urlBinary(ctx context.Context, c *content, u *imapwire.AuthURL, octets *io.SectionReader, d *message.Decoded) (l literal, err error) {
	switch {
	case u.Section.Kind != imapwire.SectionAll: // a header or a text has none
		l, err = r.urlOctets(u, octets, octets.Size())
	case d != nil:
		data, _, _, err := c.binary(ctx, u.Section.Path)
		if err != nil {
			return l, err
		}
		if l, err = r.urlOctets(u, data, d.Size); err != nil {
			return l, err
		}
		l.binary = d.NUL
	}
	l.name = []byte("(BINARY")
	return l, err
}

// urlStructure is the part's BODYSTRUCTURE, as it is or as it is decoded; NIL for what is
// no part.
func (r *fetchRun) urlStructure(ctx context.Context, c *content, s imapwire.Section, decoded *message.Decoded) (literal, error) {
	root, err := c.structure(ctx)
	if err != nil {
		return literal{}, err
	}
	l := literal{name: []byte("(BODYPARTSTRUCTURE")}
	if p := root.Find(s.Path); p != nil && s.Kind == imapwire.SectionAll {
		q := *p
		if decoded != nil && len(s.Path) > 0 {
			q = p.As(*decoded)
		}
		l.value = r.appendStructure(nil, &q, true)
	}
	return l, nil
}

// decoded describes a part without its transfer encoding, if BINARY is asked for; nil
// also if the encoding is not known.
func (c *content) decoded(ctx context.Context, a *imapwire.FetchURL, s imapwire.Section) (*message.Decoded, error) {
	if s.Kind != imapwire.SectionAll || !a.Has(imapwire.URLBinary) {
		return nil, nil
	}
	data, _, ok, err := c.binary(ctx, s.Path)
	if errors.Is(err, errUnknownCTE) || err == nil && !ok {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	d, err := message.Describe(data)
	return &d, err
}

// hold reads a small literal into b, so that what cannot be read is known before anything of it
// is sent.
func (l *literal) hold(b []byte) error {
	if _, err := io.ReadFull(l.r, b); err != nil {
		return fmt.Errorf("read %d octets: %w", l.size, err)
	}
	l.r = bytes.NewReader(b)
	return nil
}
