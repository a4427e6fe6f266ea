package imapd

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/tandemail/tandemail/internal/imapwire"
	"github.com/tandemail/tandemail/internal/mail"
	"github.com/tandemail/tandemail/internal/session"
)

// maxSorted is how many members a SORT may have whose result is kept up to date: each
// that comes is sorted with the others.
const maxSorted = 10_000

// searchContext is a SEARCH or SORT whose result the client asked to be kept up to date
// (RFC 5267 4.3). What it was told is in the token, so that it goes on at another master.
type searchContext struct {
	tag      string
	uid      bool
	named    bool // of ESEARCH: what is told names the mailbox
	program  imapwire.SearchKey
	items    []imapwire.FetchItem     // to be told of new messages that become members (RFC 5465 7)
	criteria []imapwire.SortCriterion // of SORT; else none
	members  mail.UIDSet
	order    []mail.UID // the members as SORT has them; nil: to be found out
}

// contextOf is the context with that tag, -1 if there is none.
func (s *Session) contextOf(tag string) int {
	return slices.IndexFunc(s.contexts, func(x *searchContext) bool { return x.tag == tag })
}

// follow begins to keep a result up to date, or says that it will not.
func (s *Session) follow(c *imapwire.Command, a *imapwire.Search, by []imapwire.SortCriterion, res *result) {
	frozen := imapwire.Search{Program: s.freeze(&a.Program), Items: a.Items}
	text := imapwire.AppendSearch(nil, c.Tag, c.UID, by, &frozen)
	if c.Name == "ESEARCH" {
		text = imapwire.AppendEsearch(nil, c.Tag, &frozen)
	}
	x, err := parseContext(text)
	switch {
	case !affordable(a.Items):
		s.noUpdate(c.Tag, "Bodies of new messages are not fetched unasked")
	case len(s.contexts) == session.MaxContexts:
		s.noUpdate(c.Tag, "Too many searches are being updated")
	case err != nil || len(text) > session.MaxContextProgram:
		s.noUpdate(c.Tag, "Search is too long to be updated")
	case needsClock(&a.Program):
		s.noUpdate(c.Tag, "Results that change with the time alone are not updated")
	case len(res.uids) > session.MaxContextRanges, x.sorted() && res.uids.Len() > maxSorted:
		s.noUpdate(c.Tag, "Result is too large to be updated")
	default:
		x.members, x.order = res.uids, slices.Clone(res.order)
		s.contexts = append(s.contexts, x)
		s.contextChange(session.ContextChange{Tag: x.tag, Program: text, Added: x.members})
	}
}

func (s *Session) contextChange(c session.ContextChange) {
	s.out.delta.Contexts = append(s.out.delta.Contexts, c)
}

// noUpdate says that a search is not, or no longer, kept up to date (RFC 5267 4.3.1).
func (s *Session) noUpdate(tag, why string) {
	code := "NOUPDATE " + string(imapwire.AppendString(nil, tag))
	s.out.buf = imapwire.AppendTagged(s.out.buf, "*", imapwire.NO, code, why)
}

// drop ends a context that cannot be kept up to date, and says so.
func (s *Session) drop(x *searchContext, why string) {
	s.contexts = slices.DeleteFunc(slices.Clone(s.contexts), func(o *searchContext) bool { return o == x })
	s.contextChange(session.ContextChange{Tag: x.tag, Gone: true})
	s.noUpdate(x.tag, why)
}

// needsClock reports whether the result changes without any change of the mailbox.
func needsClock(k *imapwire.SearchKey) bool {
	return k.Kind == imapwire.KeyOlder || k.Kind == imapwire.KeyYounger || slices.ContainsFunc(k.Keys, func(k imapwire.SearchKey) bool {
		return needsClock(&k)
	})
}

// needsFlags reports whether a change of flags can change the result.
func needsFlags(k *imapwire.SearchKey) bool {
	switch k.Kind {
	case imapwire.KeyFlag, imapwire.KeyKeyword, imapwire.KeyModSeq:
		return true
	}
	return slices.ContainsFunc(k.Keys, func(k imapwire.SearchKey) bool { return needsFlags(&k) })
}

