package router

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/tandemail/tandemail/internal/directory"
	"github.com/tandemail/tandemail/internal/lmtpd"
	"github.com/tandemail/tandemail/internal/mail"
)

// session is one MTA's connection. lmtpd calls it from one goroutine at a time.
type session struct {
	router *Router
	remote string

	from   string
	params lmtpd.MailParams
	id     mail.TransactionID
	rcpts  []rcpt
	users  int         // of all rcpts
	done   []delivered // answered 250 by the last Data, waiting for Confirm or Abandon
}

// rcpt is one accepted RCPT with the users it leads to.
type rcpt struct {
	address string
	users   []directory.Recipient
}

// maxUsers bounds the users that the recipients of one transaction lead to.
const maxUsers = 10_000

var (
	replyNoUser       = &lmtpd.Reply{Code: 550, Enhanced: "5.1.1", Text: "no such user here"}
	replyBadAddress   = &lmtpd.Reply{Code: 553, Enhanced: "5.1.3", Text: "not a valid address"}
	replyTooManyUsers = &lmtpd.Reply{Code: 452, Enhanced: "4.5.3", Text: "too many users for one message, send to the others separately"}
	replyLargeWait    = &lmtpd.Reply{Code: 452, Enhanced: "4.3.1", Text: "too many large messages at once, try again later"}
)

// Mail implements lmtpd.Session. The transaction's id is drawn here.
func (s *session) Mail(_ context.Context, from string, p lmtpd.MailParams) error {
	s.Reset()
	if _, err := io.ReadFull(s.router.cfg.Rand, s.id[:]); err != nil {
		return fmt.Errorf("draw transaction id: %w", err)
	}
	s.from, s.params = from, p
	return nil
}

// Rcpt implements lmtpd.Session.
func (s *session) Rcpt(ctx context.Context, to string) error {
	// Only a directory that was never read makes anybody wait.
	ctx, cancel := context.WithTimeout(ctx, s.router.cfg.Hold)
	defer cancel()
	users, err := s.router.cfg.Directory.Resolve(ctx, to)
	switch {
	case errors.Is(err, directory.ErrNoUser):
		return replyNoUser
	case errors.Is(err, directory.ErrBadAddress):
		return replyBadAddress
	case err != nil:
		return err
	case len(users) == 0:
		return fmt.Errorf("recipient %q leads to nobody", to)
	case s.users+len(users) > maxUsers:
		return replyTooManyUsers
	}
	s.rcpts = append(s.rcpts, rcpt{to, users})
	s.users += len(users)
	return nil
}

// Reset implements lmtpd.Session.
func (s *session) Reset() {
	clear(s.rcpts)
	s.from, s.params, s.rcpts, s.users = "", lmtpd.MailParams{}, s.rcpts[:0], 0
}

// Logout implements lmtpd.Session.
func (s *session) Logout() {
	s.Abandon() // nothing, unless Data ended in a panic
	s.router.sessions.add(-1)
}

// Confirm implements lmtpd.Session.
func (s *session) Confirm() {
	s.router.settler.add(s.done, true)
	s.done = nil
}

// Abandon implements lmtpd.Session.
func (s *session) Abandon() {
	s.router.settler.add(s.done, false)
	s.done = nil
}

// Data implements lmtpd.Session.
func (s *session) Data(ctx context.Context, m *lmtpd.Message, answer func(int, lmtpd.Result)) {
	defer s.Reset()
	ctx, cancel := context.WithTimeout(ctx, s.router.patience(m.Size))
	defer cancel()
	octets, release, err := s.router.octetsOf(ctx, m)
	if err != nil {
		for i := range s.rcpts {
			answer(i, lmtpd.Result{Err: err})
		}
		return
	}
	defer release()
	newTransaction(s, m, octets, answer).run(ctx)
}

// patience is how long a delivery may take: the wait for a master, and a second for
// each MiB, which is on its way to several stores and to two disks of each. It stays
// far below the 10 minutes that an MTA waits (RFC 5321 section 4.5.3.2.6).
func (r *Router) patience(size int64) time.Duration {
	return r.cfg.Hold + time.Duration(size>>20)*time.Second
}

// octetsOf returns the message in one piece. One that is not in memory is read
// back, since it travels and is stored in one piece, when there is room for it.
func (r *Router) octetsOf(ctx context.Context, m *lmtpd.Message) (octets []byte, release func(), err error) {
	if b := m.Bytes(); b != nil || m.Size == 0 {
		return b, func() {}, nil
	}
	n := min(m.Size, r.cfg.LargeMemory)
	if err := r.large.Acquire(ctx, n); err != nil {
		return nil, nil, replyLargeWait
	}
	octets = make([]byte, m.Size)
	if _, err := io.ReadFull(m.Reader(), octets); err != nil {
		r.large.Release(n)
		return nil, nil, fmt.Errorf("read spooled message: %w", err)
	}
	return octets, func() { r.large.Release(n) }, nil
}
