package imapd

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/tandemail/tandemail/internal/mail"
	"github.com/tandemail/tandemail/internal/session"
)

// COPY and MOVE into another account are no single operation. The messages are added
// there a part at a time, with the ids and dates they have; those of a MOVE are removed
// here when they are durable there. Each step has its chunk, the same whenever the command
// is repeated: a part that was added is not added again, and one that is gone from here
// was added. What COPY has added before it is refused is taken back (RFC 9051 6.4.7).

const (
	// crossingPart is how many messages are under way at once: in memory up to 1 MiB of
	// each. All parts of mail.MaxCopy have chunks below takeBackChunk.
	crossingPart = 16
	// takeBackChunk is the first chunk of what takes copies back.
	takeBackChunk = 9_000
)

// crossing is one COPY or MOVE between accounts while it runs.
type crossing struct {
	*Session
	from, to *place
	target   mail.MailboxID
	move     bool
	done     mail.Result // UIDs, their UIDVALIDITY, and Source in the same order
	vague    bool        // Source is not all known
}

// cross copies or moves uids of the selected mailbox to the mailbox of the account at hand.
func (s *Session) cross(ctx context.Context, uids mail.UIDSet, target mail.MailboxID, move bool) (*crossing, error) {
	x := &crossing{Session: s, from: s.box.at, to: s.at, target: target, move: move}
	if s.resumed.number != s.number {
		if err := x.check(ctx, uids); err != nil {
			return x, err
		}
	}
	for i, part := range split(uids, crossingPart) {
		if err := x.part(ctx, i, part); err != nil {
			if !move {
				x.takeBack(ctx, x.done.UIDs, err)
			}
			return x, err
		}
	}
	return x, nil
}

// check refuses at once what cannot come to a good end.
func (x *crossing) check(ctx context.Context, uids mail.UIDSet) error {
	x.work(x.to)
	v, err := x.current(ctx)
	if err != nil {
		return err
	}
	account, err := v.Account()
	if err != nil {
		return err
	}
	x.work(x.from)
	if v, err = x.current(ctx); err != nil {
		return err
	}
	info, err := x.selected(v)
	if err != nil {
		return err
	}
	rights := mail.MayRead
	if x.move {
		rights |= mail.MayDeleteMail | mail.MayExpunge
	}
	if err := need(&info, rights); err != nil {
		return err
	}
	q := account.Quota
	if q.LimitMessages == 0 && q.LimitOctets == 0 {
		return nil
	}
	err = x.walk(ctx, x.box, uids, func(w *row) error {
		m, err := w.message(ctx)
		if err != nil {
			return err
		}
		q.UsedMessages++
		q.UsedOctets += m.Size
		return nil
	})
	if q.LimitMessages > 0 && q.UsedMessages > q.LimitMessages || q.LimitOctets > 0 && q.UsedOctets > q.LimitOctets {
		err = errors.Join(mail.ErrOverQuota, err)
	}
	return err
}

// part copies or moves some messages.
func (x *crossing) part(ctx context.Context, chunk int, uids mail.UIDSet) error {
	op := mail.Append{Mailbox: x.target}
	defer func() {
		for _, m := range op.Messages {
			_ = m.Body.Close() // what was committed is the account's
		}
	}()
	there, err := x.stageAll(ctx, uids, &op)
	if err != nil {
		return err
	}
	res, err := x.insert(ctx, chunk, op)
	if err != nil || len(res.UIDs) == 0 {
		return err
	}
	if x.note(&res, uids, there); !x.move || len(there) == 0 {
		return nil
	}
	x.work(x.from)
	_, err = x.do(ctx, chunk, mail.Expunge{Mailbox: x.box.id, UIDs: there, Unmarked: true})
	if err != nil {
		x.takeBack(ctx, res.UIDs, err)
	}
	return err
}

// stageAll makes ready those of uids that are there.
func (x *crossing) stageAll(ctx context.Context, uids mail.UIDSet, op *mail.Append) (there mail.UIDSet, err error) {
	x.work(x.from)
	v, err := x.current(ctx)
	if err != nil {
		return nil, err
	}
	info, err := x.selected(v)
	if err != nil {
		return nil, err
	}
	rows, err := x.box.readRows(v, uids, nil)
	if err == nil {
		err = x.box.readMessages(v, rows)
	}
	if err != nil {
		return nil, err
	}
	contents := make([]mail.Content, 0, len(rows))
	defer func() {
		for _, c := range contents {
			_ = c.Close() // read only
		}
	}()
	for i := range rows {
		c, err := v.Open(ctx, rows[i].msg)
		if err != nil {
			return nil, fmt.Errorf("open message %d: %w", rows[i].msg.UID, err)
		}
		contents = append(contents, c)
	}
	x.work(x.to)
	x.closeView() // staging takes its time
	for i, c := range contents {
		m := &rows[i].msg
		body, err := x.at.account.Stage(ctx, io.NewSectionReader(c, 0, c.Size()), mail.MaxMessageSize)
		if err != nil {
			return nil, fmt.Errorf("take in message %d: %w", m.UID, err)
		}
		f := &rows[i].flags
		op.Messages = append(op.Messages, mail.NewMessage{
			Body: body, Flags: f.Flags, Keywords: wordsOf(f.Keywords, info.Keywords), InternalDate: m.InternalDate,
			EmailID: m.EmailID, ThreadID: m.ThreadID,
		})
		there = there.Add(m.UID)
	}
	return there, nil
}

