package imapd

import (
	"context"
	"errors"
	"slices"

	"github.com/tandemail/tandemail/internal/imapwire"
	"github.com/tandemail/tandemail/internal/mail"
	"github.com/tandemail/tandemail/internal/session"
)

// fetchRun is one FETCH while it runs.
type fetchRun struct {
	*Session
	items    []imapwire.FetchItem // without the literals of sections
	sections []imapwire.FetchItem // ItemSection, ItemRFC822..., ItemBinary
	keywords []string             // of the mailbox
	seen     []told               // \Seen as this command set it
	missing  int                  // messages of the picture that are gone
	whole    mail.UID             // the last message answered for
	inside   *session.Place       // where the client is inside a response; nil: nowhere
	later    []byte               // to be told after that response
	inline   int64                // larger literals are streamed
	failed   *answer              // why the last message that was not sent was not

	list  []literal // room for those of a message
	spare []byte    // room for their octets, of which so many are used
	used  int
}

// fetch is FETCH and UID FETCH.
func (s *Session) fetch(ctx context.Context, c *imapwire.Command, a *imapwire.Fetch) (answer, error) {
	uids, err := s.resolve(a.Set, c.UID)
	if err != nil {
		return answer{}, err
	}
	if a.ChangedSince != nil || a.Has(imapwire.ItemModSeq) {
		s.enableCondStore()
	}
	if a.Vanished {
		switch {
		case !c.UID:
			return bad("VANISHED needs UID FETCH"), nil
		case !s.qresync():
			return bad("VANISHED needs ENABLE QRESYNC"), nil
		}
		if err := s.fetchVanished(ctx, a); err != nil {
			return answer{}, err
		}
	}
	run := &fetchRun{Session: s, inline: maxInline}
	run.choose(a, c.UID)
	if a.ChangedSince != nil {
		if uids, err = s.changedSince(ctx, uids, mail.ModSeq(*a.ChangedSince)); err != nil {
			return answer{}, err
		}
	}
	if a.Page != nil {
		from, to := a.Page.Of(uids.Len())
		uids = slice(uids, from, to)
	}
	if slices.ContainsFunc(a.Items, imapwire.FetchItem.SetsSeen) && !s.box.examined && s.box.rights.Has(mail.MaySeen) {
		if err := run.setSeen(ctx, uids); err != nil {
			return answer{}, err
		}
	}
	if uids, err = run.rest(uids); err != nil {
		return answer{}, err
	}
	if err := run.messages(ctx, uids); err != nil {
		return answer{}, err
	}
	return run.answer(c)
}

// choose sorts the items: those whose octets may be streamed come last.
func (r *fetchRun) choose(a *imapwire.Fetch, uid bool) {
	if (uid || r.qresync()) && !r.uidOnly() && !a.Has(imapwire.ItemUID) {
		r.items = append(r.items, imapwire.FetchItem{Kind: imapwire.ItemUID})
	}
	if a.ChangedSince != nil && !a.Has(imapwire.ItemModSeq) {
		r.items = append(r.items, imapwire.FetchItem{Kind: imapwire.ItemModSeq})
	}
	for _, item := range a.Items {
		switch item.Kind {
		case imapwire.ItemSection, imapwire.ItemRFC822, imapwire.ItemRFC822Header, imapwire.ItemRFC822Text, imapwire.ItemBinary:
			r.sections = append(r.sections, item)
		default:
			r.items = append(r.items, item)
		}
	}
}

// changedSince is those of uids that changed after since.
func (s *Session) changedSince(ctx context.Context, uids mail.UIDSet, since mail.ModSeq) (mail.UIDSet, error) {
	if len(uids) == 0 {
		return nil, nil
	}
	v, err := s.current(ctx)
	if err != nil {
		return nil, err
	}
	var changed mail.UIDSet
	for f, err := range v.Flags(s.box.id, uids[0].Lo, uids[len(uids)-1].Hi, since) {
		if err != nil {
			return nil, err
		}
		if uids.Contains(f.UID) {
			changed = changed.Add(f.UID)
		}
	}
	return changed, nil
}

