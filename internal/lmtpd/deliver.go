package lmtpd

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
)

// deliver hands the message over and answers for each recipient, in order.
func (c *conn) deliver(ctx context.Context, col *collector) error {
	c.confirmIfProven() // the message itself may be the sign
	if c.pending {
		c.settle(false)
	}
	if col.err == nil {
		c.pending = true
		c.runData(ctx, col.message(c.from, c.rcpts))
	} else {
		c.be.Reset()
		for _, to := range c.rcpts {
			c.answer(to, Result{Err: col.err})
		}
	}
	c.errors, c.junk = 0, 0
	c.clearTransaction()
	if !c.pending {
		return nil
	}
	c.pendingAt = c.lc.Received() + c.inKernel()
	return c.lc.Flush()
}

// answer queues the reply for one recipient.
func (c *conn) answer(to string, res Result) {
	if res.Err != nil {
		c.refuse(res.Err, "deliver", to)
		return
	}
	if res.Text == "" {
		res.Text = "stored"
	}
	c.reply(250, "2.0.0", "<"+to+"> "+res.Text)
}

// runData runs Session.Data beside this goroutine and sends its answers as far as
// they are known without a gap. It returns when Data has returned and all are sent.
func (c *conn) runData(ctx context.Context, m *Message) {
	a := newAnswers(len(m.Rcpts))
	data := func() {
		defer a.finish()
		defer func() {
			if p := recover(); p != nil {
				c.log.Error("panic in a delivery", "err", p, "stack", string(debug.Stack()))
			}
		}()
		c.be.Data(ctx, m, a.give)
	}
	if len(m.Rcpts) == 1 { // the common case: there is nothing to send while Data runs
		data()
	} else {
		go data()
	}
	for n := 0; n < len(m.Rcpts); {
		ready := a.wait(n)
		for _, res := range ready {
			c.answer(m.Rcpts[n], res)
			n++
		}
		if n < len(m.Rcpts) {
			_ = c.lc.Flush() // the next may take seconds; an error stays in lc
		}
	}
	<-a.finished
}

// answers brings results given in any order into the order of RCPT.
type answers struct {
	mu       sync.Mutex
	results  []Result
	given    []bool
	known    int           // results[:known] are given
	changed  chan struct{} // buffer of one: known rose
	finished chan struct{} // no more are given
}

func newAnswers(n int) *answers {
	return &answers{
		results: make([]Result, n), given: make([]bool, n),
		changed: make(chan struct{}, 1), finished: make(chan struct{}),
	}
}

// give takes the result for recipient i. The first counts.
func (a *answers) give(i int, res Result) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if i < 0 || i >= len(a.given) || a.given[i] {
		return
	}
	a.results[i], a.given[i] = res, true
	before := a.known
	for a.known < len(a.given) && a.given[a.known] {
		a.known++
	}
	if a.known == before {
		return
	}
	select {
	case a.changed <- struct{}{}:
	default:
	}
}

var errNoAnswer = errors.New("the backend gave no answer for the recipient")

// finish fills what was never given.
func (a *answers) finish() {
	a.mu.Lock()
	all := a.known == len(a.given)
	a.mu.Unlock()
	for i := 0; !all && i < len(a.given); i++ {
		a.give(i, Result{Err: fmt.Errorf("recipient %d: %w", i, errNoAnswer)})
	}
	close(a.finished)
}

// wait returns the results from n on that are known without a gap, at least one.
func (a *answers) wait(n int) []Result {
	for {
		a.mu.Lock()
		ready := a.results[n:a.known]
		a.mu.Unlock()
		if len(ready) > 0 {
			return ready
		}
		<-a.changed
	}
}
