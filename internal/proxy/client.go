package proxy

import (
	"context"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"runtime/debug"
	"time"

	"github.com/tandemail/tandemail/internal/accept"
	"github.com/tandemail/tandemail/internal/auth"
	"github.com/tandemail/tandemail/internal/line"
	"github.com/tandemail/tandemail/internal/mail"
	"github.com/tandemail/tandemail/internal/route"
	"github.com/tandemail/tandemail/internal/session"
)

// errUnauthenticated: the client gave up its identity and may log in again.
var errUnauthenticated = errors.New("client unauthenticated")

// errLogout is the orderly end of a session, after the client has been told.
var errLogout = errors.New("client logged out")

// client is one client's session.
type client struct {
	srv      *Server
	cfg      *Config
	log      *slog.Logger
	nobody   *slog.Logger // log, while nobody is logged in
	lc       *line.Conn
	remote   netip.Addr
	peer     *auth.Peer
	protocol session.Protocol
	implicit bool // TLS from the first octet
	dialect  dialect

	user     auth.Identity // once logged in
	session  mail.SessionID
	token    session.Token
	midway   bool  // inside a response: nothing else may be written
	useless  error // why the token does not describe what the client was told; nil: it does
	number   uint64
	upstream *upstream     // nil: none is open
	tried    route.Route   // one that failed twice in a row; without Master: look it up
	pause    time.Duration // before the next try of it
	began    bool          // a master has opened the session once

	slow      string        // the tag of the command that is being answered, but for IDLE
	listening chan listened // not nil: somebody reads the client during IDLE or a watch
	ahead     *[]byte       // a line that was read ahead, valid until the next is read

	failures int // log-ins in this connection
	errors   int // commands in a row that were none
}

func newClient(s *Server, nc net.Conn, ln Listener) *client {
	remote := accept.Address(nc)
	log := s.cfg.Log
	if remote.IsValid() {
		log = log.With("remote", remote.String())
	}
	return &client{
		srv: s, cfg: &s.cfg, remote: remote, peer: s.cfg.Auth.Meet(remote, nil, nil), protocol: ln.Protocol, implicit: ln.TLS, log: log, nobody: log,
		dialect: dialectOf(ln.Protocol)(),
		lc: line.New(nc, line.Config{
			MaxLine: maxLine, ReadBuffer: readBuffer, WriteBuffer: writeBuffer, IdleTimeout: s.cfg.LoginTimeout,
		}),
	}
}

// Serve implements accept.Conn: it runs the session and ends it, whatever it ended of.
func (c *client) Serve(ctx context.Context) {
	c.srv.counts.connections.Add(1)
	defer c.end()
	defer func() {
		if p := recover(); p != nil {
			c.log.Error("panic in a client's session", "err", p, "stack", string(debug.Stack()))
			c.sayBye(byeFault)
		}
	}()
	c.finish(c.run(ctx))
}

// Interrupt implements accept.Conn.
func (c *client) Interrupt() { c.lc.Interrupt() }

// Close implements accept.Conn.
func (c *client) Close() error { return c.lc.Close() }

// end gives back all that the session holds.
func (c *client) end() {
	_ = c.lc.Close()
	if c.listening != nil {
		<-c.listening
	}
	c.logOut()
	c.dialect.end(c)
}

func (c *client) run(ctx context.Context) error {
	if c.implicit {
		if err := c.startTLS(ctx); err != nil {
			return err
		}
	}
	c.dialect.greet(c)
	for {
		err := c.stay(ctx)
		if !errors.Is(err, errUnauthenticated) {
			return err
		}
	}
}

// stay runs the session of one user.
func (c *client) stay(ctx context.Context) error {
	late := time.AfterFunc(c.cfg.LoginTotal, c.lc.Interrupt)
	defer late.Stop()
	if err := c.dialect.login(ctx, c); err != nil {
		return err
	}
	if !late.Stop() {
		return &byeError{why: byeLogin}
	}
	c.lc.SetIdleTimeout(c.cfg.IdleTimeout)
	for {
		if err := c.watch(ctx); err != nil {
			return err
		}
		f, err := c.dialect.next(ctx, c)
		if err != nil {
			return err
		}
		err = c.answer(ctx, f)
		if closeErr := f.raw.Close(); closeErr != nil {
			c.log.Warn("spooled octets could not be removed", "err", closeErr)
		}
		if err != nil {
			return err
		}
	}
}