// freeze is a program with message numbers, "$" and a UID of "*" as they are now
// (RFC 5267 4.3).
func (s *Session) freeze(k *imapwire.SearchKey) imapwire.SearchKey {
	out := *k
	switch k.Kind {
	case imapwire.KeySeq:
		c := compiler{s: s, box: s.box}
		return uidKey(c.set(k))
	case imapwire.KeyUID:
		out.Set.Ranges = slices.Clone(k.Set.Ranges)
		for i, r := range out.Set.Ranges {
			if r.Lo == imapwire.Star && r.Hi == imapwire.Star && s.box.uids.len() > 0 {
				last := uint32(s.box.uids.max())
				out.Set.Ranges[i] = imapwire.SeqRange{Lo: last, Hi: last}
			}
		}
		if k.Set.Saved {
			return uidKey(s.box.uids.among(s.saved))
		}
	}
	out.Keys = make([]imapwire.SearchKey, len(k.Keys))
	for i := range k.Keys {
		out.Keys[i] = s.freeze(&k.Keys[i])
	}
	return out
}

// uidKey is the key that matches uids and no others.
func uidKey(uids mail.UIDSet) imapwire.SearchKey {
	if len(uids) == 0 {
		return imapwire.SearchKey{Kind: imapwire.KeyNot, Keys: []imapwire.SearchKey{{Kind: imapwire.KeyAll}}}
	}
	k := imapwire.SearchKey{Kind: imapwire.KeyUID}
	for _, r := range uids {
		k.Set.Ranges = append(k.Set.Ranges, imapwire.SeqRange{Lo: uint32(r.Lo), Hi: uint32(r.Hi)})
	}
	return k
}

var errContext = errors.New("not one command of this kind")

// parseContext reads what follow wrote.
func parseContext(text []byte) (*searchContext, error) {
	c, err := reparse(text)
	if err != nil {
		return nil, fmt.Errorf("read search: %w", err)
	}
	x := &searchContext{tag: c.Tag, uid: c.UID}
	switch a := c.Args.(type) {
	case *imapwire.Search:
		x.program, x.items = a.Program, a.Items
	case *imapwire.Sort:
		x.program, x.items, x.criteria = a.Program, a.Items, a.Criteria
	case *imapwire.Esearch:
		x.program, x.items, x.uid, x.named = a.Program, a.Items, true, true
	default:
		return nil, errContext
	}
	return x, nil
}

// reparse reads a command that was written for a token.
func reparse(text []byte) (imapwire.Command, error) {
	collector := imapwire.NewCollector(imapwire.Limits{}, nil)
	for rest := bytes.Clone(text); len(rest) > 0; {
		n, step, err := collector.Feed(rest)
		switch rest = rest[n:]; {
		case err != nil:
			return imapwire.Command{}, err
		case step != imapwire.Whole:
			continue
		case len(rest) > 0:
			return imapwire.Command{}, errContext
		}
		return imapwire.Parse(collector.Take(), false)
	}
	return imapwire.Command{}, errContext
}

// recall is the contexts of a token. ErrNotResumable.
func recall(list []session.Context) ([]*searchContext, error) {
	var out []*searchContext
	for _, c := range list {
		x, err := parseContext(c.Program)
		if err != nil || x.tag != c.Tag {
			return nil, fmt.Errorf("%w: search %q: %w", ErrNotResumable, c.Tag, errors.Join(err, errContext))
		}
		x.members = c.Members
		out = append(out, x)
	}
	return out, nil
}

func (x *searchContext) sorted() bool { return len(x.criteria) > 0 }

// cancelUpdate is CANCELUPDATE (RFC 5267 4.3.5). A tag that is none of a context is
// passed over: the server may have ended it while the client wrote.
func (s *Session) cancelUpdate(_ context.Context, _ *imapwire.Command, a *imapwire.CancelUpdate) (answer, error) {
	for _, tag := range a.Tags {
		if i := s.contextOf(tag); i >= 0 {
			s.contexts = slices.Delete(slices.Clone(s.contexts), i, i+1)
			s.contextChange(session.ContextChange{Tag: tag, Gone: true})
		}
	}
	return ok("CANCELUPDATE completed"), nil
}
