package link

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"os"
	"sync"
	"time"

	"github.com/tandemail/tandemail/internal/cluster"
)

// ErrNotSent: the request did not reach the peer and never will. It is safe to
// send it elsewhere.
var ErrNotSent = errors.New("request not sent")

// RemoteError is what the peer's handler returned as error. What has happened then
// is between the two ends of the service; an outcome that matters belongs in the
// response.
type RemoteError struct{ Text string }

// Error implements error.
func (e *RemoteError) Error() string { return "peer: " + e.Text }

// Frame types of the call protocol.
const (
	frameRequest   = 1 // id, timeout in ms (0: none), request
	frameResponse  = 2 // id, response
	frameFailure   = 3 // id, kind, text
	frameHeartbeat = 4 // empty, from the responder
)

// Kinds of failure.
const (
	failureError   = 1 // the handler returned an error
	failureUnknown = 2 // the handler failed in a way that leaves the outcome open
)

const (
	requestHeader  = 12
	responseHeader = 8
)

// CallerConfig bounds a Caller. The zero value is useful.
type CallerConfig struct {
	MaxInFlight int           // calls waiting for an answer; more wait for a place; 256
	Silence     time.Duration // without a frame, not even a heartbeat: the peer is dead; 6 seconds
}

// Caller sends requests on one stream of frames, many at a time. The other end
// runs Respond.
type Caller struct {
	f       *Frames
	places  chan struct{}
	silence time.Duration

	mu      sync.Mutex
	lastID  uint64
	waiting map[uint64]call
	err     error // why there are no more answers
	done    chan struct{}
}

// call is one request under way; its channel has room for the answer.
type call chan answer

type answer struct {
	response []byte
	err      error
	lost     error // there will be no answer: why the stream ended
}

// NewCaller takes over f. Somebody must run Run.
func NewCaller(f *Frames, cfg CallerConfig) *Caller {
	cfg.MaxInFlight = cmp.Or(cfg.MaxInFlight, 256)
	cfg.Silence = cmp.Or(cfg.Silence, 3*heartbeat)
	return &Caller{
		f: f, places: make(chan struct{}, cfg.MaxInFlight), silence: cfg.Silence,
		waiting: map[uint64]call{}, done: make(chan struct{}),
	}
}

// Done is closed when the caller can send no more calls.
func (c *Caller) Done() <-chan struct{} { return c.done }

// ended reports whether the stream has failed; it then waits for Run's end, which
// is at hand.
func (c *Caller) ended() bool {
	if c.f.out.failed() == nil {
		return false
	}
	<-c.done
	return true
}

// Close ends the stream; calls under way fail as those of a lost connection.
func (c *Caller) Close() error {
	c.f.Abort()
	return nil
}

// Run receives answers until the stream ends or ctx is done; then all calls under
// way have failed. It returns why.
func (c *Caller) Run(ctx context.Context) error {
	stop := context.AfterFunc(ctx, c.f.Abort)
	defer stop()
	err := c.receive()
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	c.f.Abort()
	c.endAll(err)
	return err
}

func (c *Caller) receive() error {
	for {
		if err := c.f.SetReadDeadline(time.Now().Add(c.silence)); err != nil {
			return err
		}
		kind, p, err := c.f.Read()
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return fmt.Errorf("nothing from the peer for %v: %w", c.silence, err)
		}
		if err != nil {
			return err
		}
		if kind == frameHeartbeat {
			continue
		}
		if len(p) < responseHeader {
			return fmt.Errorf("answer of %d octets: %w", len(p), ErrProtocol)
		}
		id, rest := binary.BigEndian.Uint64(p), p[responseHeader:]
		var a answer
		switch kind {
		case frameResponse:
			a.response = append([]byte{}, rest...)
		case frameFailure:
			if a.err, err = failure(rest); err != nil {
				return err
			}
		default:
			return fmt.Errorf("answer of type %d: %w", kind, ErrProtocol)
		}
		if k := c.take(id); k != nil { // else the call has given up
			k <- a
		}
	}
}

