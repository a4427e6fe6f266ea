// Package app wires the roles of one machine: it is the only place that knows how
// the parts fit together. It holds no logic of its own beyond that, and the
// answers to the API, which are questions to those parts.
package app

import (
	"context"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"runtime"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/tandemail/tandemail/internal/agent"
	"github.com/tandemail/tandemail/internal/auth"
	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/config"
	"github.com/tandemail/tandemail/internal/controller"
	"github.com/tandemail/tandemail/internal/coord"
	"github.com/tandemail/tandemail/internal/coord/etcd"
	"github.com/tandemail/tandemail/internal/deliver"
	"github.com/tandemail/tandemail/internal/directory"
	"github.com/tandemail/tandemail/internal/host"
	"github.com/tandemail/tandemail/internal/index"
	"github.com/tandemail/tandemail/internal/link"
	"github.com/tandemail/tandemail/internal/metrics"
	"github.com/tandemail/tandemail/internal/pack"
	"github.com/tandemail/tandemail/internal/pki"
	"github.com/tandemail/tandemail/internal/proxy"
	"github.com/tandemail/tandemail/internal/remote"
	"github.com/tandemail/tandemail/internal/route"
)

// Sizes of what all slots of a machine share.
const (
	blockCache = 256 << 20 // octets
	openTables = 4000
)

// machine is everything that runs here.
type machine struct {
	cfg      *config.Config
	name     cluster.Machine
	log      *slog.Logger
	identity *pki.Identity
	coord    coord.Coord
	etcd     *etcd.Client // behind coord; closed at the end
	seen     notes        // of followMembers: what is in the file
	struck   struck
	member   *member         // of the coordinator; nil without one
	voting   <-chan struct{} // closed when this machine's member has a vote; nil without one
	stepping chan struct{}   // a place for who is at a step of a change of the CA
	routes   *route.Table
	users    *directory.Directory
	auth     *auth.Authenticator
	hasher   *auth.Hasher
	// clientCAs certify users; nil: nobody does.
	clientCAs *x509.CertPool
	dialer    *link.Dialer
	calls     map[string]*link.Calls
	pool      *link.Pool
	large     chan struct{} // places for large deliveries
	remote    *agent.Remote
	agent     *agent.Agent     // nil without role storage
	host      *host.Host       // nil without role storage
	shared    *remote.Server   // accounts here for sessions elsewhere; nil without role storage
	accounts  *remote.Accounts // those elsewhere for sessions here; nil without role storage
	handler   *deliver.Handler
	control   *controller.Controller // nil without role control
	sources   metrics.Sources        // what has been built so far
}

// Serve runs the machine until ctx ends.
func Serve(ctx context.Context, cfg *config.Config, log *slog.Logger) error {
	m := &machine{cfg: cfg, name: cluster.Machine(cfg.Machine), log: log.With("machine", cfg.Machine), struck: struck{keys: map[string]bool{}}, stepping: make(chan struct{}, 1)}
	m.sources.Cluster, m.sources.Machine = cfg.Cluster, m.name
	m.sources.Clients = map[string]func() proxy.Stats{}
	g := newGroup(ctx)
	if err := m.build(g); err != nil {
		g.cancel(err)
	}
	close(g.started)
	return errors.Join(g.wait(), m.close())
}

// build makes the parts in the order in which they need each other. They run when
// all are made.
func (m *machine) build(g *group) error {
	for _, step := range []func(*group) error{
		m.openIdentity, m.startMember, m.connect, m.buildLinks, m.buildControl, m.buildAgent, m.buildAccounts, m.buildHost, m.buildDirectory,
		m.serveLink, m.register, m.serveFront, m.serveLocal, m.serveHTTP,
	} {
		if err := step(g); err != nil {
			return err
		}
	}
	return nil
}

func (m *machine) openIdentity(*group) error {
	id, err := pki.Load(m.cfg.PKI.Dir)
	if err != nil {
		return fmt.Errorf("load this machine's identity: %w", err)
	}
	if id.Machine != m.name {
		return fmt.Errorf("the certificate in %s is for machine %s, not %s", m.cfg.PKI.Dir, id.Machine, m.name)
	}
	m.identity, m.sources.RenewBy = id, id.RenewBy
	return nil
}