// wordsOf is the keywords at these places of a table.
func wordsOf(k mail.Keywords, table []string) (words []string) {
	for i, w := range table {
		if k.Has(i) {
			words = append(words, w)
		}
	}
	return words
}

// insert adds the messages at the target. If there are none any more, a command that may
// have been executed before has perhaps added them: the account knows.
func (x *crossing) insert(ctx context.Context, chunk int, op mail.Append) (mail.Result, error) {
	x.work(x.to)
	if len(op.Messages) > 0 {
		res, err := x.do(ctx, chunk, op)
		return res, x.transferError(err)
	}
	if x.resumed.number != x.number {
		return mail.Result{}, nil
	}
	res, err := x.do(ctx, chunk, mail.Expunge{Mailbox: x.target}) // of no message
	switch ReasonOf(err) {
	case session.NotResumable, session.Broken: // left out, or refused: nothing was added
		return res, nil
	}
	return res, err
}

// note takes down what was added. there is what was found of the part now, which may be
// less than what was added when the command was executed first.
func (x *crossing) note(res *mail.Result, part, there mail.UIDSet) {
	x.done.UIDValidity = res.UIDValidity
	x.done.UIDs = x.done.UIDs.Union(res.UIDs)
	switch res.UIDs.Len() {
	case there.Len():
		x.done.Source = x.done.Source.Union(there)
	case part.Len():
		x.done.Source = x.done.Source.Union(part)
	default:
		x.vague = true
	}
}

// takeBack removes copies, unless the command will be repeated.
func (x *crossing) takeBack(ctx context.Context, uids mail.UIDSet, why error) {
	if ReasonOf(x.excuse(ctx, why)) != session.Broken {
		return
	}
	at := x.at
	x.work(x.to)
	for i, part := range split(uids, mail.MaxTouched) {
		_, err := x.do(ctx, takeBackChunk+i, mail.Expunge{Mailbox: x.target, UIDs: part, Unmarked: true})
		if err != nil {
			x.log.Warn("copies could not be taken back", "mailbox", x.target.String(), "err", err)
			break
		}
	}
	x.work(at)
}

// code is COPYUID, if all of it is known.
func (x *crossing) code() string {
	if x.vague {
		return ""
	}
	return copyUID(&x.done)
}

// copyAway is COPY into another account.
func (s *Session) copyAway(ctx context.Context, uids mail.UIDSet, target mail.MailboxID) (answer, error) {
	x, err := s.cross(ctx, uids, target, false)
	if err != nil {
		return answer{}, err
	}
	return okCode(x.code(), "COPY completed"), nil
}

// moveAway is MOVE into another account. What was moved before it is refused is moved
// (RFC 6851 3.3).
func (s *Session) moveAway(ctx context.Context, uids mail.UIDSet, target mail.MailboxID) (answer, error) {
	x, err := s.cross(ctx, uids, target, true)
	if code := x.code(); code != "" {
		s.out.status(code, "Moved")
	}
	if err != nil {
		return answer{}, err
	}
	ans := ok("MOVE completed")
	ans.highest = len(x.done.UIDs) > 0
	return ans, nil
}

// replaced ends an Append. If it was added across accounts in the place of an old message,
// that is removed now.
func (s *Session) replaced(ctx context.Context, across bool, old *mail.Replaced, res mail.Result, err error) (mail.Result, error) {
	if err != nil || !across {
		return res, err
	}
	s.work(s.box.at)
	_, err = s.do(ctx, 1, mail.Expunge{Mailbox: old.Mailbox, UIDs: mail.UIDSet{}.Add(old.UID), Unmarked: true})
	return res, err
}

// mayReplace refuses at once a REPLACE whose old message cannot be removed.
func (s *Session) mayReplace(ctx context.Context, old *mail.Replaced) error {
	s.work(s.box.at)
	v, err := s.current(ctx)
	if err != nil {
		return err
	}
	info, err := s.selected(v)
	if err == nil {
		err = need(&info, mail.MayDeleteMail|mail.MayExpunge)
	}
	if err == nil {
		_, err = v.Message(old.Mailbox, old.UID)
	}
	return err
}
