package lmtpd

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/tandemail/tandemail/internal/accept"
	"github.com/tandemail/tandemail/internal/line"
)

// Config says what a server does. Backend, SpoolDir and Log are required; zero
// elsewhere means the value named.
type Config struct {
	Hostname string // for the greeting; "localhost"
	Backend  Backend
	Log      *slog.Logger
	TLS      *tls.Config // offers STARTTLS; nil: not offered
	// Trusted says whether a peer may use XFORWARD, and have as many connections as
	// there may be; nil: nobody.
	Trusted func(remote netip.Addr) bool

	MaxMessage    int64 // octets; 100,000,000
	MaxRcpts      int   // of a transaction; 1,000
	MaxConns      int   // 512; more are answered 421
	MaxPerAddress int   // of one address that is not trusted; 128; more are answered 421
	MaxErrors     int   // bad commands of a connection; 20
	MaxJunk       int   // NOOP, RSET and the like without a message between them; 100
	MessageMemory int   // octets of a message kept in memory; 1 MiB
	SpoolDir      string
	SpoolFS       vfs.FS // the real file system
	SpoolLimit    int64  // octets in SpoolDir; 4 GiB

	IdleTimeout time.Duration // between commands; 5 minutes
	Drain       time.Duration // Serve waits so long for deliveries under way when it ends; 30 seconds
}

// Line limits: a command has at most 4,096 octets, and message data is read in
// pieces of up to 32 KiB.
const (
	maxCommand       = 4096
	readBuffer       = 32 << 10
	handshakeTimeout = 30 * time.Second
	closeTimeout     = 5 * time.Second
)

func (c Config) withDefaults() Config {
	c.Hostname = cmp.Or(c.Hostname, "localhost")
	c.MaxMessage = cmp.Or(c.MaxMessage, 100_000_000)
	c.MaxRcpts = cmp.Or(c.MaxRcpts, 1000)
	c.MaxConns = cmp.Or(c.MaxConns, 512)
	c.MaxPerAddress = cmp.Or(c.MaxPerAddress, 128)
	c.MaxErrors = cmp.Or(c.MaxErrors, 20)
	c.MaxJunk = cmp.Or(c.MaxJunk, 100)
	c.MessageMemory = cmp.Or(c.MessageMemory, 1<<20)
	c.SpoolLimit = cmp.Or(c.SpoolLimit, 4<<30)
	c.IdleTimeout = cmp.Or(c.IdleTimeout, 5*time.Minute)
	c.Drain = cmp.Or(c.Drain, 30*time.Second)
	if c.SpoolFS == nil {
		c.SpoolFS = vfs.Default
	}
	return c
}

// trusts reports whether a is known, and trusted.
func (c Config) trusts(a netip.Addr) bool { return c.Trusted != nil && a.IsValid() && c.Trusted(a) }

// Server serves LMTP connections.
type Server struct {
	cfg     Config
	log     *slog.Logger
	spool   *spool
	buffers buffers
	conns   *accept.Server[*conn]
}

// New builds a server and empties its spool directory.
func New(cfg Config) (*Server, error) {
	if cfg.Backend == nil || cfg.Log == nil || cfg.SpoolDir == "" {
		return nil, errors.New("lmtp server: Backend, Log and SpoolDir are required")
	}
	cfg = cfg.withDefaults()
	sp, err := openSpool(cfg.SpoolFS, cfg.SpoolDir, cfg.SpoolLimit)
	if err != nil {
		return nil, err
	}
	return &Server{
		cfg: cfg, log: cfg.Log, spool: sp,
		buffers: buffers{max: 2*cfg.MessageMemory + firstBuffer},
		conns: accept.New[*conn](accept.Config{
			What: "LMTP connection", Log: cfg.Log, Max: cfg.MaxConns, PerAddress: cfg.MaxPerAddress,
			Exempt: cfg.trusts, Drain: cfg.Drain,
		}),
	}, nil
}

// Serve accepts connections from ln, which it closes, until ctx is done or
// accepting fails for good. Then idle connections get 421, deliveries under way
// have Config.Drain to end, and it returns when all connections are gone: nil if
// ctx was done. A server serves once; several listeners may be served at a time.
func (s *Server) Serve(ctx context.Context, ln net.Listener) error {
	return s.conns.Serve(ctx, ln, accept.Handler[*conn]{Begin: s.begin, Refuse: s.refusal})
}

func (s *Server) begin(nc net.Conn) *conn {
	return &conn{srv: s, log: s.log.With("remote", nc.RemoteAddr().String()), lc: line.New(nc, line.Config{
		MaxLine: maxCommand, ReadBuffer: readBuffer, IdleTimeout: s.cfg.IdleTimeout, AutoFlush: true,
	})}
}

func (s *Server) refusal(why accept.Refusal) []byte {
	return []byte("421 4.3.2 " + s.cfg.Hostname + " " + why.String() + ", try again later\r\n")
}
