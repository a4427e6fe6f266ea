package imapd

import (
	"context"
	"errors"
	"strings"

	"github.com/tandemail/tandemail/internal/imapwire"
	"github.com/tandemail/tandemail/internal/mail"
)

// esearch is ESEARCH (RFC 7377): one response for each mailbox in which something was
// found. It always speaks of UIDs.
func (s *Session) esearch(ctx context.Context, c *imapwire.Command, a *imapwire.Esearch) (answer, error) {
	selected, update := a.OnlySelected(), a.Return&imapwire.ReturnUpdate != 0
	switch {
	case s.box == nil && (update || len(a.Sources) == 0 || a.Names(imapwire.SourceSelected)):
		return bad("No mailbox is selected"), nil
	case update && s.contextOf(c.Tag) >= 0:
		return bad("Another search with this tag is being updated"), nil
	case !selected && a.Return&imapwire.ReturnSave != 0:
		return bad("SAVE is for the selected mailbox alone"), nil
	case !selected && a.UsesPicture():
		return bad("Message numbers and $ are for the selected mailbox alone"), nil
	}
	if a.UsesModSeq() {
		s.enableCondStore()
	}
	list, err := s.sources(ctx, a)
	if err != nil {
		return answer{}, err
	}
	kept := mail.UIDSet(nil)
	var here *result // of the selected mailbox
	for i := range list {
		res, err := s.searchIn(ctx, c, a, &list[i])
		if err != nil {
			return answer{}, err
		}
		if kept = res.shown(&a.Search); res.box == s.box {
			here = res
		}
	}
	switch {
	case update && here != nil:
		s.follow(c, &a.Search, nil, here)
	case update:
		s.noUpdate(c.Tag, "Only results in the selected mailbox are updated")
	}
	if a.Return&imapwire.ReturnSave != 0 {
		return s.keep(c, kept), nil
	}
	return ok("ESEARCH completed"), nil
}

// sources is the mailboxes to be searched, each once, in the order of their names.
// Names that are none of a mailbox are passed over, and of other users' mailboxes those
// that are not selected.
func (s *Session) sources(ctx context.Context, a *imapwire.Esearch) ([]mail.MailboxInfo, error) {
	var list []mail.MailboxInfo
	if only := a.OnlySelected(); only || s.base().away() && a.Names(imapwire.SourceSelected) {
		v, err := s.current(ctx)
		if err != nil {
			return nil, err
		}
		info, err := s.selected(v)
		info.Name = s.at.prefix + info.Name
		if list = append(list, info); only || err != nil {
			return list, err
		}
	}
	s.work(&s.home)
	v, err := s.current(ctx)
	if err != nil {
		return nil, err
	}
	for i := range a.Sources {
		for j, name := range a.Sources[i].Names {
			meant, err := meaning(v, name)
			if err != nil {
				return nil, err
			}
			a.Sources[i].Names[j] = meant
		}
	}
	for info, err := range v.Mailboxes() {
		if err != nil {
			return nil, err
		}
		if info.NonExistent || !info.Rights.Has(mail.MayRead) {
			continue
		}
		for _, src := range a.Sources {
			if s.isIn(&info, src) {
				list = append(list, info)
				break
			}
		}
	}
	return list, nil
}

// meaning is the name of the mailbox that a client calls so.
func meaning(v mail.View, name string) (string, error) {
	info, err := lookup(v, name)
	if errors.Is(err, mail.ErrNoMailbox) {
		return name, nil
	}
	if err != nil || info.Name != name {
		return name, err
	}
	if info, err = v.Mailbox(info.ID); err != nil {
		return name, err
	}
	return info.Name, nil
}

func (s *Session) isIn(info *mail.MailboxInfo, src imapwire.Source) bool {
	switch src.Kind {
	case imapwire.SourceSelected:
		return s.box != nil && s.box.id == info.ID
	case imapwire.SourceInboxes:
		return info.Name == mail.Inbox
	case imapwire.SourcePersonal:
		return true
	case imapwire.SourceSubscribed:
		return info.Subscribed
	}
	for _, name := range src.Names {
		below, ok := strings.CutPrefix(info.Name, name)
		switch {
		case !ok:
		case below == "":
			return true
		case src.Kind == imapwire.SourceMailboxes || !strings.HasPrefix(below, mail.Separator):
		case src.Kind == imapwire.SourceSubtree || strings.Count(below, mail.Separator) == 1:
			return true
		}
	}
	return false
}

// searchIn searches one mailbox. One that has gone meanwhile has nothing.
func (s *Session) searchIn(ctx context.Context, c *imapwire.Command, a *imapwire.Esearch, info *mail.MailboxInfo) (*result, error) {
	b := s.box
	if b != nil && b.id == info.ID {
		s.work(b.at)
	} else {
		s.work(&s.home)
		v, err := s.current(ctx)
		if err != nil {
			return nil, err
		}
		if b, _, err = picture(v, info); err != nil {
			return nil, err
		}
	}
	res, err := s.find(ctx, b, &a.Program)
	if errors.Is(err, errGone) && b != s.box {
		err = nil
	}
	if err != nil || len(res.uids) == 0 || a.Return == imapwire.ReturnSave {
		return &res, err
	}
	s.out.buf = s.appendSource(s.out.buf, c.Tag, info.Name, info.UIDValidity)
	return &res, s.items(ctx, &a.Search, &res, true)
}

// appendSource begins an ESEARCH response that names a mailbox (RFC 7377 2.1).
func (s *Session) appendSource(b []byte, tag, name string, validity mail.UIDValidity) []byte {
	b = append(imapwire.AppendString(append(b, "* ESEARCH (TAG "...), tag), " MAILBOX "...)
	b = append(s.appendName(b, name), " UIDVALIDITY "...)
	return append(imapwire.AppendNumber(b, validity), ") UID"...)
}
