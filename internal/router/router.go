// Package router is what the MTA delivers to: it takes mail by LMTP, finds out
// whose it is, and brings it to the masters of their stores, holding while a store
// changes its master. 250 for a recipient means that the message is durable on
// every in-sync copy of the recipient's store.
//
// It implements lmtpd.Backend. It keeps nothing: what an MTA was not answered for,
// the MTA still has; what it was answered for, a store has. Which replies an MTA
// has seen it tells the stores lazily (design: exactly once).
//
// Not here: the LMTP protocol (lmtpd), the way to a master (deliver), users and
// aliases (directory).
package router

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/deliver"
	"github.com/tandemail/tandemail/internal/directory"
	"github.com/tandemail/tandemail/internal/lmtpd"
	"github.com/tandemail/tandemail/internal/mail"
	"github.com/tandemail/tandemail/internal/state"
)

// Directory resolves recipients. *directory.Directory implements it.
type Directory interface {
	Resolve(ctx context.Context, address string) ([]directory.Recipient, error)
}

// Deliverer brings a delivery to the master. *deliver.Client implements it.
type Deliverer interface {
	Deliver(ctx context.Context, q deliver.Request) ([]deliver.Result, error)
	Settle(ctx context.Context, s deliver.Settle) error
}

// Config of a Router. All but Hold is required.
type Config struct {
	Machine   cluster.Machine // for Received lines
	Directory Directory
	Deliver   Deliverer
	Now       func() time.Time
	Rand      io.Reader
	Log       *slog.Logger
	// Hold is the longest wait for a store's master; 8 s unless set. It is below
	// the time after which an MTA gives a connection up.
	Hold time.Duration
}

// Router is the backend of an LMTP server. Use New; Run settles what sessions leave.
type Router struct {
	cfg     Config
	settler *settler
}

// New builds a router.
func New(cfg Config) *Router {
	if cfg.Hold == 0 {
		cfg.Hold = 8 * time.Second
	}
	return &Router{cfg: cfg, settler: newSettler(cfg.Deliver, cfg.Log)}
}

// Run tells stores what became of replies until ctx ends, and then a last time.
func (r *Router) Run(ctx context.Context) error { return r.settler.run(ctx) }

// NewSession implements lmtpd.Backend.
func (r *Router) NewSession(_ context.Context, info lmtpd.ConnInfo) (lmtpd.Session, error) {
	return &session{router: r, remote: hostOf(info.Remote)}, nil
}

func hostOf(a net.Addr) string {
	if a == nil {
		return ""
	}
	host, _, err := net.SplitHostPort(a.String())
	if err != nil {
		return a.String()
	}
	return host
}

// session is one MTA's connection. lmtpd calls it from one goroutine at a time.
type session struct {
	router *Router
	remote string

	from        string
	params      lmtpd.MailParams
	transaction mail.TransactionID
	rcpts       []rcpt
	done        []delivered // by the last Data, waiting for Confirm or Abandon
}

// rcpt is one accepted RCPT with the users it leads to.
type rcpt struct {
	address string
	users   []directory.Recipient
}

// Mail implements lmtpd.Session. The transaction's id is drawn here.
func (s *session) Mail(_ context.Context, from string, p lmtpd.MailParams) error {
	s.Reset()
	if _, err := io.ReadFull(s.router.cfg.Rand, s.transaction[:]); err != nil {
		return fmt.Errorf("draw transaction id: %w", err)
	}
	s.from, s.params = from, p
	return nil
}

// replyNoUser and its like are what an MTA is told of addresses.
var (
	replyNoUser     = &lmtpd.Reply{Code: 550, Enhanced: "5.1.1", Text: "no such user here"}
	replyBadAddress = &lmtpd.Reply{Code: 553, Enhanced: "5.1.3", Text: "not a valid address"}
)

// Rcpt implements lmtpd.Session.
func (s *session) Rcpt(ctx context.Context, to string) error {
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
	}
	s.rcpts = append(s.rcpts, rcpt{to, users})
	return nil
}

// Reset implements lmtpd.Session.
func (s *session) Reset() {
	s.from, s.params, s.rcpts = "", lmtpd.MailParams{}, s.rcpts[:0]
}

// Logout implements lmtpd.Session.
func (s *session) Logout() {}

// Confirm implements lmtpd.Session.
func (s *session) Confirm() { s.settle(true) }

// Abandon implements lmtpd.Session.
func (s *session) Abandon() { s.settle(false) }

func (s *session) settle(confirmed bool) {
	s.router.settler.add(s.done, confirmed)
	s.done = nil
}

// Data implements lmtpd.Session: one operation a store, all stores at once.
func (s *session) Data(ctx context.Context, m *lmtpd.Message, answer func(int, lmtpd.Result)) {
	defer s.Reset()
	ctx, cancel := context.WithTimeout(ctx, s.router.cfg.Hold)
	defer cancel()
	octets, err := octetsOf(m)
	if err != nil {
		for i := range s.rcpts {
			answer(i, lmtpd.Result{Err: err})
		}
		return
	}
	d := &transaction{session: s, message: m, octets: octets, left: make([]int, len(s.rcpts)), failed: make([]error, len(s.rcpts)), answer: answer}
	d.plan()
	d.run(ctx)
}

