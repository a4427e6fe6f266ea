package e2e

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"strings"
	"sync/atomic"
	"time"

	"github.com/tandemail/tandemail/e2e/ledger"
	"github.com/tandemail/tandemail/internal/bench"
)

const (
	maxTries  = 5  // of one message, after lost or temporary answers
	sameCount = 10 // tokens that many connections deliver on purpose
)

// delivered tells tokens of deliveries from those of APPEND.
func delivered(t ledger.Token) bool { return strings.HasPrefix(string(t), "d") }

// courier is one LMTP connection of an MTA that delivers as fast as it goes.
type courier struct {
	c    *cluster
	rec  *ledger.Recorder
	rng  *rand.Rand
	n    int           // which courier
	left *atomic.Int64 // deliveries that may still begin, all couriers together

	conn net.Conn
	lmtp *bench.LMTP
}

// run delivers until ctx ends.
func (k *courier) run(ctx context.Context) {
	defer k.quit()
	for i := 0; ctx.Err() == nil && k.left.Add(-1) >= 0; i++ {
		token := ledger.Token(fmt.Sprintf("d-%d-%d", k.n, i))
		if k.rng.IntN(10) == 0 {
			token = ledger.Token(fmt.Sprintf("d-same-%d", k.rng.IntN(sameCount)))
		}
		var to []string
		count := 1
		if k.rng.IntN(5) == 0 {
			count += k.rng.IntN(3)
		}
		for _, u := range k.rng.Perm(len(k.c.Users))[:count] {
			to = append(to, k.c.Users[u].User)
		}
		k.deliver(ctx, token, to)
	}
}

// deliver sends a message, and every other time does as an MTA does: it tries again
// until it is told yes or no.
func (k *courier) deliver(ctx context.Context, token ledger.Token, to []string) {
	again := k.rng.IntN(2) == 0
	for try := 0; len(to) > 0 && try < maxTries && k.connect(ctx); try++ {
		to = k.attempt(token, to)
		if !again {
			return
		}
	}
}

// attempt delivers once and returns the recipients without a final answer.
func (k *courier) attempt(token ledger.Token, to []string) []string {
	send := k.lmtp.Data
	if k.rng.IntN(2) == 0 {
		send = k.lmtp.Chunk
	}
	_ = k.conn.SetDeadline(time.Now().Add(answerTime)) // a closed one fails at the next write
	begin := k.rec.Begin()
	replies, err := send("ledger@example.test", to, deliverable(token))
	if err != nil {
		k.disconnect()
		replies = make([]bench.Reply, len(to)) // code 0: no answer
	}
	var open []string
	for i, u := range to {
		o := ledger.Unknown
		switch {
		case replies[i].OK():
			o = ledger.Acked
		case replies[i].Code >= 500:
			o = ledger.Refused
		}
		k.rec.End(begin, o, ledger.Deliver{User: u, Token: token})
		if o == ledger.Unknown {
			open = append(open, u)
		}
	}
	return open
}

// connect makes a connection to any router if there is none; false when ctx ends.
func (k *courier) connect(ctx context.Context) bool {
	for k.lmtp == nil {
		addr := k.c.Machines[k.rng.IntN(len(k.c.Machines))].LMTP
		d := net.Dialer{Timeout: dialTime}
		conn, err := d.DialContext(ctx, "tcp", addr)
		if err == nil {
			_ = conn.SetDeadline(time.Now().Add(dialTime))
			k.conn = conn
			k.lmtp, err = bench.NewLMTP(conn, "ledger.invalid")
			if err != nil {
				conn.Close()
			}
		}
		if err != nil {
			k.lmtp = nil
			if !pause(ctx, 50*time.Millisecond) {
				return false
			}
		}
	}
	return true
}

// quit ends in order. Without QUIT nobody can know that the last replies were read,
// and the same octets from another courier would be taken for a repetition of ours.
func (k *courier) quit() {
	if k.lmtp != nil {
		_ = k.conn.SetDeadline(time.Now().Add(dialTime))
		_ = k.lmtp.Quit() // the machine may be gone
	}
	k.disconnect()
}

func (k *courier) disconnect() {
	if k.lmtp != nil {
		k.conn.Close()
		k.lmtp = nil
	}
}
