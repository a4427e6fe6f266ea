package app

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/tandemail/tandemail/internal/api"
	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/coord"
	"github.com/tandemail/tandemail/internal/directory"
	"github.com/tandemail/tandemail/internal/mail"
	"github.com/tandemail/tandemail/internal/slot"
)

// shownMessages is how many messages a report describes.
const shownMessages = 1000

// Undelete implements api.Backend.
func (b *backend) Undelete(ctx context.Context, address string, req api.UndeleteRequest) (api.UndeleteReport, error) {
	begun := time.Now()
	if req.Account {
		return b.undeleteAccount(ctx, address, req)
	}
	u, deleted, err := b.anyUser(ctx, address)
	if err == nil && deleted {
		err = conflict("tandemail user undelete "+address+" --account", "%s is deleted", address)
	}
	if err != nil {
		return api.UndeleteReport{}, err
	}
	q, err := deletedQuery(req)
	if err != nil {
		return api.UndeleteReport{}, err
	}
	d, err := b.deleted(ctx, u, q)
	if err != nil {
		return api.UndeleteReport{}, err
	}
	p, err := planUndelete(d, req)
	p.report.Address, p.report.Account = u.Name, u.Account.String()
	if err != nil || req.PlanOnly {
		return p.report, err
	}
	if err := b.bringBack(ctx, u, req, q, p, d.More); err != nil {
		return p.report, err
	}
	p.report.Done = true
	b.note(ctx, coord.HistoryEntry{
		At: begun, By: req.By, Kind: "undelete", Store: u.Store, Took: time.Since(begun),
		Reason: fmt.Sprintf("%s: %d mailboxes, %d messages", u.Name, len(p.report.Mailboxes), p.report.Expunged),
	})
	return p.report, nil
}

// deleted asks the master what can come back.
func (b *backend) deleted(ctx context.Context, u directory.User, q slot.DeletedQuery) (d slot.Deleted, err error) {
	err = b.atMaster(ctx, u.Store, func(ctx context.Context, m cluster.Machine) (err error) {
		d, err = b.remote.Deleted(ctx, m, u.Store, u.Account.String(), q)
		return err
	})
	return d, err
}

// bringBack does what a plan says, one operation after the other, each under an id of
// its own: whoever is master answers the same. What did not fit into one answer is
// planned again, as long as something comes back.
func (b *backend) bringBack(ctx context.Context, u directory.User, req api.UndeleteRequest, q slot.DeletedQuery, p *undeletePlan, more bool) error {
	var session [16]byte
	rand.Read(session[:]) // never fails
	number := uint64(0)
	q.Details = 0
	for {
		for _, step := range p.steps {
			number++
			step.Session, step.Number = hex.EncodeToString(session[:]), number
			var out slot.Undeleted
			err := b.atMaster(ctx, u.Store, func(ctx context.Context, m cluster.Machine) (err error) {
				out, err = b.remote.Undelete(ctx, m, u.Store, u.Account.String(), req.By, step)
				return err
			})
			if err != nil {
				return err
			}
			p.came(step.Mailbox, out)
		}
		if !more || len(p.steps) == 0 {
			return nil
		}
		d, err := b.deleted(ctx, u, q)
		if err != nil {
			return err
		}
		next, err := planUndelete(d, req)
		if err != nil {
			return err
		}
		p.steps, more = next.steps, d.More
	}
}

