package dev

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// importers deliver at once; more than a few gain nothing on a small machine.
const importers = 8

// deliverMail sends every message of path through the routers, each to one user
// in turn, and says how many arrived.
func (r *runner) deliverMail(ctx context.Context, path string) error {
	p := progress{out: r.opt.Err, start: time.Now()}
	work := make(chan message)
	var wg sync.WaitGroup
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	for i := range importers {
		wg.Add(1)
		go func() {
			defer wg.Done()
			r.importWork(ctx, r.layout.Machines[i%machineCount].LMTP, work, &p)
		}()
	}
	var failed error
	for m, err := range messages(path) {
		if err != nil {
			failed = err
			p.failed(err)
			continue
		}
		select {
		case work <- m:
		case <-ctx.Done():
		}
		if ctx.Err() != nil {
			break
		}
	}
	close(work)
	wg.Wait()
	p.done()
	if n := p.errors.Load(); n > 0 {
		return errors.Join(fmt.Errorf("%d messages were not delivered", n), failed)
	}
	return ctx.Err()
}

// importWork delivers what comes; a broken connection is made anew for the next.
func (r *runner) importWork(ctx context.Context, addr string, work <-chan message, p *progress) {
	var d *delivery
	defer func() {
		if d != nil {
			d.close()
		}
	}()
	for m := range work {
		var err error
		if d == nil {
			d, err = dialLMTP(ctx, addr)
		}
		if err == nil {
			user := r.layout.Users[int(p.next.Add(1)-1)%len(r.layout.Users)].User
			err = d.send("import@example.test", []string{user}, bytes.NewReader(m.octets))
		}
		if err != nil {
			p.failed(fmt.Errorf("%s: %w", m.name, err))
			if d != nil {
				d.close()
				d = nil
			}
			continue
		}
		p.delivered()
	}
}

// progress is a line on stderr that counts.
type progress struct {
	out    io.Writer
	start  time.Time
	next   atomic.Int64
	ok     atomic.Int64
	errors atomic.Int64
	mu     sync.Mutex
	shown  time.Time
}

func (p *progress) delivered() {
	p.ok.Add(1)
	p.mu.Lock()
	defer p.mu.Unlock()
	if now := time.Now(); now.Sub(p.shown) > 100*time.Millisecond {
		p.shown = now
		bar := strings.Repeat("#", int(p.ok.Load()/200)%40)
		fmt.Fprintf(p.out, "\rdelivered %7d  %-40s", p.ok.Load(), bar)
	}
}

func (p *progress) failed(err error) {
	if p.errors.Add(1) > 10 {
		return // the first ones say enough; the end tells how many
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	fmt.Fprintf(p.out, "\rnot delivered: %v\n", err)
}

func (p *progress) done() {
	took := time.Since(p.start)
	n := p.ok.Load()
	fmt.Fprintf(p.out, "\r%d messages arrived, %d did not, in %.1f s (%.0f/s)%s\n", n, p.errors.Load(), took.Seconds(), float64(n)/took.Seconds(), strings.Repeat(" ", 20))
}
