package imapd

import (
	"context"
	"encoding/hex"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/tandemail/tandemail/internal/imapwire"
	"github.com/tandemail/tandemail/internal/mail"
	"github.com/tandemail/tandemail/internal/session"
)

// Config of a [Session]. Account, Session and Sink are required.
type Config struct {
	Account mail.Account
	Session mail.SessionID
	User    string // as authenticated
	By      string // authorising user of a proxy log-in, or ""
	Remote  string // the client's address
	Sink    session.Sink
	Others  Others // nil: nobody else is known
	// Pictures is of the machine; nil: nothing is shared with other sessions.
	Pictures *Pictures

	Version string           // told by ID; "" is not told
	Now     func() time.Time // nil: time.Now
	Log     *slog.Logger     // nil: nothing is logged
	// Answered, if set, is told of each command that is answered: its name, "other"
	// if it is none that there is, and OK, NO or BAD. It must not block.
	Answered func(name, status string)
}

// Session is one client in the authenticated or selected state.
type Session struct {
	cfg  Config
	home place
	log  *slog.Logger

	enabled  session.Features
	box      *box // the selected mailbox, nil if there is none
	saved    mail.UIDSet
	contexts []*searchContext // of the selected mailbox
	notify   *imapwire.Notify // the last one; nil: there was none
	notified mail.ModSeq      // what happened elsewhere up to here was looked at
	own      []mail.ModSeq    // changes after it that are this session's
	follower *follower        // of other users' accounts; nil: there is none
	ownAway  map[mail.AccountID][]mail.ModSeq
	told     []session.Followed // by a token: what of them was told before
	followed bool               // whether there has to be a follower was looked at
	mine     mail.UIDSet        // messages that it added to the selected mailbox itself
	idle     idleGate
	resumed  resumed

	following sync.WaitGroup // followers, also such as were stopped

	// Of the command that runs.
	number uint64
	name   string
	at     *place // where it works
	out    output
	view   lease          // of that account
	opens  sync.WaitGroup // what reads that View in the background
	urls   followed
}

// Command is one whole command with its number, which rises within a session.
type Command struct {
	Number uint64
	Raw    imapwire.Raw
}

// New makes a session in the authenticated state.
func New(cfg Config) *Session {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	return &Session{
		cfg: cfg, home: place{account: cfg.Account},
		log: cfg.Log.With("user", cfg.User, "session", hex.EncodeToString(cfg.Session[:])),
	}
}

// Execute runs one command and gives its answer, Done included, to the sink. An
// error means that there was no Done and that the session cannot go on here:
// [ReasonOf] says why. IDLE runs until [Session.EndIdle] or the end of ctx.
func (s *Session) Execute(ctx context.Context, c Command) error {
	s.number, s.at, s.urls = c.Number, s.base(), followed{}
	s.out = output{sink: s.cfg.Sink, command: c.Number, buf: s.out.buf}
	defer func() {
		s.closeView()
		s.out.buf = s.out.reuse()
	}()
	cmd, err := imapwire.Parse(c.Raw, s.utf8Names())
	if err != nil {
		return s.tagged(ctx, &cmd, s.misread(&cmd, err))
	}
	s.name = cmd.Name
	if cmd.UID {
		s.name = "UID " + cmd.Name
	}
	ans, err := s.run(ctx, &cmd)
	if err != nil {
		return err
	}
	return s.tagged(ctx, &cmd, ans)
}

// tagged ends cmd with its tagged response.
func (s *Session) tagged(ctx context.Context, cmd *imapwire.Command, a answer) error {
	if s.cfg.Answered != nil {
		s.cfg.Answered(nameOf(cmd), a.status)
	}
	return s.out.done(ctx, cmd.Tag, a)
}

// nameOf is one of a bounded set, whatever the client sent.
func nameOf(cmd *imapwire.Command) string {
	_, known := handlers[cmd.Name]
	switch {
	case !known:
		return "other"
	case cmd.UID:
		return "UID " + cmd.Name
	}
	return cmd.Name
}

