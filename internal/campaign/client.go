package campaign

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tandemail/tandemail/e2e/ledger"
	"github.com/tandemail/tandemail/internal/mail"
	"github.com/tandemail/tandemail/internal/slot"
	"github.com/tandemail/tandemail/internal/state"
)

const (
	users    = 2
	couriers = 3
	answerIn = 20 * time.Second // one attempt
)

func accountOf(user int) mail.AccountID { return mail.AccountID{1, byte(user)} }
func userName(user int) string          { return fmt.Sprint("u", user) }

// content is the octets of a message; its token says which and how large.
func content(t ledger.Token) string {
	var size int
	text := string(t)
	_, _ = fmt.Sscan(text[strings.LastIndexByte(text, '.')+1:], &size) // 0: as short as can be
	seed := uint64(0)
	for _, c := range []byte(text) {
		seed = seed*131 + uint64(c)
	}
	rng := rand.New(rand.NewPCG(seed, 9))
	b := make([]byte, 0, size+100)
	b = fmt.Appendf(b, "Subject: %s\r\n\r\n", t)
	for len(b) < size {
		if b = strconv.AppendUint(b, rng.Uint64(), 36); len(b)%5 == 0 {
			b = append(b, "\r\n"...)
		}
	}
	return string(append(b, "\r\n"...))
}

// draw makes a token of a message that nobody has sent.
func draw(rng *rand.Rand, who string, n int) ledger.Token {
	size := rng.IntN(3000)
	switch k := rng.IntN(200); {
	case k < 1:
		size = 1<<20 + rng.IntN(1<<16) // in chunks
	case k < 20:
		size = rng.IntN(60_000)
	}
	return ledger.Token(fmt.Sprintf("%s-%d.%d", who, n, size))
}

// courier delivers, as a router does: again and again under the same transaction until
// it is told what became of it. Now and then it loses its patience after an attempt
// without answer, as when a router dies.
type courier struct {
	w   *world
	rec *ledger.Recorder
	rng *rand.Rand
	n   int
}

func (c *courier) run(ctx, end context.Context) {
	for i := 0; ctx.Err() == nil && end.Err() == nil; i++ {
		_ = pause(end, time.Duration(100+c.rng.IntN(400))*time.Millisecond)
		user := c.rng.IntN(users)
		token := draw(c.rng, fmt.Sprint("d", c.n), i)
		begin := c.rec.Begin()
		outcome := c.deliver(end, user, token, i, c.rng.IntN(20) == 0)
		c.rec.End(begin, outcome, ledger.Deliver{User: userName(user), Token: token})
	}
}

func (c *courier) deliver(end context.Context, user int, token ledger.Token, i int, impatient bool) ledger.Outcome {
	d := slot.Delivery{Octets: []byte(content(token)), Recipients: []state.Recipient{{Account: accountOf(user)}}}
	d.Transaction[0] = byte(c.n + 1)
	binary.BigEndian.PutUint32(d.Transaction[4:], uint32(i+1))
	refused := ledger.Refused // as long as no attempt may have been more
	for end.Err() == nil {
		s := c.w.master()
		if s == nil {
			_ = pause(end, 50*time.Millisecond)
			continue
		}
		ctx, cancel := context.WithTimeout(end, answerIn)
		out, err := s.Deliver(ctx, d)
		cancel()
		switch {
		case err == nil && len(out) == 1 && out[0].Code == state.Done:
			return ledger.Acked
		case err == nil:
			return refused
		case errors.Is(err, mail.ErrFull) && refused == ledger.Refused:
			return refused
		case errors.Is(err, mail.ErrMoved), errors.Is(err, mail.ErrBusy), errors.Is(err, mail.ErrFull):
		default:
			refused = ledger.Unknown
			if impatient {
				return ledger.Unknown
			}
		}
		_ = pause(end, 50*time.Millisecond)
	}
	return ledger.Unknown
}

// writer is an IMAP client with two mailboxes of its own. It repeats each command under
// its id until that is answered, as a front end does.
type writer struct {
	w      *world
	rec    *ledger.Recorder
	rng    *rand.Rand
	user   int
	number uint64
	ids    map[string]mail.MailboxID
	box    map[string]map[mail.UID]ledger.Flags
	full   int // commands that were refused for lack of room
}