// undeleteAccount brings a deleted user back: the account first, then the entry that
// makes it reachable.
func (b *backend) undeleteAccount(ctx context.Context, address string, req api.UndeleteRequest) (api.UndeleteReport, error) {
	begun := time.Now()
	gone, err := b.users.FindDeleted(ctx, address)
	if errors.Is(err, directory.ErrNoUser) {
		return api.UndeleteReport{}, &api.Error{Status: http.StatusNotFound, Message: "no deleted user " + address + " can come back", Hint: "tandemail user list --deleted"}
	} else if err != nil {
		return api.UndeleteReport{}, userError(address, err)
	}
	u := gone.User
	r := api.UndeleteReport{Address: u.Name, Account: u.Account.String(), Deleted: gone.At, Mailboxes: []api.UndeletedMailbox{}, Messages: []api.UndeletedMessage{}, Left: []string{}}
	switch _, err := b.users.Lookup(ctx, u.Name); {
	case err == nil:
		return r, userError(u.Name, directory.ErrExists)
	case !errors.Is(err, directory.ErrNoUser):
		return r, userError(u.Name, err)
	}
	if _, err := b.deleted(ctx, u, slot.DeletedQuery{}); err != nil || req.PlanOnly {
		return r, err
	}
	err = b.atMaster(ctx, u.Store, func(ctx context.Context, m cluster.Machine) error {
		return b.remote.UndeleteAccount(ctx, m, u.Store, u.Account.String(), req.By)
	})
	if err != nil {
		return r, err
	}
	if err := b.users.Undelete(ctx, u); err != nil {
		return r, userError(u.Name, err)
	}
	r.Done = true
	b.note(ctx, coord.HistoryEntry{At: begun, By: req.By, Kind: "undelete", Store: u.Store, Reason: u.Name + ": the account", Took: time.Since(begun)})
	return r, nil
}

func deletedQuery(req api.UndeleteRequest) (slot.DeletedQuery, error) {
	q := slot.DeletedQuery{Mailbox: req.Mailbox, Details: shownMessages}
	if !req.Since.IsZero() {
		q.Since = mail.InstantOf(req.Since)
	}
	if !req.Until.IsZero() {
		q.Until = mail.InstantOf(req.Until)
	}
	var err error
	if q.UIDs, err = parseUIDs(req.UIDs); err != nil {
		return q, &api.Error{Status: http.StatusBadRequest, Message: err.Error(), Hint: "such as 1:4,7"}
	}
	if len(q.UIDs) > 0 && req.Mailbox == "" {
		return q, &api.Error{Status: http.StatusBadRequest, Message: "UIDs mean something in a mailbox only: name it"}
	}
	return q, nil
}

// parseUIDs reads IMAP's form of a set: "1:4,7".
func parseUIDs(s string) (mail.UIDSet, error) {
	var ranges []mail.UIDRange
	for part := range strings.SplitSeq(s, ",") {
		if s == "" {
			break
		}
		lo, hi, pair := strings.Cut(part, ":")
		if !pair {
			hi = lo
		}
		a, errA := strconv.ParseUint(lo, 10, 32)
		z, errZ := strconv.ParseUint(hi, 10, 32)
		if errA != nil || errZ != nil || a == 0 || a > z {
			return nil, fmt.Errorf("%q is no set of UIDs", s)
		}
		ranges = append(ranges, mail.UIDRange{Lo: mail.UID(a), Hi: mail.UID(z)})
	}
	return mail.NewUIDSet(ranges...), nil
}

// undeletePlan is what comes back, and by which operations.
type undeletePlan struct {
	report api.UndeleteReport
	steps  []slot.Undelete
	from   []mail.MailboxID // of the report's messages
}

