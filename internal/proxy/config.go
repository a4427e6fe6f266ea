package proxy

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"time"

	"github.com/tandemail/tandemail/internal/accept"
	"github.com/tandemail/tandemail/internal/auth"
	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/mail"
	"github.com/tandemail/tandemail/internal/route"
	"github.com/tandemail/tandemail/internal/session"
	"github.com/tandemail/tandemail/internal/spool"
)

// Routes says who is master; *route.Table is one.
type Routes interface {
	Lookup(s cluster.Store) (route.Route, bool)
	Learn(r route.Route)
	// Await returns when the route differs from tried, or after pause.
	Await(ctx context.Context, tried route.Route, pause time.Duration) (route.Route, error)
}

// Backend is a stream of frames to a master; *link.Frames is one.
type Backend interface {
	session.FrameReader
	session.FrameWriter
	SetReadDeadline(t time.Time) error
	// Close sends what is queued first, Abort does not. Any goroutine may call them.
	Close() error
	Abort()
}

// Dial opens a stream to the service "session" of the machine that the route leads
// to, within ctx. The stream's first frame is the proxy's.
type Dial func(ctx context.Context, r route.Route) (Backend, error)

// Config says what a Server does. Auth, Routes, Dial, Spool and Log are required;
// zero elsewhere means the value named.
type Config struct {
	Auth   *auth.Authenticator
	Routes Routes
	Dial   Dial
	Spool  *spool.Dir // for literals above 256 KiB and answers above 1 MiB
	Log    *slog.Logger

	// Only, if set, is the one machine whose users are served: those of stores of which
	// it is master. A session ends when it is that no more. Who connects is another
	// front end, so that failed log-ins are not held against its address.
	Only cluster.Machine

	// TLS of clients; nil: no STARTTLS, and no listener with implicit TLS. Its first
	// certificate is what they can bind an exchange to.
	TLS *tls.Config
	// PlaintextAuth allows passwords without TLS from every address.
	PlaintextAuth bool
	// Trusted addresses may send passwords without TLS and have no limit of
	// connections; nil: the loopback addresses.
	Trusted func(netip.Addr) bool
	Rand    io.Reader // for session ids; crypto/rand

	MaxConns      int   // at a time; 20,000
	MaxPerAddress int   // of one address (IPv6: /64); 100
	MaxPerUser    int   // logged-in sessions of one user; 100
	MaxFailures   int   // failed log-ins of a connection; 5
	MaxErrors     int   // commands in a row that cannot be understood; 20
	MaxMessage    int64 // octets; mail.MaxMessageSize

	LoginTimeout time.Duration // between commands before log-in; 1 minute
	LoginTotal   time.Duration // from the connection to the log-in; 5 minutes
	FailureDelay time.Duration // before a failed log-in is answered; 1 second
	IdleTimeout  time.Duration // between commands after log-in, and of IDLE; 30 minutes
	Hold         time.Duration // longest wait for a master; 20 seconds
	Alive        time.Duration // between signs of life while a command takes long; 10 seconds
	IdleAlive    time.Duration // the same during IDLE; 2 minutes
	Drain        time.Duration // for commands under way when Serve ends; 10 seconds
}

const (
	handshakeTimeout = 30 * time.Second
	commandTimeout   = time.Minute // between the lines of one command
	readBuffer       = 2 << 10
	writeBuffer      = 8 << 10
	maxLine          = 66 << 10 // with its end; the dialect's limits are below it
)

func (c Config) withDefaults() (Config, error) {
	if c.Auth == nil || c.Routes == nil || c.Dial == nil || c.Spool == nil || c.Log == nil {
		return c, errors.New("proxy: Auth, Routes, Dial, Spool and Log are required")
	}
	c.MaxConns = cmp.Or(c.MaxConns, 20_000)
	c.MaxPerAddress = cmp.Or(c.MaxPerAddress, 100)
	c.MaxPerUser = cmp.Or(c.MaxPerUser, 100)
	c.MaxFailures = cmp.Or(c.MaxFailures, 5)
	c.MaxErrors = cmp.Or(c.MaxErrors, 20)
	c.MaxMessage = cmp.Or(c.MaxMessage, mail.MaxMessageSize)
	c.LoginTimeout = cmp.Or(c.LoginTimeout, time.Minute)
	c.LoginTotal = cmp.Or(c.LoginTotal, 5*time.Minute)
	c.FailureDelay = cmp.Or(c.FailureDelay, time.Second)
	c.IdleTimeout = cmp.Or(c.IdleTimeout, 30*time.Minute)
	c.Hold = cmp.Or(c.Hold, 20*time.Second)
	c.Alive = cmp.Or(c.Alive, 10*time.Second)
	c.IdleAlive = cmp.Or(c.IdleAlive, 2*time.Minute)
	c.Drain = cmp.Or(c.Drain, 10*time.Second)
	if c.Rand == nil {
		c.Rand = rand.Reader
	}
	if c.Trusted == nil {
		c.Trusted = accept.Loopback
	}
	return c, nil
}

// Listener is where clients come in.
type Listener struct {
	net.Listener
	Protocol session.Protocol
	TLS      bool // implicit TLS (RFC 8314)
}
