package etcd

import (
	"cmp"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"go.etcd.io/etcd/server/v3/embed"
	"go.etcd.io/etcd/server/v3/etcdserver/api/membership"
	"go.uber.org/zap"
)

// MemberConfig describes a member of the cluster that runs in this process.
type MemberConfig struct {
	Name string // of the machine
	Dir  string // on the fast disk; created with mode 0700
	// ClientURL and PeerURL are where it listens and what it tells others, e.g.
	// "https://10.0.0.1:2379".
	ClientURL, PeerURL string
	// InitialCluster maps the names of all first members to their peer URLs, alike
	// on every machine; nil means that this is the only one. Ignored once Dir has
	// data.
	InitialCluster map[string]string
	// Endpoints are client URLs of the cluster's members, this one's too or not. A
	// member without data that learns of no cluster from InitialCluster asks them
	// for admission.
	Endpoints []string
	// Token tells clusters apart that start on the same network.
	Token string
	// Join: the cluster exists. Without data this member waits until it is admitted
	// and founds nothing, whoever is silent. True is right for a machine that was
	// added later, and for one that knows by other means that it has met the cluster.
	Join bool
	// Odd: a new member stays a learner, without a vote, while its vote would make
	// the number of votes even: two members need each other, so that one more would
	// only be one more to lose. Two learners get theirs together.
	Odd bool
	// TLS is this machine's identity, for both ports and as a client of the others.
	// Who has none of the same CA's is refused.
	TLS Files
	// Refuse, if set, says why the owner of a certificate may not talk to this member's
	// client port any more. It is asked at each call, and answers from memory.
	Refuse func(*x509.Certificate) error
	// Quick halves ticks and election timeout, for quiet disks and trials: a lost
	// leader costs 0.5-1 s instead of 1.3-1.7 s.
	Quick bool
	// Quota bounds the database, in octets; 0 is 1 GiB.
	Quota int64
	// Tend is how often the database is looked at; 0 is every 30 s.
	Tend time.Duration
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
	// defragThreshold in MB: what a start gives back to the file system if it is
	// at least that much.
	defragThreshold = 64
	// slowRequest is worth a warning; an election or a start-up takes less.
	slowRequest = 2 * time.Second
	// maxLearners is how many members may be on their way into the cluster. It must
	// be the same everywhere. etcd's own limit of 1 would let one machine that never
	// came back keep out the next.
	maxLearners = 4
)

// Member is one member of the cluster.
type Member struct {
	own   MemberConfig
	cfg   *embed.Config
	log   *slog.Logger
	fatal chan string
	ready chan struct{}
	// clients are the servers of the client port, to be stopped before the rest.
	clients servers
	// stopping: what etcd says of its own end is nobody's concern.
	stopping atomic.Bool
	// near is what the log says of peers and clients.
	near neighbours
	// removed: the others said that this member is none of them any more.
	removed atomic.Bool
	space   atomic.Pointer[Space]
}

// NewMember checks cfg and starts nothing.
func NewMember(cfg MemberConfig) (*Member, error) {
	m := &Member{own: cfg, log: cfg.Log, fatal: make(chan string, 1), ready: make(chan struct{})}
	if m.log == nil {
		m.log = slog.New(slog.DiscardHandler)
	}
	m.near.log = m.log
	e := embed.NewConfig()
	client, err := parseURL(cfg.ClientURL)
	if err != nil {
		return nil, fmt.Errorf("etcd member %s: client URL: %w", cfg.Name, err)
	}
	peer, err := parseURL(cfg.PeerURL)
	if err != nil {
		return nil, fmt.Errorf("etcd member %s: peer URL: %w", cfg.Name, err)
	}
	e.Name, e.Dir, e.InitialClusterToken = cfg.Name, cfg.Dir, cfg.Token
	e.ListenClientUrls, e.AdvertiseClientUrls = client, client
	e.ListenPeerUrls, e.AdvertisePeerUrls = peer, peer
	if listed, ok := cfg.InitialCluster[cfg.Name]; ok && listed != cfg.PeerURL {
		return nil, fmt.Errorf("etcd member %s: peer URL %s, but %s among the first members", cfg.Name, cfg.PeerURL, listed)
	}
	e.InitialCluster = initialCluster(cfg)
	if cfg.Quick {
		e.TickMs, e.ElectionMs = 50, 500
	}
	e.SnapshotCount, e.SnapshotCatchUpEntries = snapshotCount, catchUpEntries
	e.QuotaBackendBytes = cmp.Or(cfg.Quota, backendQuota)
	e.AutoCompactionMode, e.AutoCompactionRetention = embed.CompactorModePeriodic, compactRetention
	e.BootstrapDefragThresholdMegabytes, e.MaxLearners = defragThreshold, maxLearners
	e.WarningApplyDuration, e.WarningUnaryRequestDuration = slowRequest, slowRequest
	e.EnableGRPCGateway, e.ServiceRegister = false, m.clients.add
	e.GRPCAdditionalServerOptions = guard{cfg.Refuse, &m.stopping}.options()
	e.UnsafeNoFsync = cfg.Unsafe
	e.ClientTLSInfo, e.PeerTLSInfo, e.TlsMinVersion = cfg.TLS.member(), cfg.TLS.member(), "TLS1.3"
	e.PeerTLSInfo.CRLFile = cfg.TLS.Revoked
	e.ZapLoggerBuilder = embed.NewZapLoggerBuilder(m.logger())
	if err := e.Validate(); err != nil {
		return nil, fmt.Errorf("etcd member %s: %w", cfg.Name, err)
	}
	m.cfg = e
	return m, nil
}

