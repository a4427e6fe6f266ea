package metrics

import (
	"github.com/tandemail/tandemail/internal/accept"
	"github.com/tandemail/tandemail/internal/proxy"
)

// sessions are the clients of this machine's front end.
type sessions struct {
	open, accepted, refused   *family
	loggedIn, idling, holding *family
	logins, mechanisms        *family
	commands, byes, holds     *family
	broken, resumed, resent   *family

	clients map[string]func() proxy.Stats
	lmtp    func() accept.Stats
}

func newSessions(t *table, s Sources) *sessions {
	const protocol = "protocol"
	return &sessions{
		open:       t.gauge("connections_open", "Connections of clients and MTAs.", protocol),
		accepted:   t.counter("connections_total", "Connections that were accepted.", protocol),
		refused:    t.counter("connections_refused_total", "Connections that were refused, since there were too many or the process ended.", protocol),
		loggedIn:   t.gauge("sessions_open", "Sessions that are logged in.", protocol),
		idling:     t.gauge("sessions_idling", "Sessions in IDLE.", protocol),
		holding:    t.gauge("sessions_holding", "Sessions and log-ins that wait for a master.", protocol),
		logins:     t.counter("logins_total", "Log-ins by result: ok, or why not.", protocol, "result"),
		mechanisms: t.counter("logins_by_mechanism_total", "Log-ins that succeeded, by mechanism of SASL, or password for commands with one.", protocol, "mechanism"),
		commands:   t.counter("session_commands_total", "Commands sent to masters, repetitions not counted.", protocol),
		byes:       t.counter("session_byes_total", "Sessions that the front end ended, and connections it refused, by reason.", protocol, "reason"),
		holds:      t.histogram("session_hold_seconds", "How long sessions and log-ins waited for a master.", protocol),
		broken:     t.counter("session_breaks_total", "Streams to masters that ended inside a session.", protocol),
		resumed:    t.counter("session_resumes_total", "Sessions that went on at a master after that.", protocol),
		resent:     t.counter("session_commands_resent_total", "Commands that were sent again after that.", protocol),
		clients:    s.Clients, lmtp: s.LMTP,
	}
}

func (s *sessions) collect(o out) {
	for protocol, read := range s.clients {
		s.front(o, protocol, read())
	}
	if s.lmtp != nil {
		st := s.lmtp()
		o.set(s.open, float64(st.Open), "lmtp")
		o.set(s.accepted, float64(st.Accepted), "lmtp")
		o.set(s.refused, float64(st.Refused), "lmtp")
	}
}

func (s *sessions) front(o out, protocol string, st proxy.Stats) {
	o.set(s.open, float64(st.Open), protocol)
	o.set(s.accepted, float64(st.Connections), protocol)
	o.set(s.loggedIn, float64(st.LoggedIn), protocol)
	o.set(s.idling, float64(st.Idling), protocol)
	o.set(s.holding, float64(st.Holding), protocol)
	for result, n := range st.Logins {
		o.set(s.logins, float64(n), protocol, result)
	}
	for mechanism, n := range st.Mechanisms {
		o.set(s.mechanisms, float64(n), protocol, mechanism)
	}
	o.set(s.commands, float64(st.Commands), protocol)
	for reason, n := range st.Byes {
		o.set(s.byes, float64(n), protocol, reason)
	}
	o.times(s.holds, st.Holds, protocol)
	o.set(s.broken, float64(st.Broken), protocol)
	o.set(s.resumed, float64(st.Resumed), protocol)
	o.set(s.resent, float64(st.Resent), protocol)
}
