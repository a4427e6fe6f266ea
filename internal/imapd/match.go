package imapd

import (
	"context"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/tandemail/tandemail/internal/imapwire"
	"github.com/tandemail/tandemail/internal/mail"
	"github.com/tandemail/tandemail/internal/message"
)

// candidate is a message that a search looks at.
type candidate struct {
	*row
	*content
}

// test decides about one candidate.
type test func(ctx context.Context, c *candidate) (bool, error)

// cost is what a test must look at, from cheap to dear.
type cost uint8

const (
	costNone cost = iota
	costFlags
	costMessage // the message's record
	costHeader
	costBody
)

// matcher is a search program made ready for one mailbox.
type matcher struct {
	test  test
	among mail.UIDSet // the only messages that can match
}

// compiler turns keys into tests.
type compiler struct {
	s        *Session
	box      *box
	keywords []string
	today    time.Time
}

// compile makes a program ready for the messages of b.
func (s *Session) compile(ctx context.Context, b *box, program *imapwire.SearchKey) (*matcher, error) {
	v, err := s.current(ctx)
	if err != nil {
		return nil, err
	}
	info, err := b.info(v)
	if err != nil {
		return nil, err
	}
	c := compiler{s: s, box: b, keywords: info.Keywords, today: s.cfg.Now()}
	t, _, err := c.key(program)
	if err != nil {
		return nil, err
	}
	m := &matcher{test: t, among: b.uids.all()}
	for i := range program.Keys {
		if k := &program.Keys[i]; k.Kind == imapwire.KeySeq || k.Kind == imapwire.KeyUID {
			m.among = intersect(m.among, c.set(k))
		}
	}
	return m, nil
}

// set gives the messages that a key names. A number that no message has is no error
// here, as it is in other commands: no message matches it.
func (c *compiler) set(k *imapwire.SearchKey) mail.UIDSet {
	uids := &c.box.uids
	switch {
	case k.Set.Saved:
		return uids.among(c.s.saved)
	case k.Kind == imapwire.KeyUID:
		return c.box.byUID(k.Set)
	}
	var parts []mail.UIDRange
	for _, r := range k.Set.Resolve(uint32(uids.len())) {
		if hi := min(r.Hi, uint32(uids.len())); r.Lo <= hi && hi > 0 {
			parts = append(parts, uids.numbers(max(r.Lo, 1), hi)...)
		}
	}
	return mail.NewUIDSet(parts...)
}

// intersect is what a and b have in common.
func intersect(a, b mail.UIDSet) mail.UIDSet {
	var out mail.UIDSet
	for len(a) > 0 && len(b) > 0 {
		lo, hi := max(a[0].Lo, b[0].Lo), min(a[0].Hi, b[0].Hi)
		if lo <= hi {
			out = append(out, mail.UIDRange{Lo: lo, Hi: hi})
		}
		if a[0].Hi < b[0].Hi {
			a = a[1:]
		} else {
			b = b[1:]
		}
	}
	return out
}

// key compiles one key and says how dear its test is.
func (c *compiler) key(k *imapwire.SearchKey) (test, cost, error) {
	switch k.Kind {
	case imapwire.KeyAnd:
		return c.both(k.Keys, false)
	case imapwire.KeyOr:
		return c.both(k.Keys, true)
	case imapwire.KeyNot:
		t, dear, err := c.key(&k.Keys[0])
		return func(ctx context.Context, m *candidate) (bool, error) {
			hit, err := t(ctx, m)
			return !hit, err
		}, dear, err
	case imapwire.KeySeq, imapwire.KeyUID:
		if k.Kind == imapwire.KeySeq && !k.Set.Saved && c.s.uidOnly() {
			return nil, costNone, errUIDRequired
		}
		set := c.set(k)
		return flagTest(func(f *mail.MessageFlags) bool { return set.Contains(f.UID) }), costNone, nil
	case imapwire.KeyAll, imapwire.KeyHasSaveDate:
		return always(true), costNone, nil
	case imapwire.KeyRecent:
		recent := c.box.told.Recent
		return flagTest(func(f *mail.MessageFlags) bool { return recent.Contains(f.UID) }), costNone, nil
	case imapwire.KeyFlag:
		return flagTest(func(f *mail.MessageFlags) bool { return f.Flags&k.Flag != 0 }), costFlags, nil
	case imapwire.KeyKeyword:
		return c.keyword(k.Text), costFlags, nil
	case imapwire.KeyModSeq:
		return flagTest(func(f *mail.MessageFlags) bool { return uint64(f.ModSeq) >= k.Number }), costFlags, nil
	}
	if t := c.record(k); t != nil {
		return t, costMessage, nil
	}
	return c.text(k)
}

func always(b bool) test {
	return func(context.Context, *candidate) (bool, error) { return b, nil }
}

