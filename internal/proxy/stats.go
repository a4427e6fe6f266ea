package proxy

import "sync/atomic"

// counters are cumulative, but for gauges that say so.
type counters struct {
	connections, logins, failures, commands atomic.Int64
	held, holding                           atomic.Int64 // holding is a gauge
	resent, resumed, broken                 atomic.Int64
	loggedIn, idling                        atomic.Int64 // gauges
	byes                                    [byeKinds]atomic.Int64
}

// Stats is a snapshot of a server's counters.
type Stats struct {
	Open     int   // connections now
	LoggedIn int64 // sessions now
	Idling   int64 // of them in IDLE
	Holding  int64 // waiting for a master now

	Connections int64 // accepted so far
	Logins      int64 // that succeeded
	Failures    int64 // log-ins refused for a wrong name or password
	Commands    int64 // sent to masters, repetitions not counted
	Held        int64 // waits for a master
	Broken      int64 // streams to masters that ended inside a session
	Resumed     int64 // sessions that went on at a master after that
	Resent      int64 // commands sent again
	// Byes are sessions that we ended, and connections refused, by reason. All
	// reasons are there.
	Byes map[string]int64
}

// Stats counts. Any goroutine may call it.
func (s *Server) Stats() Stats {
	c := &s.counts
	st := Stats{
		Open: s.clients.Len(), LoggedIn: c.loggedIn.Load(), Idling: c.idling.Load(), Holding: c.holding.Load(),
		Connections: c.connections.Load(), Logins: c.logins.Load(), Failures: c.failures.Load(),
		Commands: c.commands.Load(), Held: c.held.Load(), Broken: c.broken.Load(),
		Resumed: c.resumed.Load(), Resent: c.resent.Load(), Byes: map[string]int64{},
	}
	for b := none + 1; b < byeKinds; b++ {
		st.Byes[b.String()] = c.byes[b].Load()
	}
	return st
}
