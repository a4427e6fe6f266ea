package bench

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// DialFunc opens a connection.
type DialFunc func(ctx context.Context, address string) (net.Conn, error)

// firstWait and lastWait bound the pause before a connection is tried again.
const (
	firstWait = 20 * time.Millisecond
	lastWait  = time.Second
)

func dialTCP(ctx context.Context, address string) (net.Conn, error) {
	var d net.Dialer
	return d.DialContext(ctx, "tcp", address)
}

// pool runs clients until there is nothing left to do.
type pool struct {
	stop    context.Context // over: no new operation is begun
	cut     context.Context // over: connections are closed, and what breaks by that is no failure
	timeout time.Duration   // of one operation
	left    atomic.Int64    // operations that may still begin
	limited bool
	dial    DialFunc

	mu    sync.Mutex
	trial error // the last connection that could not be made
}

// take reports whether one more operation may begin.
func (p *pool) take() bool {
	if p.stop.Err() != nil {
		return false
	}
	return !p.limited || p.left.Add(-1) >= 0
}

// connect opens a connection, trying again until one is made or the run is over.
// It returns nil when the run is over.
func (p *pool) connect(address string, failed func()) net.Conn {
	wait := firstWait
	for p.stop.Err() == nil {
		ctx, cancel := context.WithTimeout(p.stop, p.timeout)
		nc, err := p.dial(ctx, address)
		cancel()
		if err == nil {
			return nc
		}
		if p.stop.Err() != nil {
			break
		}
		failed()
		p.note(err)
		p.pause(wait)
		wait = min(2*wait, lastWait)
	}
	return nil
}

func (p *pool) note(err error) {
	p.mu.Lock()
	p.trial = err
	p.mu.Unlock()
}

func (p *pool) pause(d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-p.stop.Done():
	}
}

// drive runs one client a tally and measures until all have returned. A client
// finishes the operation it is in when the duration is over; when ctx is
// cancelled, its connection is cut.
func drive(ctx context.Context, l limits, m *meter, protocol string, client func(p *pool, n int, t *tally)) (Report, error) {
	stop, cancel := context.WithCancel(ctx)
	defer cancel()
	if l.duration > 0 {
		var cancelTimeout context.CancelFunc
		stop, cancelTimeout = context.WithTimeout(stop, l.duration)
		defer cancelTimeout()
	}
	p := &pool{stop: stop, cut: ctx, timeout: l.timeout, limited: l.operations > 0, dial: cutAtEnd(ctx, l.dial)}
	p.left.Store(l.operations)

	metering, endMetering := context.WithCancel(context.Background())
	metered := make(chan struct{})
	go func() { m.run(metering); close(metered) }()
	var clients sync.WaitGroup
	for n, t := range m.tallies {
		clients.Go(func() { client(p, n, t) })
	}
	clients.Wait()
	endMetering()
	<-metered

	r := m.report(protocol)
	if r.Count() == 0 && p.trial != nil {
		return r, fmt.Errorf("nothing was done: %w", p.trial)
	}
	return r, nil
}

// limits end a run.
type limits struct {
	duration   time.Duration
	operations int64
	timeout    time.Duration
	dial       DialFunc
}

func (l limits) check() (limits, error) {
	if l.duration <= 0 && l.operations <= 0 {
		return l, errors.New("neither a duration nor a number of operations is set")
	}
	if l.timeout <= 0 {
		l.timeout = time.Minute
	}
	if l.dial == nil {
		l.dial = dialTCP
	}
	return l, nil
}

// cutAtEnd closes the connections that dial makes when ctx is cancelled.
func cutAtEnd(ctx context.Context, dial DialFunc) DialFunc {
	return func(dialCtx context.Context, address string) (net.Conn, error) {
		nc, err := dial(dialCtx, address)
		if err != nil {
			return nil, err
		}
		return &cutConn{nc, context.AfterFunc(ctx, func() { nc.Close() })}, nil
	}
}

type cutConn struct {
	net.Conn
	forget func() bool
}

// Close closes the connection and lets the context forget it.
func (c *cutConn) Close() error {
	c.forget()
	return c.Conn.Close()
}