// run executes cmd and announces what is new.
func (s *Session) run(ctx context.Context, cmd *imapwire.Command) (answer, error) {
	h, ok := handlers[cmd.Name]
	switch {
	case !ok:
		return bad("Command is not possible now"), nil
	case h.selected && s.box == nil:
		return bad("No mailbox is selected"), nil
	case h.writes && (s.box.examined || s.box.readOnly() && s.resumed.number != s.number):
		return no(imapwire.CodeReadOnly, "Mailbox is selected read-only"), nil
	case s.uidOnly() && cmd.ByNumber():
		return uidRequired, nil
	}
	ans, err := s.handle(ctx, h, cmd)
	if err != nil {
		if ans, err = s.errorAnswer(s.excuse(ctx, err)); err != nil {
			return answer{}, err
		}
	}
	news := update{expunges: cmd.UID || !h.numbers, uid: cmd.UID, told: ans.told, all: h.removes}
	if err := s.news(ctx, news); err != nil {
		return answer{}, s.excuse(ctx, err)
	}
	if ans.again != 0 && s.box != nil {
		s.box.told.Flags = min(s.box.told.Flags, ans.again)
		s.out.delta.Announced = s.box.announced()
	}
	if ans.highest && s.qresync() && ans.code == "" && s.box != nil {
		ans.code = highestCode(s.box.told.Flags)
	}
	return ans, nil
}

// handle calls the handler of cmd. A mailbox of another user is selected in one history
// of that account: a View tells whether this is still the one.
func (s *Session) handle(ctx context.Context, h handler, cmd *imapwire.Command) (answer, error) {
	if h.selected && s.at.away() {
		if _, err := s.current(ctx); err != nil {
			return answer{}, err
		}
	}
	return h.run(s, ctx, cmd)
}

// do proposes one change of the running command. Chunks tell its changes apart;
// a command that is repeated must number them alike.
func (s *Session) do(ctx context.Context, chunk int, op mail.Op) (mail.Result, error) {
	s.closeView()
	res, err := s.at.account.Do(ctx, mail.Request{
		ID: mail.OpID{Session: s.cfg.Session, Number: s.number, Chunk: uint32(chunk)},
		Actor: mail.Actor{
			User: s.cfg.User, By: s.cfg.By, Session: s.cfg.Session, Remote: s.cfg.Remote, Command: s.name,
		},
		Op: op,
	})
	if err == nil {
		s.did(op, &res)
	}
	return res, err
}

// did remembers what the client knows without being told (RFC 5465 5).
func (s *Session) did(op mail.Op, res *mail.Result) {
	switch {
	case res.ModSeq == 0:
	case s.at.away():
		s.didAway(s.at.owner, res.ModSeq)
	case s.follows():
		s.own = append(s.own, res.ModSeq)
	}
	if _, expunge := op.(mail.Expunge); !expunge && s.fetchesArrivals() && res.Mailbox == s.box.id {
		s.mine = s.mine.Union(res.UIDs)
	}
}

// Selected is the id of the selected mailbox, zero if there is none. Not to be
// called while Execute runs.
func (s *Session) Selected() mail.MailboxID {
	if s.box == nil {
		return mail.MailboxID{}
	}
	return s.box.id
}

// misread is the answer to a command that could not be read.
func (s *Session) misread(cmd *imapwire.Command, err error) answer {
	e, ok := errors.AsType[*imapwire.SyntaxError](err)
	if !ok {
		return bad("Command could not be read")
	}
	if e.Save && s.box != nil {
		s.save(nil)
	}
	if !e.No {
		return answer{status: imapwire.BAD, code: e.Code, text: e.Text}
	}
	if cmd.Name == "SELECT" || cmd.Name == "EXAMINE" {
		s.leave() // RFC 9051 6.3.2: one that fails selects nothing
	}
	return answer{status: imapwire.NO, code: e.Code, text: e.Text}
}