func failure(p []byte) (failure, err error) {
	switch {
	case len(p) == 0:
	case p[0] == failureError:
		return &RemoteError{Text: string(p[1:])}, nil
	case p[0] == failureUnknown:
		return fmt.Errorf("peer: %s: %w", p[1:], cluster.ErrUnknown), nil
	}
	return nil, fmt.Errorf("failure of unknown kind: %w", ErrProtocol)
}

func (c *Caller) take(id uint64) call {
	c.mu.Lock()
	defer c.mu.Unlock()
	k := c.waiting[id]
	delete(c.waiting, id)
	return k
}

// endAll fails the calls under way.
func (c *Caller) endAll(err error) {
	c.mu.Lock()
	c.err = err
	left := c.waiting
	c.waiting = nil
	c.mu.Unlock()
	for _, k := range left {
		k <- answer{lost: err}
	}
	close(c.done)
}

// outcome is what Call returns for an answer to the request that begins at offset
// at of the octets written.
func (c *Caller) outcome(a answer, at int64) ([]byte, error) {
	switch {
	case a.lost == nil:
		return a.response, a.err
	case c.f.out.handed(at):
		return nil, fmt.Errorf("connection ended before the answer: %w: %w", a.lost, cluster.ErrUnknown)
	}
	return nil, fmt.Errorf("%w: %w", ErrNotSent, a.lost)
}

// Call sends the parts as one request and waits for the response, which is the
// caller's. The parts are copied before Call waits for an answer. ctx's deadline
// travels with the request.
//
// Errors: ErrNotSent, nothing has reached the peer; cluster.ErrUnknown, it may have
// and the answer did not come, or ctx ended first; *RemoteError.
func (c *Caller) Call(ctx context.Context, parts ...[]byte) ([]byte, error) {
	select {
	case c.places <- struct{}{}:
	case <-ctx.Done():
		return nil, fmt.Errorf("%w: too many calls are under way: %w", ErrNotSent, context.Cause(ctx))
	case <-c.done:
		return nil, fmt.Errorf("%w: %w", ErrNotSent, c.err)
	}
	defer func() { <-c.places }()
	k := make(call, 1)
	id, at, err := c.send(ctx, k, parts)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNotSent, err)
	}
	select {
	case a := <-k:
		return c.outcome(a, at)
	case <-ctx.Done():
	}
	if c.take(id) == nil { // answered meanwhile
		return c.outcome(<-k, at)
	}
	return nil, fmt.Errorf("gave up waiting for the answer: %w: %w", context.Cause(ctx), cluster.ErrUnknown)
}

// send registers the call and queues its frame. An error means: not sent.
func (c *Caller) send(ctx context.Context, k call, parts [][]byte) (id uint64, at int64, err error) {
	if id, err = c.register(k); err != nil {
		return 0, 0, err
	}
	var h [requestHeader]byte
	binary.BigEndian.PutUint64(h[:], id)
	binary.BigEndian.PutUint32(h[8:], timeoutOf(ctx))
	all := make([][]byte, 0, 8)
	at, err = c.f.write(ctx, frameRequest, append(append(all, h[:]), parts...)...)
	if err != nil {
		c.take(id)
	}
	return id, at, err
}

func (c *Caller) register(k call) (uint64, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.waiting == nil {
		return 0, c.err
	}
	c.lastID++
	c.waiting[c.lastID] = k
	return c.lastID, nil
}

// timeoutOf is ctx's remaining time in milliseconds, at least 1; 0 without a
// deadline.
func timeoutOf(ctx context.Context) uint32 {
	t, ok := ctx.Deadline()
	if !ok {
		return 0
	}
	ms := time.Until(t).Milliseconds()
	return uint32(min(max(ms, 1), math.MaxUint32))
}
