package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"time"

	"golang.org/x/time/rate"
)

// LMTPConfig says what load to put on LMTP servers.
type LMTPConfig struct {
	Addresses  []string // of the servers, "host:port"; connections are dealt out in turn
	Recipients []string // messages go to them in turn
	// RecipientsPerMessage: 1 unless set.
	RecipientsPerMessage int
	// Hot sends every message to the first recipient.
	Hot  bool
	From string // return path; empty is the null one
	// Size of a message in octets, about; 4,096.
	Size int
	// Chunked sends with BDAT, one round trip a message, instead of DATA, two.
	Chunked bool

	Connections int           // 1 unless set
	Messages    int64         // end after so many; 0 is no limit
	Duration    time.Duration // end after that time; 0 is no limit
	Rate        float64       // messages a second over all connections; 0 is as fast as it goes
	Timeout     time.Duration // for the answer to one message; one minute
	Seed        uint64        // 0 draws one; message ids of two runs differ unless it is equal

	Progress io.Writer // gets one line a second; nil is none
	Dial     DialFunc  // nil is TCP
}

// RunLMTP delivers until a limit of cfg or the end of ctx is reached. It fails only
// if cfg makes no sense or nothing could be delivered for want of a connection;
// what servers refuse is in the Report. The end of ctx cuts the connections; the
// messages under way then are not counted.
func RunLMTP(ctx context.Context, cfg LMTPConfig) (Report, error) {
	l, err := limits{cfg.Duration, cfg.Messages, cfg.Timeout, cfg.Dial}.check()
	if err != nil {
		return Report{}, err
	}
	if len(cfg.Addresses) == 0 || len(cfg.Recipients) == 0 {
		return Report{}, errors.New("no server or no recipient is set")
	}
	cfg.Size = positive(cfg.Size, 4096)
	cfg.Connections = positive(cfg.Connections, 1)
	cfg.RecipientsPerMessage = min(positive(cfg.RecipientsPerMessage, 1), len(cfg.Recipients))
	if cfg.Hot {
		cfg.Recipients, cfg.RecipientsPerMessage = cfg.Recipients[:1], 1
	}
	for cfg.Seed == 0 {
		cfg.Seed = rand.Uint64()
	}
	limit := rate.NewLimiter(rate.Inf, 1)
	if cfg.Rate > 0 {
		limit = rate.NewLimiter(rate.Limit(cfg.Rate), cfg.Connections)
	}
	m := newMeter(cfg.Connections, cfg.Progress, "deliver")
	return drive(ctx, l, m, "lmtp", func(p *pool, n int, t *tally) {
		s := newSender(cfg, n)
		s.pool, s.tally, s.limit = p, t, limit
		s.run()
	})
}

func positive(n, otherwise int) int {
	if n > 0 {
		return n
	}
	return otherwise
}

// sender is one connection's worth of deliveries.
type sender struct {
	cfg     LMTPConfig
	pool    *pool
	tally   *tally
	limit   *rate.Limiter
	message template
	address string
	next    uint64   // number of the next message
	to      []string // recipients of the message under way
	turn    int      // whose turn it is in cfg.Recipients
}

func newSender(cfg LMTPConfig, n int) *sender {
	rng := rand.New(rand.NewPCG(cfg.Seed, uint64(n)))
	return &sender{
		cfg:     cfg,
		message: newTemplate(rng, cfg.Seed, cfg.Size),
		address: cfg.Addresses[n%len(cfg.Addresses)],
		next:    uint64(n) << 40,
		turn:    n * cfg.RecipientsPerMessage,
	}
}

// run connects, delivers until the connection breaks, and connects again.
func (s *sender) run() {
	for {
		nc := s.pool.connect(s.address, func() { s.tally.failed(0, "connect") })
		if nc == nil {
			return
		}
		setDeadline(nc, s.pool.timeout)
		c, err := NewLMTP(nc, "bench.invalid")
		if err == nil && s.cfg.Chunked && !(c.Chunking && c.Pipelining) {
			err = fmt.Errorf("%s does not announce CHUNKING and PIPELINING", s.address)
		}
		if err != nil {
			nc.Close()
			s.tally.failed(0, "greeting")
			s.pool.note(err)
			s.pool.pause(firstWait)
			continue
		}
		for s.deliver(c) {
		}
		nc.Close()
		if s.pool.stop.Err() != nil || s.pool.limited && s.pool.left.Load() <= 0 {
			return
		}
	}
}

// deliver sends one message and reports whether the connection can go on.
func (s *sender) deliver(c *LMTP) bool {
	if s.limit.Wait(s.pool.stop) != nil || !s.pool.take() {
		_ = c.Quit() // the run is over; there is nobody to tell
		return false
	}
	s.message.number(s.next)
	s.next++
	s.to = s.to[:0]
	for range s.cfg.RecipientsPerMessage {
		s.to = append(s.to, s.cfg.Recipients[s.turn%len(s.cfg.Recipients)])
		s.turn++
	}
	send := c.Data
	if s.cfg.Chunked {
		send = c.Chunk
	}
	begin := time.Now()
	setDeadline(c.nc, s.pool.timeout)
	replies, err := send(s.cfg.From, s.to, s.message.octets)
	if err != nil {
		if s.pool.cut.Err() == nil {
			s.tally.failed(0, "connection lost")
		}
		return false
	}
	took := time.Since(begin)
	for _, r := range replies {
		if !r.OK() {
			s.tally.failed(0, r.Status())
			return true
		}
	}
	s.tally.done(0, took, len(s.message.octets))
	return true
}
