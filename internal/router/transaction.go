package router

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"

	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/deliver"
	"github.com/tandemail/tandemail/internal/directory"
	"github.com/tandemail/tandemail/internal/lmtpd"
	"github.com/tandemail/tandemail/internal/mail"
	"github.com/tandemail/tandemail/internal/state"
)

// transaction is one message on its way to several stores.
type transaction struct {
	*session
	message *lmtpd.Message
	octets  []byte
	answer  func(int, lmtpd.Result)
	shares  []*share

	mu      sync.Mutex
	replies []reply // one a RCPT
}

// share is what goes to one store in one request.
type share struct {
	request  deliver.Request
	targets  []target // of each recipient in the request
	prefixes int      // octets
}

// target says where a recipient of a request comes from.
type target struct {
	rcpt int    // place in rcpts
	user string // for the log
}

// reply gathers what a RCPT will be answered.
type reply struct {
	left int   // users without a result yet
	err  error // the worst so far
	// have are deliveries that a store has, or may have.
	have []delivered
}

// delivered is one recipient's delivery, as a store knows it.
type delivered struct {
	store cluster.Store
	ref   state.DeliveryRef
}

func newTransaction(s *session, m *lmtpd.Message, octets []byte, answer func(int, lmtpd.Result)) *transaction {
	t := &transaction{session: s, message: m, octets: octets, answer: answer, replies: make([]reply, len(s.rcpts))}
	t.plan()
	return t
}

// plan deals the users out to their stores. A user that two RCPTs lead to gets two
// messages, as each is answered on its own (RFC 2033 section 4.2).
func (t *transaction) plan() {
	open := map[cluster.Store]*share{}
	p := prefixer{t: t, date: t.router.cfg.Now().Format(dateForm)}
	number := uint32(0)
	for i, r := range t.rcpts {
		t.replies[i].left = len(r.users)
		for _, u := range r.users {
			prefix := p.prefix(r.address, u.User.Name)
			sh := open[u.User.Store]
			if sh == nil || !sh.fits(len(prefix)) {
				sh = t.newShare(u.User.Store)
				open[u.User.Store] = sh
			}
			sh.add(target{i, u.User.Name}, state.Recipient{
				Number: number, Account: u.User.Account, Prefix: prefix,
				ContentKey: contentKey(t.from, r.address, u.User, t.message.Received),
			})
			number++
		}
	}
}

func (t *transaction) newShare(s cluster.Store) *share {
	sh := &share{request: deliver.Request{
		Store: s, Transaction: t.id, Remote: t.remote, QueueID: t.params.Forward.Ident, Octets: t.octets,
	}}
	t.shares = append(t.shares, sh)
	return sh
}

func (sh *share) fits(prefix int) bool {
	return len(sh.targets) < deliver.MaxRecipients && sh.prefixes+prefix <= deliver.MaxPrefixes
}

func (sh *share) add(to target, r state.Recipient) {
	sh.targets = append(sh.targets, to)
	sh.request.Recipients = append(sh.request.Recipients, r)
	sh.prefixes += len(r.Prefix)
}

// delivered names recipient i as its store knows it.
func (sh *share) delivered(i int) delivered {
	r := &sh.request.Recipients[i]
	return delivered{sh.request.Store, state.DeliveryRef{Account: r.Account, Transaction: sh.request.Transaction, Number: r.Number}}
}

// contentKey is what a retry on another connection has in common with the first
// try: return path, recipient as given, and the octets as received.
// docs/protocol/deliver.md: it never changes.
func contentKey(from, to string, u directory.User, received [sha256.Size]byte) [sha256.Size]byte {
	b := make([]byte, 0, 512) // stays on the stack, unless an address is long
	b = append(append(b, from...), 0)
	b = append(append(b, to...), 0)
	b = append(b, u.Account[:]...)
	return sha256.Sum256(append(b, received[:]...))
}

