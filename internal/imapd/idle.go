package imapd

import (
	"context"
	"sync"

	"github.com/tandemail/tandemail/internal/imapwire"
	"github.com/tandemail/tandemail/internal/session"
)

// idleGate lets EndIdle end an IDLE, whether it runs already or not yet.
type idleGate struct {
	mu    sync.Mutex
	ended uint64        // the highest number that EndIdle named
	wake  chan struct{} // closed when ended grows; nil if nobody waits
}

// EndIdle says that the client ended the IDLE with this number, or that the front
// end has gone. It may be called at any time, from any goroutine.
func (s *Session) EndIdle(number uint64) {
	g := &s.idle
	g.mu.Lock()
	defer g.mu.Unlock()
	g.ended = max(g.ended, number)
	if g.wake != nil {
		close(g.wake)
		g.wake = nil
	}
}

// wait is a channel that is closed when the IDLE with this number has ended; nil
// if it has already.
func (g *idleGate) wait(number uint64) <-chan struct{} {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.ended >= number {
		return nil
	}
	if g.wake == nil {
		g.wake = make(chan struct{})
	}
	return g.wake
}

// runIdle is IDLE (RFC 2177): every change is a unit of its own until EndIdle.
func (s *Session) runIdle(ctx context.Context, c *imapwire.Command) (answer, error) {
	var changed <-chan struct{}
	if s.box != nil {
		ch, stop := s.at.account.Watch(s.box.id)
		defer stop()
		changed = ch
	}
	s.out.buf = append(s.out.buf, "+ idling\r\n"...)
	s.idleTag(c.Tag)
	for {
		s.closeView()
		if err := s.sync(ctx, update{expunges: true}); err != nil {
			return answer{}, err
		}
		s.closeView()
		if err := s.out.flush(ctx); err != nil {
			return answer{}, err
		}
		s.out.buf = s.out.reuse()
		end := s.idle.wait(s.number)
		if end == nil {
			break
		}
		select {
		case <-changed:
		case <-end:
		case <-ctx.Done():
			return answer{}, ctx.Err()
		}
	}
	s.idleTag("")
	return ok("IDLE completed"), nil
}

func (s *Session) idleTag(tag string) {
	s.out.delta.Merge(session.Delta{IdleTag: &tag})
}
