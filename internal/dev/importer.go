package dev

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/emersion/go-smtp"
)

// importers deliver at once; more than a few gain nothing on a small machine.
const importers = 8

// An import is as patient as an MTA: a message that is refused for now, or whose
// connection is lost, is sent again to the next machine.
const (
	importTries = 20
	firstRetry  = 100 * time.Millisecond
	lastRetry   = 2 * time.Second
)

// deliverMail sends every message of path through the routers, each to one user
// in turn, and says how many arrived.
func (r *runner) deliverMail(ctx context.Context, path string) error {
	files, err := messageFiles(path)
	if err != nil {
		return err
	}
	p := newProgress(r.opt.Err, totalSize(files))
	work := make(chan message)
	var wg sync.WaitGroup
	for i := range importers {
		wg.Go(func() {
			m := importer{runner: r, at: i, progress: p}
			defer m.hangUp()
			for msg := range work {
				m.deliver(ctx, msg)
			}
		})
	}
	for m, err := range messagesIn(files) {
		if err != nil {
			p.failed(err)
			continue
		}
		select {
		case work <- m:
			continue
		case <-ctx.Done():
		}
		break
	}
	close(work)
	wg.Wait()
	if n := p.done(); n > 0 {
		return fmt.Errorf("%d messages did not arrive", n)
	}
	return ctx.Err()
}

// importer delivers one message at a time over a connection that it keeps.
type importer struct {
	*runner
	*progress
	at   int // which machine
	conn *delivery
}

func (m *importer) deliver(ctx context.Context, msg message) {
	user := m.layout.Users[m.turn()%len(m.layout.Users)].User
	pause := firstRetry
	for try := 1; ; try++ {
		err := m.once(ctx, user, msg)
		if err == nil {
			m.arrived(len(msg.octets))
			return
		}
		if refusedForGood(err) || try == importTries || ctx.Err() != nil {
			m.failed(fmt.Errorf("%s: %w", msg.name, err))
			return
		}
		m.hangUp()
		m.at++
		select {
		case <-time.After(pause):
		case <-ctx.Done():
		}
		pause = min(2*pause, lastRetry)
	}
}

func (m *importer) once(ctx context.Context, user string, msg message) error {
	if m.conn == nil {
		var err error
		if m.conn, err = dialLMTP(ctx, m.machines()[m.at%machineCount].LMTP); err != nil {
			return err
		}
	}
	return m.conn.send("import@example.test", []string{user}, bytes.NewReader(msg.octets))
}

func (m *importer) hangUp() {
	if m.conn != nil {
		m.conn.close()
		m.conn = nil
	}
}

// refusedForGood: a 5xx reply. Everything else may pass.
func refusedForGood(err error) bool {
	var reply *smtp.SMTPError
	return errors.As(err, &reply) && reply.Code >= 500
}