func (m *machine) connect(g *group) error {
	c, err := etcd.Connect(etcd.Config{Endpoints: m.endpoints(), TLS: m.coordinatorTLS(), Log: m.log})
	if err != nil {
		return err
	}
	timed := metrics.NewCoord(c, time.Now)
	m.etcd, m.coord, m.routes = c, timed, route.New()
	m.sources.Coord, m.sources.Routes = timed, m.routes.Stores
	g.run("coordinator's members", m.followMembers)
	g.run("routes", func(ctx context.Context) error { return m.routes.Run(ctx, m.coord) })
	return nil
}

func (m *machine) buildDirectory(g *group) error {
	m.hasher = auth.NewHasher(auth.DefaultParams, rand.Reader, 0)
	m.users = directory.New(directory.Config{Coord: m.coord, Log: m.log, Doubt: m.doubts})
	cfg := auth.Config{Users: m.users, Hasher: m.hasher}
	if err := m.strangers(&cfg); err != nil {
		return err
	}
	a, err := auth.New(cfg)
	if err != nil {
		return fmt.Errorf("prepare authentication: %w", err)
	}
	m.auth = a
	m.sources.Directory = m.users.Stats
	g.run("directory", m.users.Run)
	g.run("SCRAM", m.followSCRAM)
	return nil
}

func (m *machine) buildAgent(g *group) error {
	if !m.cfg.Has(config.RoleStorage) {
		return nil
	}
	meta, spool, err := m.openDisks(g)
	if err != nil {
		return err
	}
	decoder, err := pack.NewDecoder(runtime.GOMAXPROCS(0))
	if err != nil {
		return fmt.Errorf("prepare reading of packs: %w", err)
	}
	m.agent = agent.New(agent.Config{
		Cluster: m.cfg.Cluster, Machine: m.name, Meta: m.cfg.Meta, Spool: m.cfg.Spool,
		FS: vfs.Default, Disk: meta, SpoolDisk: spool, Shared: index.NewShared(blockCache, openTables), Decoder: decoder, Coord: m.coord, Remote: m.remote,
		Dial: m.dialReplica, Clock: bootTime, Now: time.Now, Rand: rand.Reader, Log: m.log, Suspects: m.suspects,
		RefuseDegraded: m.cfg.Degrade == "refuse", Redeliver: m.redeliver, Owner: m.owner,
	})
	m.handler = &deliver.Handler{Slot: m.agent.Slot, Log: m.log}
	m.sources.Slots, m.sources.Tails = m.agent.Stats, m.agent.Tails
	g.run("agent", m.agent.Run)
	g.run("doubt", m.keepDoubting)
	return nil
}

// register says to the cluster that this machine exists and is alive.
func (m *machine) register(g *group) error {
	g.run("membership", m.keepRegistered)
	g.run("certificate", m.keepCertified)
	g.run("exports", m.keepExports)
	return nil
}

func (m *machine) close() error {
	var errs []error
	for _, c := range m.calls {
		errs = append(errs, c.Close())
	}
	if m.accounts != nil {
		errs = append(errs, m.accounts.Close())
		m.shared.Wait()
	}
	if m.pool != nil {
		errs = append(errs, m.pool.Close())
	}
	if m.etcd != nil {
		errs = append(errs, m.etcd.Close())
	}
	return errors.Join(errs...)
}

// listen opens a listener for a service of the configuration.
func listen(ctx context.Context, name, addr string) (net.Listener, error) {
	var lc net.ListenConfig
	ln, err := lc.Listen(ctx, "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("listen for %s: %w", name, err)
	}
	return ln, nil
}

// group runs the parts; the first that fails ends all.
type group struct {
	ctx     context.Context
	cancel  context.CancelCauseFunc
	started chan struct{} // closed when all parts are made
	wg      sync.WaitGroup
}

func newGroup(ctx context.Context) *group {
	ctx, cancel := context.WithCancelCause(ctx)
	return &group{ctx: ctx, cancel: cancel, started: make(chan struct{})}
}

// run runs a part once all are made. Its end before everything's end is a failure.
func (g *group) run(name string, f func(context.Context) error) {
	g.wg.Add(1)
	go func() {
		defer g.wg.Done()
		<-g.started
		err := f(g.ctx)
		if g.ctx.Err() == nil {
			g.cancel(fmt.Errorf("%s ended: %w", name, err))
		}
	}()
}

func (g *group) wait() error {
	<-g.ctx.Done()
	g.wg.Wait()
	return context.Cause(g.ctx)
}
