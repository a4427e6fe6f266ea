package etcd

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"go.etcd.io/etcd/client/pkg/v3/transport"
	"go.etcd.io/etcd/server/v3/embed"
	"go.uber.org/zap"
)

// Files are the PEM files of one mutual-TLS identity; etcd reads them again for
// every connection, so that they can be renewed under it.
type Files struct {
	Cert, Key, CA string
	// ServerName is what a peer's certificate must name, instead of the host it
	// was reached at; "" means the host.
	ServerName string
}

// MemberConfig describes a member of the cluster that runs in this process.
type MemberConfig struct {
	Name string // of the machine
	Dir  string // on the fast disk; created with mode 0700
	// ClientURL and PeerURL are where it listens and what it tells others, e.g.
	// "https://10.0.0.1:2379". https needs TLS.
	ClientURL, PeerURL string
	// InitialCluster maps the names of all first members to their peer URLs; nil
	// means that this is the only one. Ignored once Dir has data.
	InitialCluster map[string]string
	// Token tells clusters apart that start on the same network.
	Token string
	// Join: the cluster exists, and this member was added to it.
	Join bool
	TLS  *Files
	// Quick halves ticks and election timeout, for quiet disks and trials: a lost
	// leader costs 0.5-1 s instead of 1.3-1.7 s.
	Quick bool
	// Unsafe skips every sync: for tests only.
	Unsafe bool
	Log    *slog.Logger
}

// Sizes for a store of small facts: a snapshot keeps a restart short and the log
// small, the quota is far above what a million users need.
const (
	snapshotCount    = 10_000
	catchUpEntries   = 5_000
	backendQuota     = 1 << 30
	compactRetention = "10m"
	closeTimeout     = 10 * time.Second
)

// Member is one member of the cluster.
type Member struct {
	cfg   *embed.Config
	url   string
	fatal chan string
	ready chan struct{}
	// stopping: what etcd says of its own end is nobody's concern.
	stopping atomic.Bool
}

// NewMember checks cfg and starts nothing.
func NewMember(cfg MemberConfig) (*Member, error) {
	m := &Member{url: cfg.ClientURL, fatal: make(chan string, 1), ready: make(chan struct{})}
	e := embed.NewConfig()
	client, err := parseURL(cfg.ClientURL, cfg.TLS)
	if err != nil {
		return nil, fmt.Errorf("etcd member %s: client URL: %w", cfg.Name, err)
	}
	peer, err := parseURL(cfg.PeerURL, cfg.TLS)
	if err != nil {
		return nil, fmt.Errorf("etcd member %s: peer URL: %w", cfg.Name, err)
	}
	e.Name, e.Dir, e.InitialClusterToken = cfg.Name, cfg.Dir, cfg.Token
	e.ListenClientUrls, e.AdvertiseClientUrls = client, client
	e.ListenPeerUrls, e.AdvertisePeerUrls = peer, peer
	e.InitialCluster = initialCluster(cfg)
	if cfg.Join {
		e.ClusterState = embed.ClusterStateFlagExisting
	}
	if cfg.Quick {
		e.TickMs, e.ElectionMs = 50, 500
	}
	e.SnapshotCount, e.SnapshotCatchUpEntries = snapshotCount, catchUpEntries
	e.QuotaBackendBytes = backendQuota
	e.AutoCompactionMode, e.AutoCompactionRetention = embed.CompactorModePeriodic, compactRetention
	e.EnableGRPCGateway = false
	e.UnsafeNoFsync = cfg.Unsafe
	if cfg.TLS != nil {
		e.ClientTLSInfo, e.PeerTLSInfo = cfg.TLS.info(), cfg.TLS.info()
	}
	log := cfg.Log
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	e.ZapLoggerBuilder = embed.NewZapLoggerBuilder(m.logger(log.With("machine", cfg.Name)))
	if err := e.Validate(); err != nil {
		return nil, fmt.Errorf("etcd member %s: %w", cfg.Name, err)
	}
	m.cfg = e
	return m, nil
}

func (m *Member) logger(log *slog.Logger) *zap.Logger {
	level := func(message string) slog.Level {
		if expected[message] || m.stopping.Load() {
			return slog.LevelDebug
		}
		return slog.LevelWarn
	}
	return zapLogger(log, level, func(message string) {
		select {
		case m.fatal <- message:
		default:
		}
	})
}

func parseURL(s string, files *Files) ([]url.URL, error) {
	u, err := url.Parse(s)
	switch {
	case err != nil:
		return nil, err
	case u.Scheme == "https" && files == nil:
		return nil, fmt.Errorf("%s needs TLS files", s)
	case u.Scheme == "http" && files != nil:
		return nil, fmt.Errorf("%s is plain though there are TLS files", s)
	case u.Scheme != "http" && u.Scheme != "https", u.Port() == "":
		return nil, fmt.Errorf("%q: want http or https, host and port", s)
	}
	return []url.URL{*u}, nil
}

func initialCluster(cfg MemberConfig) string {
	members := []string{cfg.Name + "=" + cfg.PeerURL}
	for name, peer := range cfg.InitialCluster {
		if name != cfg.Name {
			members = append(members, name+"="+peer)
		}
	}
	slices.Sort(members)
	return strings.Join(members, ",")
}

// info is for a private CA, whose certificates name machines: that a peer has
// one is its identity, whatever address it comes from.
func (f Files) info() transport.TLSInfo {
	return transport.TLSInfo{
		CertFile: f.Cert, KeyFile: f.Key, TrustedCAFile: f.CA,
		ClientCertAuth: true, ServerName: f.ServerName, SkipClientSANVerify: true,
	}
}

// ClientURL is what Connect's endpoints take.
func (m *Member) ClientURL() string { return m.url }

// Ready is closed when the member has joined a quorum and serves.
func (m *Member) Ready() <-chan struct{} { return m.ready }

// Run starts the member, and stops it when ctx ends, after it has handed its
// leadership on. It returns nil then, or why the member could not start or go on.
// A member runs once.
func (m *Member) Run(ctx context.Context) error {
	if err := os.MkdirAll(filepath.Dir(m.cfg.Dir), 0o700); err != nil {
		return fmt.Errorf("etcd member %s: %w", m.cfg.Name, err)
	}
	e, err := embed.StartEtcd(m.cfg)
	if err != nil {
		return fmt.Errorf("start etcd member %s in %s: %w", m.cfg.Name, m.cfg.Dir, err)
	}
	err = m.serve(ctx, e)
	m.stopping.Store(true)
	closed := make(chan struct{})
	go func() {
		defer close(closed)
		e.Close()
	}()
	select {
	case <-closed:
	case <-time.After(closeTimeout):
		// What etcd called fatal ended one of its goroutines, and others wait for it.
		err = errors.Join(err, fmt.Errorf("etcd member %s did not stop in %v", m.cfg.Name, closeTimeout))
	}
	return err
}

func (m *Member) serve(ctx context.Context, e *embed.Etcd) error {
	ready := e.Server.ReadyNotify()
	for {
		select {
		case <-ready:
			close(m.ready)
			ready = nil
		case <-ctx.Done():
			return nil
		case err := <-e.Err():
			return fmt.Errorf("etcd member %s: %w", m.cfg.Name, err)
		case message := <-m.fatal:
			return fmt.Errorf("etcd member %s failed: %s", m.cfg.Name, message)
		case <-e.Server.StopNotify():
			return fmt.Errorf("etcd member %s stopped by itself", m.cfg.Name)
		}
	}
}
