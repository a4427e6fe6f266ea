package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/tandemail/tandemail/internal/agent"
	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/host"
	"github.com/tandemail/tandemail/internal/link"
	"github.com/tandemail/tandemail/internal/remote"
)

// Services of the internal port.
const (
	serviceAgent   = "agent"   // questions between agents, controllers and APIs
	serviceDeliver = "deliver" // deliveries, many at a time
	serviceLarge   = "large"   // one large delivery a stream
	serviceReplica = "replica" // journal streams
)

const (
	// maxLarge bounds a delivery on a stream of its own, in octets.
	maxLarge = 110 << 20
	// largeAtOnce is how many are taken at a time; others wait on their streams.
	largeAtOnce = 4
	// largeTime bounds how long one may take to arrive once it is its turn.
	largeTime = time.Minute
)

func (m *machine) buildLinks(*group) error {
	m.dialer = &link.Dialer{Identity: m.identity, Allowed: m.allowed, Address: m.address, Log: m.log}
	m.pool = link.NewPool(m.dialer)
	m.remote = &agent.Remote{Call: m.callAgent}
	m.calls = map[string]*link.Calls{}
	m.large = make(chan struct{}, largeAtOnce)
	for _, service := range []string{serviceAgent, serviceDeliver} {
		m.calls[service] = link.NewCalls(link.CallsConfig{Dialer: m.dialer, Service: service, Caller: link.CallerConfig{MaxInFlight: 1024}})
	}
	return nil
}

func (m *machine) address(name cluster.Machine) (string, error) {
	rec, ok := m.routes.Machine(name)
	switch {
	case ok && rec.Link != "":
		return rec.Link, nil
	case !m.routes.Listed():
		if at, ok := m.remembered().Machines[name]; ok {
			return at, nil
		}
	}
	return "", fmt.Errorf("machine %s is not known", name)
}

func (m *machine) serveLink(g *group) error {
	raw := map[string]link.Handler{serviceAgent: m.handleAgent}
	mux := map[string]link.Handler{}
	if m.agent != nil {
		raw[serviceDeliver] = m.handleDeliver
		raw[serviceReplica] = m.handleReplica
		raw[serviceLarge] = m.handleLarge
		mux[host.Service] = m.handleSession
		mux[remote.Service] = m.shared.Handle
	}
	srv, err := link.NewServer(link.ServerConfig{Identity: m.identity, Allowed: m.allowed, Log: m.log, Raw: raw, Mux: mux, MaxConns: 4096, Guest: m.guest()})
	if err != nil {
		return err
	}
	m.sources.Link = srv.Stats
	ln, err := listen(g.ctx, "other machines", m.cfg.Listen.Internal)
	if err != nil {
		return err
	}
	g.run("internal port", func(ctx context.Context) error { return srv.Serve(ctx, ln) })
	g.run("membership of peers", func(ctx context.Context) error {
		return eachChange(ctx, m.routes, func() {
			srv.Recheck()
			m.dialer.Recheck()
		})
	})
	return nil
}

func (m *machine) handleAgent(ctx context.Context, s *link.Stream) {
	err := link.Respond(ctx, link.NewFrames(s, link.FramesConfig{}), link.ResponderConfig{Log: m.log}, func(ctx context.Context, req []byte) ([]byte, error) {
		return m.answerAgent(ctx, s.Peer, req), nil
	})
	m.ended(s, err)
}

func (m *machine) handleDeliver(ctx context.Context, s *link.Stream) {
	err := link.Respond(ctx, link.NewFrames(s, link.FramesConfig{}), link.ResponderConfig{Log: m.log, MaxInFlight: 1024}, m.handler.Handle)
	m.ended(s, err)
}

func (m *machine) ended(s *link.Stream, err error) {
	if err != nil && !errors.Is(err, context.Canceled) {
		m.log.Debug("internal stream ended", "service", s.Service, "remote", string(s.Peer.Machine), "err", err)
	}
}

func (m *machine) handleReplica(ctx context.Context, s *link.Stream) {
	m.ended(s, m.agent.HandleReplica(ctx, s.Peer.Machine, s.Meta, s))
}

func (m *machine) dialReplica(ctx context.Context, to cluster.Machine, hello []byte) (net.Conn, error) {
	return m.dialer.Raw(ctx, to, serviceReplica, hello)
}

// handleLarge answers one request that is a frame in itself: its octets until the
// length in the header, then the answer's.
func (m *machine) handleLarge(ctx context.Context, s *link.Stream) {
	select {
	case m.large <- struct{}{}:
		defer func() { <-m.large }()
	case <-ctx.Done():
		return
	}
	f := link.NewFrames(s, link.FramesConfig{MaxFrame: maxLarge})
	defer f.Close()
	_ = f.SetReadDeadline(time.Now().Add(largeTime)) // fails only if the stream is closed
	_, req, err := f.Read()
	if err == nil {
		var resp []byte
		if resp, err = m.handler.Handle(ctx, req); err == nil {
			err = f.Write(ctx, 0, resp)
		}
	}
	if !errors.Is(err, io.EOF) {
		m.ended(s, err)
	}
}

// callLarge sends one request on a connection of its own.
func (m *machine) callLarge(ctx context.Context, to cluster.Machine, parts ...[]byte) ([]byte, error) {
	s, err := m.dialer.Raw(ctx, to, serviceLarge, nil)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", link.ErrNotSent, err)
	}
	f := link.NewFrames(s, link.FramesConfig{MaxFrame: maxLarge})
	defer f.Close()
	stop := context.AfterFunc(ctx, f.Abort)
	defer stop()
	if err := f.Write(ctx, 0, parts...); err != nil {
		return nil, fmt.Errorf("send to machine %s: %w", to, err)
	}
	_, resp, err := f.Read()
	if err != nil {
		return nil, fmt.Errorf("answer of machine %s: %w", to, err)
	}
	return resp, nil
}

func (m *machine) callDeliver(ctx context.Context, to cluster.Machine, parts ...[]byte) ([]byte, error) {
	return m.calls[serviceDeliver].Call(ctx, to, parts...)
}

// callAgent asks the agent of machine to, our own without a network.
func (m *machine) callAgent(ctx context.Context, to cluster.Machine, req []byte) ([]byte, error) {
	if to == m.name {
		return m.answerAgent(ctx, link.Peer{Machine: m.name, Key: m.identity.Key}, req), nil
	}
	return m.calls[serviceAgent].Call(ctx, to, req)
}

// answerAgent answers what concerns the machine here and leaves the rest to the agent.
func (m *machine) answerAgent(ctx context.Context, peer link.Peer, req []byte) []byte {
	if answer, ok := m.answerControl(ctx, peer, req); ok {
		return answer
	}
	if m.agent == nil {
		return []byte(`{"error":"this machine has no storage"}`)
	}
	return m.agent.Handle(ctx, peer.Machine, req)
}