// finish tells the client why, unless it has gone or knows.
func (c *client) finish(err error) {
	bye, ours := errors.AsType[*byeError](err)
	switch {
	case ours:
		c.log.Info("session ended", "reason", bye.why.String(), "err", err)
		c.sayBye(bye.why)
	case errors.Is(err, errLogout), errors.Is(err, io.EOF):
	default:
		c.log.Debug("session ended", "err", err)
	}
	_ = c.lc.Flush() // the connection ends either way
}

func (c *client) sayBye(b bye) {
	c.srv.counts.byes[b].Add(1)
	if c.midway {
		return // it would be taken for octets of a literal
	}
	_, _ = c.lc.Write(c.dialect.bye(b))
	_ = c.lc.Flush() // the connection ends either way
}

// write gathers octets for the client; flush sends them. An error means that the
// client has gone.
func (c *client) write(p []byte) error {
	_, err := c.lc.Write(p)
	return err
}

func (c *client) flush() error { return c.lc.Flush() }

// readLine reads a line, after sending what was gathered. A *byeError for what the
// client has to be told.
func (c *client) readLine() ([]byte, error) {
	if err := c.flush(); err != nil {
		return nil, err
	}
	if b := c.ahead; b != nil {
		c.ahead = nil
		return *b, nil
	}
	b, err := c.lc.ReadLine()
	return b, c.readError(err)
}

// readError is the one table from errors of reading to the session's end.
func (c *client) readError(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, line.ErrTooLong):
		// It may have announced a literal, whose octets must not be taken for commands.
		return &byeError{byeLine, err}
	case errors.Is(err, line.ErrFlood):
		return &byeError{byeFlood, err}
	case errors.Is(err, line.ErrSlow):
		return &byeError{byeSlow, err}
	case errors.Is(err, line.ErrIdle) && c.user.User == "":
		return &byeError{byeLogin, err}
	case errors.Is(err, line.ErrIdle):
		return &byeError{byeIdle, err}
	case errors.Is(err, line.ErrInterrupted) && !c.srv.clients.Stopping():
		return &byeError{byeLogin, err}
	case errors.Is(err, line.ErrInterrupted):
		return &byeError{byeShutdown, err}
	}
	return err
}

func (c *client) startTLS(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, handshakeTimeout)
	defer cancel()
	discarded, err := c.lc.StartTLS(ctx, c.cfg.TLS)
	if discarded > 0 {
		c.log.Warn("octets sent in the clear after STARTTLS were thrown away", "size", discarded)
	}
	if err != nil {
		return err
	}
	var own []byte
	if certs := c.cfg.TLS.Certificates; len(certs) > 0 {
		own = certs[0].Certificate[0]
	}
	c.peer = c.cfg.Auth.Meet(c.accountable(), c.tls(), own)
	return nil
}

// tls is the state of the client's TLS, nil without it.
func (c *client) tls() *tls.ConnectionState { return c.lc.TLS() }

// accountable is the address that failed log-ins are held against; none if it is that
// of another front end.
func (c *client) accountable() netip.Addr {
	if c.cfg.Only != "" {
		return netip.Addr{}
	}
	return c.remote
}

// mayAuthenticate reports whether the client may send a password now.
func (c *client) mayAuthenticate() bool {
	return c.tls() != nil || c.cfg.PlaintextAuth || c.remote.IsValid() && c.cfg.Trusted(c.remote)
}

// newSession draws the session's id, under which its commands are told apart from
// all others for ever.
func (c *client) newSession() error {
	if _, err := io.ReadFull(c.cfg.Rand, c.session[:]); err != nil {
		return fmt.Errorf("draw session id: %w", err)
	}
	c.log = c.log.With("user", c.user.User, "session", hex.EncodeToString(c.session[:]))
	return nil
}