// octetsOf returns the message in one piece. A large one is read back from the
// spool: it travels and is stored as one.
func octetsOf(m *lmtpd.Message) ([]byte, error) {
	if b := m.Bytes(); b != nil || m.Size == 0 {
		return b, nil
	}
	b := make([]byte, m.Size)
	if _, err := io.ReadFull(m.Reader(), b); err != nil {
		return nil, fmt.Errorf("read spooled message: %w", err)
	}
	return b, nil
}

// delivered is one recipient's delivery that an MTA was answered for.
type delivered struct {
	store cluster.Store
	ref   state.DeliveryRef
}

// transaction is one message on its way to several stores.
type transaction struct {
	*session
	message *lmtpd.Message
	octets  []byte
	answer  func(int, lmtpd.Result)
	stores  []*storeShare

	mu     sync.Mutex
	left   []int   // users of each rcpt that have no result yet
	failed []error // first failure of each rcpt
}

// storeShare is what goes to one store.
type storeShare struct {
	request deliver.Request
	rcpt    []int // of each recipient in the request: its place in rcpts
}

// plan deals the users out to their stores. A user that two RCPTs lead to gets two
// messages, as each was asked for.
func (t *transaction) plan() {
	byStore := map[cluster.Store]*storeShare{}
	number := uint32(0)
	for i, r := range t.rcpts {
		t.left[i] = len(r.users)
		for _, u := range r.users {
			share := byStore[u.User.Store]
			if share == nil {
				share = &storeShare{request: deliver.Request{
					Store: u.User.Store, Transaction: t.transaction, Remote: t.remote,
					QueueID: t.params.Forward.Ident, Octets: t.octets,
				}}
				byStore[u.User.Store] = share
				t.stores = append(t.stores, share)
			}
			share.rcpt = append(share.rcpt, i)
			share.request.Recipients = append(share.request.Recipients, state.Recipient{
				Number: number, Account: u.User.Account, Prefix: t.prefix(r.address, u),
				ContentKey: contentKey(t.from, r.address, u.User.Account, t.message.Received),
			})
			number++
		}
	}
}

// contentKey is what a retry on another connection has in common with the first
// try: return path, recipient as given, and the octets as received.
func contentKey(from, to string, account mail.AccountID, received [sha256.Size]byte) [32]byte {
	h := sha256.New()
	h.Write([]byte(from))
	h.Write([]byte{0})
	h.Write([]byte(to))
	h.Write([]byte{0})
	h.Write(account[:])
	h.Write(received[:])
	return [32]byte(h.Sum(nil))
}

func (t *transaction) run(ctx context.Context) {
	if len(t.stores) == 1 { // the common case needs no goroutine
		t.deliver(ctx, t.stores[0])
		return
	}
	var wg sync.WaitGroup
	for _, share := range t.stores {
		wg.Add(1)
		go func() {
			defer wg.Done()
			t.deliver(ctx, share)
		}()
	}
	wg.Wait()
}

func (t *transaction) deliver(ctx context.Context, share *storeShare) {
	results, err := t.router.cfg.Deliver.Deliver(ctx, share.request)
	if err == nil && len(results) != len(share.rcpt) {
		err = fmt.Errorf("store %s answered for %d of %d recipients", share.request.Store, len(results), len(share.rcpt))
	}
	for i, rcpt := range share.rcpt {
		o := err
		if err == nil {
			o = t.outcome(share, i, results[i])
		}
		t.finish(rcpt, o)
	}
}

// outcome notes one user's result, and logs it: the line that answers "where did
// my mail go?".
func (t *transaction) outcome(share *storeShare, i int, r deliver.Result) error {
	to := &share.request.Recipients[i]
	status := "delivered"
	err := r.Code.Err()
	switch {
	case err != nil:
		status = "refused"
	case r.Duplicate:
		status = "duplicate"
	}
	t.router.cfg.Log.Debug("delivery", "status", status, "transaction", t.transaction.String(), "queue", share.request.QueueID,
		"store", share.request.Store, "user", to.Account.String(), "uid", r.UID, "err", err)
	if err == nil {
		t.mu.Lock()
		t.done = append(t.done, delivered{share.request.Store, state.DeliveryRef{Account: to.Account, Transaction: t.transaction, Number: to.Number}})
		t.mu.Unlock()
	}
	return err
}

// finish counts one user of a RCPT off; the last one answers it. A RCPT that leads
// to several users succeeds when all have it: what failed is asked for again, and
// those that have it recognise the transaction or the content.
func (t *transaction) finish(rcpt int, err error) {
	t.mu.Lock()
	if t.failed[rcpt] == nil {
		t.failed[rcpt] = err
	}
	t.left[rcpt]--
	last, first := t.left[rcpt] == 0, t.failed[rcpt]
	t.mu.Unlock()
	if !last {
		return
	}
	res := lmtpd.Result{Err: first, Text: "stored, transaction " + t.transaction.String()}
	t.answer(rcpt, res)
}