func flagTest(f func(*mail.MessageFlags) bool) test {
	return func(_ context.Context, c *candidate) (bool, error) { return f(&c.flags), nil }
}

func recordTest(f func(*mail.Message) bool) test {
	return func(ctx context.Context, c *candidate) (bool, error) {
		m, err := c.row.message(ctx)
		if err != nil {
			return false, err
		}
		return f(m), nil
	}
}

// both compiles AND, or OR: the cheap tests come first, and the first that
// decides is the last that is made.
func (c *compiler) both(keys []imapwire.SearchKey, decides bool) (test, cost, error) {
	type part struct {
		test test
		cost cost
	}
	var parts []part
	var dearest cost
	for i := range keys {
		t, dear, err := c.key(&keys[i])
		if err != nil {
			return nil, 0, err
		}
		parts = append(parts, part{t, dear})
		dearest = max(dearest, dear)
	}
	slices.SortStableFunc(parts, func(a, b part) int { return int(a.cost) - int(b.cost) })
	return func(ctx context.Context, m *candidate) (bool, error) {
		for _, p := range parts {
			if hit, err := p.test(ctx, m); err != nil || hit == decides {
				return decides, err
			}
		}
		return !decides, nil
	}, dearest, nil
}

func (c *compiler) keyword(name string) test {
	i := slices.IndexFunc(c.keywords, func(w string) bool { return strings.EqualFold(w, name) })
	if i < 0 {
		return always(false)
	}
	return flagTest(func(f *mail.MessageFlags) bool { return f.Keywords.Has(i) })
}

// record compiles the keys that look at a message's record; nil for others.
func (c *compiler) record(k *imapwire.SearchKey) test {
	switch k.Kind {
	case imapwire.KeyLarger:
		return recordTest(func(m *mail.Message) bool { return uint64(m.Size) > k.Number })
	case imapwire.KeySmaller:
		return recordTest(func(m *mail.Message) bool { return uint64(m.Size) < k.Number })
	case imapwire.KeyEmailID:
		return recordTest(func(m *mail.Message) bool { return m.EmailID.String() == k.Text })
	case imapwire.KeyThreadID:
		return recordTest(func(m *mail.Message) bool { return m.ThreadID.String() == k.Text })
	case imapwire.KeyOlder, imapwire.KeyYounger:
		border := c.today.Unix() - int64(min(k.Number, math.MaxInt32))
		return recordTest(func(m *mail.Message) bool {
			age := m.InternalDate.Time().Unix()
			return age <= border && k.Kind == imapwire.KeyOlder || age >= border && k.Kind == imapwire.KeyYounger
		})
	case imapwire.KeyBefore, imapwire.KeyOn, imapwire.KeySince:
		if k.Of == imapwire.Sent {
			return nil
		}
		return recordTest(func(m *mail.Message) bool {
			at := m.InternalDate
			if k.Of == imapwire.Saved {
				at = m.SaveDate
			}
			return onDay(k, dayOf(at.Time().Unix()))
		})
	}
	return nil
}

// dayOf counts days from 1970-01-01, those before it as well.
func dayOf(unix int64) int64 {
	if unix < 0 {
		unix -= 86399
	}
	return unix / 86400
}

func onDay(k *imapwire.SearchKey, day int64) bool {
	switch want := k.Date.Days(); k.Kind {
	case imapwire.KeyBefore:
		return day < want
	case imapwire.KeyOn:
		return day == want
	default:
		return day >= want
	}
}

// text compiles the keys that read a message.
func (c *compiler) text(k *imapwire.SearchKey) (test, cost, error) {
	needle := message.NewNeedle(k.Text)
	scope := message.ScopeBody
	switch k.Kind {
	case imapwire.KeyBefore, imapwire.KeyOn, imapwire.KeySince:
		return func(ctx context.Context, m *candidate) (bool, error) {
			sent, err := m.sent(ctx)
			if err != nil {
				return false, err
			}
			return sent.Valid && onDay(k, sent.Day()), nil
		}, costHeader, nil
	case imapwire.KeyEnvelope:
		return func(ctx context.Context, m *candidate) (bool, error) {
			e, err := m.envelope(ctx)
			if err != nil {
				return false, err
			}
			return e.Contains(k.Field, needle), nil
		}, costHeader, nil
	case imapwire.KeyHeader:
		return func(ctx context.Context, m *candidate) (bool, error) {
			h, err := m.fields(ctx, k.Field)
			if err != nil {
				return false, err
			}
			return h.Contains(k.Field, needle), nil
		}, costHeader, nil
	case imapwire.KeyText:
		scope = message.ScopeText
	}
	return func(ctx context.Context, m *candidate) (bool, error) {
		return m.contains(ctx, needle, scope)
	}, costBody, nil
}
