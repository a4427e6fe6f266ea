package session

import "fmt"

var reasonNames = [...]string{
	Moved: "moved", Busy: "busy", Unknown: "unknown outcome", Gone: "mailbox gone",
	NotResumable: "not resumable", Violation: "protocol violation", Broken: "server fault",
}

// String names r for logs and metrics.
func (r Reason) String() string {
	if int(r) < len(reasonNames) && reasonNames[r] != "" {
		return reasonNames[r]
	}
	return fmt.Sprintf("reason %d", byte(r))
}

// Elsewhere reports whether the session may continue at another master, or later
// at this one.
func (r Reason) Elsewhere() bool { return r == Moved || r == Busy || r == Unknown }
