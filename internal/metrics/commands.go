package metrics

import (
	"github.com/tandemail/tandemail/internal/host"
	"github.com/tandemail/tandemail/internal/session"
)

// commands are the sessions whose masters are on this machine.
type commands struct {
	open, opened, redeemed, failed, panics, answered *family

	host func() host.Stats
}

func newCommands(t *table, s Sources) *commands {
	return &commands{
		open:     t.gauge("hosted_sessions_open", "Sessions of which a slot here is the master."),
		opened:   t.counter("hosted_sessions_total", "Sessions that front ends opened here, those continued included."),
		redeemed: t.counter("hosted_sessions_redeemed_total", "Sessions that were continued here after another master."),
		failed:   t.counter("hosted_sessions_failed_total", "Sessions that could not go on here, by reason; most go on elsewhere.", "reason"),
		panics:   t.counter("hosted_session_panics_total", "Panics in sessions, each of which ended its session alone."),
		answered: t.counter("commands_total", "IMAP commands by name and by the answer, of sessions hosted here.", "command", "result"),
		host:     s.Host,
	}
}

func (c *commands) collect(o out) {
	if c.host == nil {
		return
	}
	st := c.host()
	o.set(c.open, float64(st.Sessions))
	o.set(c.opened, float64(st.Opened))
	o.set(c.redeemed, float64(st.Redeemed))
	for r := session.Moved; r <= session.Broken; r++ {
		o.set(c.failed, float64(st.Failed[r]), r.String())
	}
	o.set(c.panics, float64(st.Panics))
	for a, n := range st.Answered {
		o.set(c.answered, float64(n), a.Name, a.Status)
	}
}
