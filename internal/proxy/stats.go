package proxy

import (
	"errors"
	"slices"
	"sync/atomic"
	"time"

	"github.com/tandemail/tandemail/internal/auth"
	"github.com/tandemail/tandemail/internal/latency"
)

// counters are cumulative, but for gauges that say so.
type counters struct {
	connections, commands   atomic.Int64
	held, holding           atomic.Int64 // holding is a gauge
	resent, resumed, broken atomic.Int64
	loggedIn, idling        atomic.Int64 // gauges
	logins                  [len(loginResults)]atomic.Int64
	mechanisms              [mechanismKinds]atomic.Int64 // log-ins that succeeded
	byes                    [byeKinds]atomic.Int64
}

// loginOK is the result of a log-in that succeeded.
const loginOK = "ok"

// loginResults names what becomes of a log-in: the first that matches.
var loginResults = [...]struct {
	err  error
	name string
}{
	{auth.ErrFailed, "wrong"},
	{auth.ErrLimited, "limited"},
	{auth.ErrFrozen, "frozen"},
	{errUserLimit, "too many sessions"},
	{errInUse, "in use"},
	{errElsewhere, "elsewhere"},
	{errNoMaster, "no master"},
	{nil, "unavailable"},
	{nil, loginOK}, // matched by none
}

// mechanismKinds is how many ways to log in there are.
const mechanismKinds = 8

// mechanismNames are the ways to log in.
func mechanismNames() []string { return append(auth.AllMechanisms(), byPassword) }

func (c *counters) login(mechanism string, err error) {
	i := len(loginResults) - 1
	if err == nil {
		if at := slices.Index(mechanismNames(), mechanism); at >= 0 {
			c.mechanisms[at].Add(1)
		}
	} else {
		i = 0
		for loginResults[i].err != nil && !errors.Is(err, loginResults[i].err) {
			i++
		}
	}
	c.logins[i].Add(1)
}

// holdBounds are those of waits for a master, up to Config.Hold and a little.
var holdBounds = []time.Duration{
	25 * time.Millisecond, 50 * time.Millisecond, 100 * time.Millisecond, 250 * time.Millisecond, 500 * time.Millisecond,
	time.Second, 2500 * time.Millisecond, 5 * time.Second, 10 * time.Second, 20 * time.Second,
}

// Stats is a snapshot of a server's counters.
type Stats struct {
	Open     int   // connections now
	LoggedIn int64 // sessions now
	Idling   int64 // of them in IDLE
	Holding  int64 // waiting for a master now

	Connections int64          // accepted so far
	Commands    int64          // sent to masters, repetitions not counted
	Held        int64          // waits for a master
	Holds       latency.Counts // of those that have ended
	Broken      int64          // streams to masters that ended inside a session
	Resumed     int64          // sessions that went on at a master after that
	Resent      int64          // commands sent again
	// Logins are log-ins by result: "ok", or why not. All results are there.
	Logins map[string]int64
	// Mechanisms are log-ins that succeeded, by mechanism, or "password" for commands
	// with one. All are there.
	Mechanisms map[string]int64
	// Byes are sessions that we ended, and connections refused, by reason. All
	// reasons are there.
	Byes map[string]int64
}

// Stats counts. Any goroutine may call it.
func (s *Server) Stats() Stats {
	c := &s.counts
	st := Stats{
		Open: s.clients.Len(), LoggedIn: c.loggedIn.Load(), Idling: c.idling.Load(), Holding: c.holding.Load(),
		Connections: c.connections.Load(), Commands: c.commands.Load(), Held: c.held.Load(), Holds: s.holds.Counts(),
		Broken: c.broken.Load(), Resumed: c.resumed.Load(), Resent: c.resent.Load(),
		Logins: map[string]int64{}, Mechanisms: map[string]int64{}, Byes: map[string]int64{},
	}
	for i, name := range mechanismNames() {
		st.Mechanisms[name] = c.mechanisms[i].Load()
	}
	for i, r := range loginResults {
		st.Logins[r.name] = c.logins[i].Load()
	}
	for b := none + 1; b < byeKinds; b++ {
		st.Byes[b.String()] = c.byes[b].Load()
	}
	return st
}