// run delivers to all stores at once and returns when every RCPT is answered.
func (t *transaction) run(ctx context.Context) {
	if len(t.shares) == 1 { // the common case needs no goroutine
		t.deliver(ctx, t.shares[0])
		return
	}
	var wg sync.WaitGroup
	panics := make(chan error, len(t.shares))
	for _, sh := range t.shares {
		wg.Go(func() {
			defer func() {
				if p := recover(); p != nil {
					panics <- fmt.Errorf("deliver to store %s: %v\n%s", sh.request.Store, p, debug.Stack())
				}
			}()
			t.deliver(ctx, sh)
		})
	}
	wg.Wait()
	select {
	case p := <-panics:
		panic(p) // ends this session alone, as one in its own goroutine does
	default:
	}
}

func (t *transaction) deliver(ctx context.Context, sh *share) {
	results, err := t.router.cfg.Deliver.Deliver(ctx, sh.request)
	if err == nil && len(results) != len(sh.targets) {
		err = fmt.Errorf("store %s answered for %d of %d recipients", sh.request.Store, len(results), len(sh.targets))
	}
	for i := range sh.targets {
		var r deliver.Result
		if err == nil {
			r = results[i]
		}
		t.outcome(sh, i, r, err)
	}
}

// outcome takes one user's result: of the whole request if err is not nil.
func (t *transaction) outcome(sh *share, i int, r deliver.Result, err error) {
	status, has := statusDelivered, true
	switch {
	case err != nil:
		status, has = statusDeferred, mayHaveHappened(err)
	case r.Code != state.Done:
		err = refusal(r.Code)
		status, has = statusDeferred, false
		if permanent(err) {
			status = statusRefused
		}
	case r.Duplicate:
		status = statusDuplicate
	}
	t.router.counts.add(status)
	t.log(status, sh, i, r, err)
	var have []delivered
	if has {
		have = []delivered{sh.delivered(i)}
	}
	t.finish(sh.targets[i].rcpt, have, err)
}

func mayHaveHappened(err error) bool {
	return !errors.Is(err, mail.ErrBusy) && !errors.Is(err, mail.ErrFull)
}

// finish counts one user of a RCPT off; the last one answers it.
func (t *transaction) finish(i int, have []delivered, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	p := &t.replies[i]
	p.have = append(p.have, have...)
	p.err = worse(p.err, err)
	if p.left--; p.left > 0 {
		return
	}
	if p.err != nil {
		// The MTA will send it again to all of them: those who have it, or may have
		// it, know it then.
		t.router.settler.add(p.have, false)
		t.answer(i, lmtpd.Result{Err: p.err})
		return
	}
	t.done = append(t.done, p.have...)
	t.answer(i, lmtpd.Result{Text: "stored, transaction " + t.id.String()})
}

// log writes the line that answers "where did my mail go?".
func (t *transaction) log(status string, sh *share, i int, r deliver.Result, err error) {
	level := slog.LevelInfo
	if errors.Is(err, mail.ErrNoAccount) || errors.Is(err, mail.ErrNoMailbox) {
		level = slog.LevelWarn // the directory and the store disagree
	}
	log, ctx := t.router.cfg.Log, context.Background()
	if !log.Enabled(ctx, level) {
		return
	}
	attrs := make([]slog.Attr, 0, 8)
	attrs = append(attrs,
		slog.String("status", status), slog.String("transaction", t.id.String()), slog.String("queue", sh.request.QueueID),
		slog.String("from", t.from), slog.String("user", sh.targets[i].user), slog.String("store", string(sh.request.Store)))
	if err != nil {
		attrs = append(attrs, slog.String("err", err.Error()))
	} else {
		attrs = append(attrs, slog.Uint64("uid", uint64(r.UID)), slog.Int("size", len(t.octets)))
	}
	log.LogAttrs(ctx, level, "delivery", attrs...)
}