var writersBoxes = []string{"A", "B"}

func newWriter(w *world, rec *ledger.Recorder, rng *rand.Rand, user int) *writer {
	return &writer{w: w, rec: rec, rng: rng, user: user, ids: map[string]mail.MailboxID{}, box: map[string]map[mail.UID]ledger.Flags{}}
}

func (c *writer) ledgerBox(name string) ledger.Box {
	return ledger.Box{User: userName(c.user), Name: name}
}

// prepare makes the account and the mailboxes.
func (c *writer) prepare(ctx context.Context) error {
	for ctx.Err() == nil {
		if s := c.w.master(); s != nil && s.CreateAccount(ctx, accountOf(c.user).String(), 0) == nil {
			break
		}
		_ = pause(ctx, 50*time.Millisecond)
	}
	for _, name := range writersBoxes {
		res, err := c.do(ctx, func(mail.Account) (mail.Op, error) { return mail.Create{Name: name}, nil })
		if err != nil {
			return fmt.Errorf("create mailbox %s: %w", name, err)
		}
		c.ids[name], c.box[name] = res.Mailbox, map[mail.UID]ledger.Flags{}
	}
	return nil
}

// do repeats a command until it is answered.
func (c *writer) do(end context.Context, build func(mail.Account) (mail.Op, error)) (mail.Result, error) {
	c.number++
	id := mail.OpID{Session: mail.SessionID{byte(c.user + 1)}, Number: c.number}
	for end.Err() == nil {
		s := c.w.master()
		if s == nil {
			_ = pause(end, 50*time.Millisecond)
			continue
		}
		ctx, cancel := context.WithTimeout(end, answerIn)
		a := s.Account(accountOf(c.user))
		op, err := build(a)
		var res mail.Result
		if err == nil {
			if res, err = a.Do(ctx, mail.Request{ID: id, Op: op}); err == nil {
				cancel()
				return res, nil
			}
		}
		cancel()
		for _, refusal := range []error{mail.ErrNoMailbox, mail.ErrExists, mail.ErrOverQuota, mail.ErrLimit, mail.ErrOldCommand, mail.ErrNoAccount} {
			if errors.Is(err, refusal) {
				return res, err
			}
		}
		if errors.Is(err, mail.ErrFull) {
			c.full++ // and so it did not happen; it is tried until it does
		}
		_ = pause(end, 50*time.Millisecond)
	}
	return mail.Result{}, end.Err()
}

func (c *writer) run(ctx, end context.Context) error {
	for i := 0; ctx.Err() == nil && end.Err() == nil; i++ {
		_ = pause(end, time.Duration(50+c.rng.IntN(300))*time.Millisecond)
		if err := c.change(end, i); err != nil && end.Err() == nil {
			return err
		}
	}
	return nil
}

func (c *writer) change(end context.Context, i int) error {
	from := writersBoxes[c.rng.IntN(2)]
	there := c.box[from]
	if len(there) == 0 || c.rng.IntN(3) == 0 {
		return c.append(end, from, i)
	}
	uids := c.some(there)
	switch c.rng.IntN(4) {
	case 0:
		return c.copy(end, from, uids, false)
	case 1:
		return c.copy(end, from, uids, true)
	case 2:
		return c.expunge(end, from, uids)
	}
	return c.store(end, from, uids, ledger.Mode(c.rng.IntN(3)), []mail.Flags{mail.Seen, mail.Flagged, mail.Deleted, mail.Answered | mail.Seen}[c.rng.IntN(4)])
}

// some draws a few of the messages, ascending.
func (c *writer) some(there map[mail.UID]ledger.Flags) []mail.UID {
	all := make([]mail.UID, 0, len(there))
	for u := range there {
		all = append(all, u)
	}
	slices.Sort(all)
	c.rng.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	all = all[:1+c.rng.IntN(min(4, len(all)))]
	slices.Sort(all)
	return all
}

