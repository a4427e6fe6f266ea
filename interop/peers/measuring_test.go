package peers

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// measuring is the measuring of one server.
type measuring struct {
	options
	server server
	report *report
	note   func(format string, args ...any) // says how far it is
}

func (m *measuring) all(ctx context.Context) error {
	m.report.servers = append(m.report.servers, m.server.version())
	steps := []func(context.Context) error{m.fill, m.first, m.warm, m.change}
	if m.idle > 0 {
		steps = append(steps, m.idling)
	}
	if m.cold {
		steps = append(steps, m.emptied)
	}
	for _, step := range steps {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

// fill makes the mailbox.
func (m *measuring) fill(ctx context.Context) (err error) {
	d := m.server.doors()[0]
	c, err := login(ctx, d.address, d.user, d.password)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.close()) }()
	if err := c.do("CREATE %s", mailbox); err != nil {
		return err
	}
	s, err := measure(m.server, c, func() error { return c.fill(mailbox, m.messages, newCorpus(m.size)) })
	if err != nil {
		return err
	}
	m.report.add(changing, fmt.Sprintf("APPEND %d, %d a command", m.messages, multiappend), d.name, s)
	m.note("%s has %d messages", d.name, m.messages)
	return nil
}

// first measures each read once, in their order, as long as nothing was derived of
// the messages.
func (m *measuring) first(ctx context.Context) error {
	d := m.server.doors()[0]
	for _, r := range reads {
		s, err := d.read(ctx, m.server, r, 1)
		if err != nil {
			return err
		}
		m.report.add(firstTime, r.name, d.name, s...)
	}
	m.note("%s has read everything", d.name)
	return nil
}

// warm measures each read several times, through each door.
func (m *measuring) warm(ctx context.Context) error {
	for _, d := range m.server.doors() {
		for _, r := range reads {
			s, err := d.read(ctx, m.server, r, m.times)
			if err != nil {
				return err
			}
			m.report.add(again, r.name, d.name, s...)
		}
		m.note("%s has read everything again", d.name)
	}
	return nil
}

// change measures what changes the mailbox, which is as before in the end.
func (m *measuring) change(ctx context.Context) error {
	for _, d := range m.server.doors() {
		if err := m.changeBy(ctx, d); err != nil {
			return err
		}
		m.note("%s has changed everything", d.name)
	}
	return nil
}

func (m *measuring) changeBy(ctx context.Context, d door) (err error) {
	c, err := d.enter(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.close()) }()
	for _, ch := range changes(m.messages / 5) {
		for _, command := range ch.before {
			if err := c.do("%s", command); err != nil {
				return err
			}
		}
		if ch.command == "" {
			continue
		}
		s, err := measure(m.server, c, func() error { return c.do("%s", ch.command) })
		if err != nil {
			return err
		}
		m.report.add(changing, ch.name, d.name, s)
	}
	if err := c.do("CREATE one"); err != nil {
		return err
	}
	s, err := measure(m.server, c, func() error { return c.appendEach("one", m.appends, newCorpus(m.size)) })
	if err != nil {
		return err
	}
	m.report.add(changing, fmt.Sprintf("APPEND %d, one by one", m.appends), d.name, s)
	return c.do("DELETE one")
}

// emptied measures each read in a server that has just been started, with nothing of
// its files in memory.
func (m *measuring) emptied(ctx context.Context) error {
	for i, d := range m.server.doors() {
		for _, r := range reads {
			s, err := m.emptiedRead(ctx, i, r)
			if err != nil {
				return err
			}
			m.report.add(fromDisk, r.name, d.name, s)
		}
		m.note("%s has read everything from disk", d.name)
	}
	return nil
}

func (m *measuring) emptiedRead(ctx context.Context, i int, r row) (s sample, err error) {
	if err := m.server.stop(); err != nil {
		return s, err
	}
	if err := dropCaches(); err != nil {
		return s, err
	}
	if err := m.server.start(ctx); err != nil {
		return s, err
	}
	d := m.server.doors()[i]
	c, err := d.enterFor(ctx, r)
	if err != nil {
		return s, err
	}
	defer func() { err = errors.Join(err, c.close()) }()
	return measure(m.server, c, func() error { return c.do("%s", r.command) })
}

// idling measures sessions that have the mailbox selected and wait in IDLE.
func (m *measuring) idling(ctx context.Context) (err error) {
	d := m.server.doors()[0]
	var open []*client
	defer func() {
		for _, c := range open {
			err = errors.Join(err, c.close())
		}
	}()
	enter := func() error {
		c, err := d.enter(ctx)
		if err != nil {
			return err
		}
		open = append(open, c)
		return c.idle()
	}
	if err := enter(); err != nil { // what the first one needs is no session's
		return err
	}
	before, err := m.memory()
	if err != nil {
		return err
	}
	s, err := measure(m.server, open[0], func() error {
		for range m.idle {
			if err := enter(); err != nil {
				return fmt.Errorf("session %d: %w", len(open), err)
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	after, err := m.memory()
	if err != nil {
		return err
	}
	m.report.add(changing, fmt.Sprintf("LOGIN, SELECT, IDLE of %d sessions", m.idle), d.name, s)
	m.report.remember(d.name, m.idle, after-before)
	m.note("%s has %d sessions in IDLE", d.name, m.idle)
	return nil
}

const settleStep = 500 * time.Millisecond

// memory is what the processes use that run sessions: the least of some looks, since a
// server may give memory back for some time.
func (m *measuring) memory() (least int64, err error) {
	look := time.NewTicker(settleStep)
	defer look.Stop()
	for range max(1, m.settle/settleStep) {
		<-look.C
		pids, err := m.server.storage()
		if err != nil {
			return 0, err
		}
		used, err := memory(pids)
		if err != nil {
			return 0, err
		}
		if least == 0 || used < least {
			least = used
		}
	}
	return least, nil
}