// setSeen sets \Seen where it is not, before anything is sent. The chunks are
// those of the messages named, seen or not, so that the command repeated elsewhere
// numbers them alike. Where the account refuses, the messages are still sent.
func (r *fetchRun) setSeen(ctx context.Context, uids mail.UIDSet) error {
	for i, part := range split(uids, mail.MaxTouched) {
		v, err := r.current(ctx)
		if err != nil {
			return err
		}
		var unseen mail.UIDSet
		err = r.eachFlags(v, r.box.id, part, func(f *mail.MessageFlags) {
			if f.Flags&mail.Seen == 0 {
				unseen = unseen.Add(f.UID)
			}
		})
		if err != nil {
			return err
		}
		if len(unseen) == 0 {
			continue
		}
		res, err := r.do(ctx, i, mail.Store{Mailbox: r.box.id, UIDs: unseen, Mode: mail.AddFlags, Flags: mail.Seen})
		if err != nil {
			_, err = r.errorAnswer(err)
			return err
		}
		r.seen = append(r.seen, told{res.UIDs, res.ModSeq})
	}
	return nil
}

// messages sends the responses.
func (r *fetchRun) messages(ctx context.Context, uids mail.UIDSet) error {
	v, err := r.current(ctx)
	if err != nil {
		return err
	}
	info, err := r.selected(v)
	if err != nil {
		return err
	}
	r.announceKeywords(&info)
	r.keywords = info.Keywords
	r.missing = uids.Len()
	err = r.walk(ctx, r.box, uids, func(w *row) error {
		r.missing--
		return r.message(ctx, w)
	})
	if err == nil && r.inside != nil {
		err = r.lost()
	}
	return err
}

// message sends one response, or none and a note if the message cannot be read.
func (r *fetchRun) message(ctx context.Context, w *row) error {
	if r.inside != nil && r.inside.UID != w.flags.UID {
		return r.lost()
	}
	c := r.contentOf(w)
	defer c.close()
	start := len(r.out.buf)
	err := r.plain(ctx, w, c)
	var literals []literal
	if err == nil {
		literals, err = r.open(ctx, c)
	}
	if err != nil {
		r.out.buf = r.out.buf[:start]
		return r.unreadable(err)
	}
	if err := r.literals(ctx, w.flags.UID, literals, start); err != nil {
		return err
	}
	return r.answered(ctx, w.flags.UID, ")\r\n")
}

// answered ends a response.
func (r *fetchRun) answered(ctx context.Context, uid mail.UID, end string) error {
	if r.inside != nil {
		return r.lost()
	}
	r.out.buf = append(append(r.out.buf, end...), r.later...)
	r.later = nil
	r.whole = uid
	r.out.delta.Fetched = &r.whole
	if len(r.out.buf) >= unitSize {
		return r.out.flush(ctx)
	}
	return nil
}

// unreadable notes why a message was not sent. Only errors that end the session
// end the command.
func (r *fetchRun) unreadable(err error) error {
	ans, err2 := r.errorAnswer(err)
	switch {
	case err2 != nil:
		return err2
	case r.inside != nil:
		return r.lost()
	}
	if errors.Is(err, mail.ErrNoMessage) {
		r.missing++
	} else {
		r.failed = &ans
	}
	return nil
}

// answer is the tagged response.
func (r *fetchRun) answer(c *imapwire.Command) (answer, error) {
	ans := ok(c.Name + " completed")
	switch {
	case r.failed != nil:
		ans = *r.failed
	case r.missing > 0 && !c.UID:
		ans = no(imapwire.CodeExpungeIssued, "Some of the messages have been deleted")
	}
	ans.told = r.seen
	return ans, nil
}