func setOf(uids []mail.UID) (s mail.UIDSet) {
	for _, u := range uids {
		s = s.Add(u)
	}
	return s
}

func numbers(uids []mail.UID) (n []uint32) {
	for _, u := range uids {
		n = append(n, uint32(u))
	}
	return n
}

// end writes an answered command down; one without answer at the very end, too.
func (c *writer) noted(begin int64, err error, change ledger.Change) error {
	outcome := ledger.Acked
	if err != nil {
		outcome = ledger.Unknown
	}
	c.rec.End(begin, outcome, change)
	return err
}

func (c *writer) append(end context.Context, to string, i int) error {
	token := draw(c.rng, fmt.Sprint("a", c.user), i)
	begin := c.rec.Begin()
	res, err := c.do(end, func(a mail.Account) (mail.Op, error) {
		body, err := a.Stage(end, strings.NewReader(content(token)), mail.MaxMessageSize)
		return mail.Append{Mailbox: c.ids[to], Messages: []mail.NewMessage{{Body: body, Flags: mail.Draft}}}, err
	})
	flags := ledger.NewFlags(mail.Draft.Names()...)
	change := ledger.Append{Box: c.ledgerBox(to), Token: token, Flags: flags, Validity: uint32(res.UIDValidity)}
	if err == nil {
		if res.UIDs.Len() != 1 {
			return fmt.Errorf("append of %s was answered with UIDs %v", token, res.UIDs)
		}
		change.UID = uint32(res.UIDs[0].Lo)
		c.box[to][res.UIDs[0].Lo] = flags
	}
	return c.noted(begin, err, change)
}

func (c *writer) store(end context.Context, box string, uids []mail.UID, m ledger.Mode, f mail.Flags) error {
	begin := c.rec.Begin()
	_, err := c.do(end, func(mail.Account) (mail.Op, error) {
		return mail.Store{Mailbox: c.ids[box], UIDs: setOf(uids), Mode: mail.StoreMode(m), Flags: f}, nil
	})
	flags := ledger.NewFlags(f.Names()...)
	if err == nil {
		for _, u := range uids {
			c.box[box][u] = c.box[box][u].Apply(m, flags)
		}
	}
	return c.noted(begin, err, ledger.Store{Box: c.ledgerBox(box), UIDs: numbers(uids), Mode: m, Flags: flags})
}

func (c *writer) copy(end context.Context, from string, uids []mail.UID, move bool) error {
	to := writersBoxes[0]
	if from == to {
		to = writersBoxes[1]
	}
	begin := c.rec.Begin()
	res, err := c.do(end, func(mail.Account) (mail.Op, error) {
		if move {
			return mail.Move{From: c.ids[from], UIDs: setOf(uids), To: c.ids[to]}, nil
		}
		return mail.Copy{From: c.ids[from], UIDs: setOf(uids), To: c.ids[to]}, nil
	})
	change := ledger.Copy{
		From: c.ledgerBox(from), To: c.ledgerBox(to), UIDs: numbers(uids), Move: move, Targets: map[uint32]uint32{}, Validity: uint32(res.UIDValidity),
	}
	if err == nil {
		targets := slices.Collect(res.UIDs.All())
		for i, u := range slices.Collect(res.Source.All()) {
			change.Targets[uint32(u)] = uint32(targets[i])
			c.box[to][targets[i]] = c.box[from][u]
			if move {
				delete(c.box[from], u)
			}
		}
	}
	return c.noted(begin, err, change)
}

func (c *writer) expunge(end context.Context, box string, uids []mail.UID) error {
	if err := c.store(end, box, uids, ledger.Add, mail.Deleted); err != nil {
		return err
	}
	begin := c.rec.Begin()
	_, err := c.do(end, func(mail.Account) (mail.Op, error) {
		return mail.Expunge{Mailbox: c.ids[box], UIDs: setOf(uids)}, nil
	})
	if err == nil {
		for _, u := range uids {
			delete(c.box[box], u)
		}
	}
	return c.noted(begin, err, ledger.Expunge{Box: c.ledgerBox(box), UIDs: numbers(uids)})
}