// removedMessage is all that etcd tells of the reason for which it stops by itself
// in good order.
const removedMessage = "data-dir used by this member must be removed"

func (m *Member) logger() *zap.Logger {
	level := func(e entry) slog.Level {
		if e.message == removedMessage {
			m.removed.Store(true)
		}
		if m.stopping.Load() || e.ordinary() {
			return slog.LevelDebug
		}
		if level, ok := m.near.level(e, time.Now()); ok {
			return level
		}
		return slog.LevelWarn
	}
	return zapLogger(m.log, level, func(message string) {
		select {
		case m.fatal <- message:
		default:
		}
	})
}

func parseURL(s string) ([]url.URL, error) {
	u, err := url.Parse(s)
	switch {
	case err != nil:
		return nil, err
	case u.Scheme != "https", u.Port() == "":
		return nil, fmt.Errorf("%q: want https, host and port", s)
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

// ClientURL is what Connect's endpoints take.
func (m *Member) ClientURL() string { return m.own.ClientURL }

// Ready is closed when the member has joined a quorum, has a vote and serves.
func (m *Member) Ready() <-chan struct{} { return m.ready }

// Run starts the member, and stops it when ctx ends, after it has handed its
// leadership on. It returns nil then, or why the member could not start or go on.
// A member whose directory is empty waits until it is safe to start. A member runs
// once.
func (m *Member) Run(ctx context.Context) error {
	if err := os.MkdirAll(m.cfg.Dir, 0o700); err != nil {
		return fmt.Errorf("etcd member %s: %w", m.cfg.Name, err)
	}
	e, err := m.enter(ctx)
	if ctx.Err() != nil && e == nil {
		return nil
	}
	if err != nil {
		return fmt.Errorf("start etcd member %s in %s: %w", m.cfg.Name, m.cfg.Dir, err)
	}
	return errors.Join(m.serve(ctx, e), m.stop(e))
}

// enter starts a member with data as what it is, and one without as what it may be.
func (m *Member) enter(ctx context.Context) (*embed.Etcd, error) {
	if m.hasData() {
		return m.launch()
	}
	if err := m.setAside(); err != nil {
		return nil, err
	}
	if err := m.admit(ctx); err != nil {
		return nil, err
	}
	for attempt := 1; ; attempt++ {
		e, err := m.launch()
		// The peer that etcd asks for the list of members may not have heard yet of
		// this one. Nothing was started then.
		if err == nil || m.hasData() || attempt == launchAttempts || m.cfg.IsNewCluster() {
			return e, err
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(waitInterval):
		}
	}
}

// launchAttempts bounds how often a joining member starts.
const launchAttempts = 10

// launch starts etcd on a goroutine that it may end.
func (m *Member) launch() (*embed.Etcd, error) {
	type result struct {
		e   *embed.Etcd
		err error
	}
	done := make(chan result, 1)
	go func() {
		defer close(done)
		e, err := embed.StartEtcd(m.cfg)
		done <- result{e, err}
	}()
	r, ok := <-done
	if !ok {
		return nil, errors.New(<-m.fatal)
	}
	return r.e, r.err
}

func (m *Member) serve(ctx context.Context, e *embed.Etcd) error {
	ctx, cancel := context.WithCancel(ctx)
	var beside sync.WaitGroup
	beside.Go(func() { m.becomeVoter(ctx, e) })
	beside.Go(func() { m.tend(ctx, e) })
	defer func() {
		cancel()
		beside.Wait()
	}()
	for {
		select {
		case <-ctx.Done():
			return nil
		case err := <-e.Err():
			return m.ended(err)
		case message := <-m.fatal:
			return fmt.Errorf("etcd member %s failed: %s", m.cfg.Name, message)
		case <-e.Server.StopNotify():
			return m.ended(errors.New("stopped by itself"))
		}
	}
}

// becomeVoter waits until the member has its place, and closes ready when it has
// a vote: a learner asks for one until it is in sync and gets it, also after a
// restart in between.
func (m *Member) becomeVoter(ctx context.Context, e *embed.Etcd) {
	select {
	case <-ctx.Done():
		return
	case <-e.Server.ReadyNotify():
	}
	id := e.Server.MemberID()
	for {
		if self := e.Server.Cluster().Member(id); self != nil && !self.IsLearner {
			close(m.ready)
			return
		}
		if !m.own.Odd || called(e.Server.Cluster().Members()) {
			m.askForVote(ctx, e)
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(promoteInterval):
		}
	}
}

func (m *Member) askForVote(ctx context.Context, e *embed.Etcd) {
	ctx, cancel := context.WithTimeout(ctx, joinTimeout)
	defer cancel()
	id := e.Server.MemberID()
	_, err := e.Server.PromoteMember(ctx, uint64(id))
	m.log.Debug("coordinator member asked for its vote", "member", id.String(), "err", err)
}

// called reports whether a learner among these should have a vote: see
// MemberConfig.Odd. One that has not started yet has no name, and does not count.
func called(members []*membership.Member) bool {
	voters, learners := 0, 0
	for _, o := range members {
		switch {
		case !o.IsLearner:
			voters++
		case o.Name != "":
			learners++
		}
	}
	return voters%2 == 0 || learners > 1
}

// promoteInterval is between two requests for a vote.
const promoteInterval = 100 * time.Millisecond

func (m *Member) ended(err error) error {
	if m.removed.Load() {
		err = errors.New("it was removed from the cluster; empty its directory to have it join as a new one")
	}
	return fmt.Errorf("etcd member %s: %w", m.cfg.Name, err)
}
