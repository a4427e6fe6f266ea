package e2e

import (
	"context"
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/tandemail/tandemail/internal/bench"
)

// probe delivers small messages to one store all the time, over a connection to
// each router, so that it knows to a few milliseconds when the store is writable.
type probe struct {
	c    *cluster
	to   []string
	mu   sync.Mutex
	acks []ack
}

// ack is an acknowledged delivery.
type ack struct{ begin, end time.Time }

const probeMessage = "Subject: probe\r\n\r\nprobe\r\n"

// run probes until ctx ends.
func (p *probe) run(ctx context.Context) {
	var clients sync.WaitGroup
	for n := range 2 * len(p.c.Machines) {
		clients.Go(func() { p.connection(ctx, n) })
	}
	clients.Wait()
}

func (p *probe) connection(ctx context.Context, n int) {
	addr := p.c.Machines[n%len(p.c.Machines)].LMTP
	rng := rand.New(rand.NewPCG(uint64(n), 1))
	for ctx.Err() == nil {
		d := net.Dialer{Timeout: time.Second}
		conn, err := d.DialContext(ctx, "tcp", addr)
		if err != nil {
			pause(ctx, 20*time.Millisecond)
			continue
		}
		cut := context.AfterFunc(ctx, func() { conn.Close() })
		_ = conn.SetDeadline(time.Now().Add(dialTime)) // a closed one fails at the next read
		if client, err := bench.NewLMTP(conn, "probe.invalid"); err == nil {
			p.deliver(ctx, conn, client, rng)
		}
		cut()
		conn.Close()
	}
}

func (p *probe) deliver(ctx context.Context, conn net.Conn, client *bench.LMTP, rng *rand.Rand) {
	for {
		begin := time.Now()
		_ = conn.SetDeadline(begin.Add(answerTime)) // as above
		replies, err := client.Data("", []string{p.to[rng.IntN(len(p.to))]}, []byte(probeMessage))
		if err != nil {
			return
		}
		if replies[0].OK() {
			p.mu.Lock()
			p.acks = append(p.acks, ack{begin, time.Now()})
			p.mu.Unlock()
		}
		if !pause(ctx, 2*time.Millisecond) {
			return
		}
	}
}

// writableAfter waits for a delivery that was begun after t and returns how long
// after t it was acknowledged.
func (p *probe) writableAfter(ctx context.Context, t time.Time) (time.Duration, error) {
	for {
		p.mu.Lock()
		i := slices.IndexFunc(p.acks, func(a ack) bool { return a.begin.After(t) })
		var took time.Duration
		if i >= 0 {
			took = p.acks[i].end.Sub(t)
		}
		p.mu.Unlock()
		if i >= 0 {
			return took, nil
		}
		if !pause(ctx, 5*time.Millisecond) {
			return 0, ctx.Err()
		}
	}
}

// longestGap returns the longest time without an acknowledgement that touches the
// time from a to b, and forgets what was before a.
func (p *probe) longestGap(a, b time.Time) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	slices.SortFunc(p.acks, func(x, y ack) int { return x.end.Compare(y.end) })
	var gap time.Duration
	for i := 1; i < len(p.acks); i++ {
		from, to := p.acks[i-1].end, p.acks[i].end
		if to.After(a) && from.Before(b) {
			gap = max(gap, to.Sub(from))
		}
	}
	p.acks = slices.DeleteFunc(p.acks, func(x ack) bool { return x.end.Before(a) })
	return gap
}
