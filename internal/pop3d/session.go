package pop3d

import (
	"context"
	"encoding/hex"
	"log/slog"
	"time"

	"github.com/tandemail/tandemail/internal/mail"
	"github.com/tandemail/tandemail/internal/session"
)

// Config of a [Session]. Account, Session, Sink and Locks are required.
type Config struct {
	Account mail.Account
	ID      mail.AccountID
	Session mail.SessionID
	User    string // as authenticated
	By      string // authorising user of a proxy log-in, or ""
	Remote  string // the client's address
	Sink    session.Sink
	Locks   *Locks

	Log *slog.Logger // nil: nothing is logged
	// Answered, if set, is told of each command that is answered: its name, "other"
	// if it is none that there is, and OK or ERR. It must not block.
	Answered func(name, status string)
}

// Session is one client in the TRANSACTION state.
type Session struct {
	cfg     Config
	account mail.Account
	log     *slog.Logger

	drop    *maildrop
	told    bool // the token knows of the maildrop
	resumed resumed
	unlock  func()

	// Of the command that runs.
	number uint64
	name   string
	out    output
}

// Command is a line without its end, and its number, which rises within a session.
type Command struct {
	Number uint64
	Line   []byte
}

// New makes a session. It does nothing before Begin or Resume.
func New(cfg Config) *Session {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	return &Session{
		cfg: cfg, account: cfg.Account, unlock: func() {},
		log: cfg.Log.With("user", cfg.User, "session", hex.EncodeToString(cfg.Session[:])),
	}
}

// Begin locks the maildrop and takes its picture. since is how long this machine has
// been the master. session.ErrInUse, mail.ErrBusy while sessions of the master before
// may still return, and errors of the account.
func (s *Session) Begin(ctx context.Context, since time.Duration) error {
	if err := s.lock(since, false); err != nil {
		return err
	}
	v, err := s.account.View(ctx)
	if err != nil {
		return err
	}
	defer v.Close()
	s.drop, err = open(v)
	return err
}

// Resume is Begin for a session that comes from another master, with what its client
// has been told. session.ErrNotResumable and what Begin may say.
func (s *Session) Resume(ctx context.Context, t *session.Token, since time.Duration) error {
	if err := s.lock(since, true); err != nil {
		return err
	}
	v, err := s.account.View(ctx)
	if err != nil {
		return err
	}
	defer v.Close()
	if s.drop, err = remember(v, t); err != nil {
		return err
	}
	s.told = true
	s.resumed = resumed{number: t.LastCommand + 1, inside: t.Fetch.Inside}
	return nil
}

func (s *Session) lock(since time.Duration, returning bool) (err error) {
	s.unlock, err = s.cfg.Locks.take(s.cfg.ID, s.cfg.Session, since, returning)
	if err != nil {
		s.unlock = func() {}
	}
	return err
}

// Close gives the maildrop back.
func (s *Session) Close() { s.unlock() }

// resumed is what the client has of the answer to the first command after Resume.
type resumed struct {
	number uint64
	inside *session.Place // nil: nothing
}

// Execute runs one command and gives its answer, Done included, to the sink. An
// error means that there was no Done and that the session cannot go on here:
// [session.ReasonOf] says why.
func (s *Session) Execute(ctx context.Context, c Command) error {
	s.number = c.Number
	s.out = output{sink: s.cfg.Sink, command: c.Number}
	if !s.told {
		s.out.delta.Selected, s.told = s.drop.selected(), true
	}
	line, err := s.run(ctx, c.Line)
	if err != nil {
		if line, err = s.errorLine(err); err != nil {
			return err
		}
	}
	if s.cfg.Answered != nil {
		s.cfg.Answered(s.name, statusOf(line))
	}
	return s.out.done(ctx, line)
}

// run returns the single line of the answer, "" if there were others.
func (s *Session) run(ctx context.Context, line []byte) (string, error) {
	name, args := split(line)
	c, known := commands[name]
	if s.name = name; !known {
		s.name = "other"
		return "-ERR Unknown command", nil
	}
	numbers, ok := parse(args, c.least, c.most)
	if !ok {
		return "-ERR Arguments are not what " + name + " takes", nil
	}
	return c.run(s, ctx, numbers)
}

// do proposes one change of the running command.
func (s *Session) do(ctx context.Context, chunk int, op mail.Op) (mail.Result, error) {
	return s.account.Do(ctx, mail.Request{
		ID: mail.OpID{Session: s.cfg.Session, Number: s.number, Chunk: uint32(chunk)},
		Actor: mail.Actor{
			User: s.cfg.User, By: s.cfg.By, Session: s.cfg.Session, Remote: s.cfg.Remote, Command: "POP3 " + s.name,
		},
		Op: op,
	})
}
