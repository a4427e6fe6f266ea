package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"time"
)

// Login is a user with his password.
type Login struct{ User, Password string }

// Mix says how often each kind of operation is chosen, in relation to the others.
type Mix struct {
	Login  int // a new connection, LOGIN and SELECT
	Fetch  int // one whole message, chosen at random
	Store  int // \Flagged set or cleared on one message, chosen at random
	Append int // one message
}

// DefaultMix is taken when a Mix is all zero: mostly reading.
func DefaultMix() Mix { return Mix{Login: 5, Fetch: 70, Store: 15, Append: 10} }

// IMAPConfig says what load to put on IMAP servers.
type IMAPConfig struct {
	Addresses []string // of the servers, "host:port"; connections are dealt out in turn
	Users     []Login  // connections log in as them in turn
	Mailbox   string   // "INBOX" unless set
	Mix       Mix
	Size      int // octets of an appended message, about; 4,096

	Connections int           // 1 unless set
	Operations  int64         // end after so many; 0 is no limit
	Duration    time.Duration // end after that time; 0 is no limit
	Timeout     time.Duration // for the answer to one command; one minute
	Seed        uint64        // 0 draws one

	Progress io.Writer // gets one line a second; nil is none
	Dial     DialFunc  // nil is TCP
}

// The operations, in the order of the report.
const (
	opLogin = iota
	opFetch
	opStore
	opAppend
)

// RunIMAP runs commands until a limit of cfg or the end of ctx is reached. It
// fails only if cfg makes no sense or no log-in succeeded.
func RunIMAP(ctx context.Context, cfg IMAPConfig) (Report, error) {
	l, err := limits{cfg.Duration, cfg.Operations, cfg.Timeout, cfg.Dial}.check()
	if err != nil {
		return Report{}, err
	}
	if len(cfg.Addresses) == 0 || len(cfg.Users) == 0 {
		return Report{}, errors.New("no server or no user is set")
	}
	if cfg.Mailbox == "" {
		cfg.Mailbox = "INBOX"
	}
	if cfg.Mix == (Mix{}) {
		cfg.Mix = DefaultMix()
	}
	if m := cfg.Mix; min(m.Login, m.Fetch, m.Store, m.Append) < 0 {
		return Report{}, errors.New("a weight of the mix is negative")
	}
	cfg.Size = positive(cfg.Size, 4096)
	cfg.Connections = positive(cfg.Connections, 1)
	for cfg.Seed == 0 {
		cfg.Seed = rand.Uint64()
	}
	m := newMeter(cfg.Connections, cfg.Progress, "login", "fetch", "store", "append")
	return drive(ctx, l, m, "imap", func(p *pool, n int, t *tally) {
		newReader(cfg, p, n, t).run()
	})
}

// reader is one connection's worth of commands.
type reader struct {
	cfg     IMAPConfig
	pool    *pool
	tally   *tally
	rng     *rand.Rand
	message template
	next    uint64
	address string
	user    Login
}

func newReader(cfg IMAPConfig, p *pool, n int, t *tally) *reader {
	rng := rand.New(rand.NewPCG(cfg.Seed, uint64(n)))
	return &reader{
		cfg: cfg, pool: p, tally: t, rng: rng,
		message: newTemplate(rng, cfg.Seed, cfg.Size), next: uint64(n) << 40,
		address: cfg.Addresses[n%len(cfg.Addresses)], user: cfg.Users[n%len(cfg.Users)],
	}
}

// run logs in and works, again and again.
func (r *reader) run() {
	for r.pool.take() {
		c := r.login()
		if c == nil {
			r.pool.pause(firstWait)
			continue
		}
		for r.step(c) {
		}
		c.nc.Close()
	}
}

// login opens a session; nil when that failed.
func (r *reader) login() *imapClient {
	nc := r.pool.connect(r.address, func() { r.tally.failed(opLogin, "connect") })
	if nc == nil {
		return nil
	}
	begin := time.Now()
	setDeadline(nc, r.pool.timeout)
	c, err := newIMAPClient(nc)
	if err == nil {
		err = c.do("LOGIN " + quote(r.user.User) + " " + quote(r.user.Password))
	}
	if err == nil {
		err = c.do("SELECT " + quote(r.cfg.Mailbox))
	}
	if err != nil {
		nc.Close()
		if r.pool.cut.Err() == nil {
			r.pool.note(fmt.Errorf("log in as %s: %w", r.user.User, err))
			r.tally.failed(opLogin, errorCode(err))
		}
		return nil
	}
	r.tally.done(opLogin, time.Since(begin), 0)
	return c
}

// step does one operation and reports whether the session goes on.
func (r *reader) step(c *imapClient) bool {
	op := r.choose(c.exists)
	if op == opLogin { // counted when the next session begins
		setDeadline(c.nc, r.pool.timeout)
		_ = c.do("LOGOUT") // the connection is closed next, whatever the answer
		return false
	}
	if !r.pool.take() {
		return false
	}
	begin := time.Now()
	setDeadline(c.nc, r.pool.timeout)
	octets, err := r.do(c, op)
	if err == nil {
		r.tally.done(op, time.Since(begin), octets)
		return true
	}
	if r.pool.cut.Err() != nil {
		return false
	}
	r.tally.failed(op, errorCode(err))
	var no refusal
	return errors.As(err, &no)
}

// choose draws an operation; with nothing to read, a message is appended.
func (r *reader) choose(messages int) int {
	m := r.cfg.Mix
	n := r.rng.IntN(m.Login + m.Fetch + m.Store + m.Append)
	for op, weight := range [...]int{m.Login, m.Fetch, m.Store, m.Append} {
		if n -= weight; n >= 0 {
			continue
		}
		if messages == 0 && (op == opFetch || op == opStore) {
			return opAppend
		}
		return op
	}
	return opAppend
}

func (r *reader) do(c *imapClient, op int) (octets int, err error) {
	switch op {
	case opFetch:
		err = c.do(fmt.Sprintf("FETCH %d (UID FLAGS BODY.PEEK[])", 1+r.rng.IntN(c.exists)))
		return c.octets, err
	case opStore:
		sign := "+-"[r.rng.IntN(2)]
		return 0, c.do(fmt.Sprintf(`STORE %d %cFLAGS.SILENT (\Flagged)`, 1+r.rng.IntN(c.exists), sign))
	default:
		r.message.number(r.next)
		r.next++
		return len(r.message.octets), c.doLiteral("APPEND "+quote(r.cfg.Mailbox), r.message.octets)
	}
}

func errorCode(err error) string {
	var no refusal
	switch {
	case errors.As(err, &no):
		return no.code()
	case errors.Is(err, errBye):
		if _, text, ok := strings.Cut(err.Error(), "["); ok {
			code, _, _ := strings.Cut(text, "]")
			return "BYE " + code
		}
		return "BYE"
	}
	return "connection lost"
}