// planUndelete decides, of what is there, what comes back where: mailboxes under their
// names, or the next one that is free; messages to where they were.
func planUndelete(d slot.Deleted, req api.UndeleteRequest) (*undeletePlan, error) {
	p := &undeletePlan{report: api.UndeleteReport{Mailboxes: []api.UndeletedMailbox{}, Messages: []api.UndeletedMessage{}, Left: []string{}}}
	r := &p.report
	names := map[mail.MailboxID]string{}
	for name, id := range d.Taken {
		names[id] = name
	}
	messages := int64(0)
	for _, m := range d.Mailboxes {
		if !m.Wanted {
			continue
		}
		as := freeName(d.Taken, m.Name)
		d.Taken[as], names[m.ID] = m.ID, as
		messages += m.Messages
		r.Octets += m.Octets
		r.Mailboxes = append(r.Mailboxes, api.UndeletedMailbox{ID: m.ID.String(), Name: m.Name, As: as, Messages: m.Messages, Octets: m.Octets, At: m.At, By: m.By})
		p.steps = append(p.steps, slot.Undelete{Mailbox: m.ID, Name: as, Force: req.Force})
	}
	var to mail.MailboxID
	if req.To != "" {
		name := req.To
		if strings.EqualFold(name, mail.Inbox) {
			name = mail.Inbox
		}
		if to = d.Taken[name]; to.IsZero() {
			return p, notFound("there is no mailbox %q for the messages to go to", req.To)
		}
	}
	targets := map[mail.MailboxID]mail.MailboxID{}
	for _, m := range d.Mailboxes {
		if m.Expunged == 0 {
			continue
		}
		target := to
		if target.IsZero() {
			target = m.ID
		}
		if names[target] == "" {
			target = d.Taken[m.Name] // one of the same name, since its own is deleted
		}
		if target.IsZero() {
			r.Left = append(r.Left, fmt.Sprintf("%d messages of the deleted mailbox %q stay where they are: say with --to where they shall go, or bring it back", m.Expunged, m.Name))
			continue
		}
		targets[m.ID] = target
		messages += m.Expunged
		r.Expunged += m.Expunged
		r.Octets += m.ExpungedOctets
		for _, uids := range split(m.UIDs, mail.MaxTouched) {
			p.steps = append(p.steps, slot.Undelete{Mailbox: m.ID, UIDs: uids, To: target, Force: req.Force})
		}
	}
	for _, m := range d.Messages {
		p.from = append(p.from, m.MailboxID)
		r.Messages = append(r.Messages, api.UndeletedMessage{
			Mailbox: m.Mailbox, UID: m.UID, Octets: m.Octets, Date: m.Date, Subject: m.Subject, At: m.At, By: m.By,
			To: names[targets[m.MailboxID]],
		})
	}
	if over := overQuota(d.Quota, messages, r.Octets); over != "" && !req.Force {
		return p, conflict("--force brings it back all the same", "that is more than the user's quota allows, by %s", over)
	}
	return p, nil
}

func overQuota(q mail.Quota, messages, octets int64) string {
	if over := q.UsedMessages + messages - q.LimitMessages; q.LimitMessages > 0 && messages > 0 && over > 0 {
		return fmt.Sprintf("%d messages", over)
	}
	if over := q.UsedOctets + octets - q.LimitOctets; q.LimitOctets > 0 && octets > 0 && over > 0 {
		return fmt.Sprintf("%d octets", over)
	}
	return ""
}

// freeName is name, or the next one like it that no mailbox has.
func freeName(taken map[string]mail.MailboxID, name string) string {
	free := name
	for i := 1; !taken[free].IsZero(); i++ {
		if free = name + " (undeleted)"; i > 1 {
			free = fmt.Sprintf("%s (undeleted %d)", name, i)
		}
	}
	return free
}

// split cuts a set into parts of at most n UIDs.
func split(s mail.UIDSet, n int) (parts []mail.UIDSet) {
	var part mail.UIDSet
	left := n
	for _, r := range s {
		for r.Len() > left {
			cut := mail.UIDRange{Lo: r.Lo, Hi: r.Lo + mail.UID(left) - 1}
			parts = append(parts, append(part, cut))
			part, left, r.Lo = nil, n, cut.Hi+1
		}
		part = append(part, r)
		if left -= r.Len(); left == 0 {
			parts, part, left = append(parts, part), nil, n
		}
	}
	if len(part) > 0 {
		parts = append(parts, part)
	}
	return parts
}

// came notes the new UIDs of messages of a mailbox that are back.
func (p *undeletePlan) came(from mail.MailboxID, out slot.Undeleted) {
	now := map[mail.UID]mail.UID{}
	var uids []mail.UID
	for u := range out.UIDs.All() {
		uids = append(uids, u)
	}
	i := 0
	for u := range out.Source.All() {
		if i < len(uids) {
			now[u] = uids[i]
		}
		i++
	}
	for i := range p.report.Messages {
		m := &p.report.Messages[i]
		if u := now[m.UID]; u != 0 && p.from[i] == from {
			m.NewUID = u
		}
	}
}
