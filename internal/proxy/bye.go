package proxy

// bye is why we end a session.
type bye uint8

// The reasons. Each is counted, and has one sentence for the client.
const (
	none         bye = iota
	byeShutdown      // this server stops
	byeTooMany       // connections
	byeLogin         // no log-in in time
	byeFailures      // too many failed log-ins
	byeIdle          // nothing from the client for long
	byeSlow          // a command or literal came too slowly
	byeErrors        // too many commands that are none
	byeLine          // a line too long to know what it announced
	byeFlood         // far beyond a limit
	byeSpool         // no room for the command's octets
	byeHold          // no master in time
	byeCut           // the stream broke inside a response
	byeResume        // the token cannot be continued truthfully
	byeGone          // the selected mailbox was deleted
	byeViolation     // master and front end do not understand each other
	byeFault         // a fault of the server in this session alone
	byeInUse         // another session has the mailbox for itself
	byeElsewhere     // another machine is master, and not served here

	byeKinds
)

var byes = [byeKinds]struct{ name, code, text string }{
	byeShutdown:  {"shutdown", "UNAVAILABLE", "Server is shutting down, connect again"},
	byeTooMany:   {"too many connections", "LIMIT", "Too many connections, try again later"},
	byeLogin:     {"login timeout", "", "Log-in took too long"},
	byeFailures:  {"login failures", "", "Too many failed log-ins"},
	byeIdle:      {"idle", "", "Idle for too long"},
	byeSlow:      {"slow", "", "Command came too slowly"},
	byeErrors:    {"too many errors", "CLIENTBUG", "Too many errors"},
	byeLine:      {"line too long", "TOOBIG", "Command line is too long"},
	byeFlood:     {"flood", "TOOBIG", "Command is far too long"},
	byeSpool:     {"no spool", "UNAVAILABLE", "No room for large commands, try again later"},
	byeHold:      {"hold limit", "UNAVAILABLE", "Mailbox is not available, try again later"},
	byeCut:       {"response cut", "UNAVAILABLE", "Server changed inside a response, connect again"},
	byeResume:    {"not resumable", "UNAVAILABLE", "Server changed, connect again"},
	byeGone:      {"mailbox gone", "", "Selected mailbox was deleted"},
	byeViolation: {"protocol violation", "SERVERBUG", "Internal error"},
	byeFault:     {"server fault", "SERVERBUG", "Internal error"},
	byeInUse:     {"in use", "INUSE", "Mailbox is in use by another session"},
	byeElsewhere: {"elsewhere", "UNAVAILABLE", "Mailbox is served by another machine"},
}

// String names b for metrics.
func (b bye) String() string { return byes[b].name }

// byeError ends a session with a word to the client.
type byeError struct {
	why bye
	err error // for the log; may be nil
}

// Error implements error.
func (e *byeError) Error() string {
	if e.err == nil {
		return e.why.String()
	}
	return e.why.String() + ": " + e.err.Error()
}

// Unwrap gives what was found.
func (e *byeError) Unwrap() error { return e.err }
