package proxy

import (
	"slices"
	"testing"
)

// TestSessionInAnothersMailboxGoesOnAtTheNextMaster: the answer to a MOVE out of it is lost
// with the master of the user's own account.
func TestSessionInAnothersMailboxGoesOnAtTheNextMaster(t *testing.T) {
	r := newRig(t, nil)
	ann := r.loggedIn()
	ann.OK("APPEND INBOX {14+}\r\nSubject: one\r\n")
	ann.OK("APPEND INBOX {14+}\r\nSubject: two\r\n")
	ann.OK("SETACL INBOX bob lrswite")
	bob := r.client()
	bob.OK("LOGIN bob secret")
	bob.OK(`SELECT "Other Users/ann/INBOX"`)
	r.tamperWith(breakAt(1, isDone, func() { r.appoint("m2") }))
	bob.OK("MOVE 1 Archive")
	if st := r.server.Stats(); st.Resent != 1 || st.Broken != 1 || st.Resumed != 1 {
		t.Errorf("stats: %+v", st)
	}
	if got := bob.OK("FETCH 1:* UID"); !slices.Contains(got, "* 1 FETCH (UID 2)") {
		t.Errorf("the rest of ann's INBOX: %q", got)
	}
	for name, want := range map[string]string{
		"Archive": "* STATUS Archive (MESSAGES 1)", `"Other Users/ann/INBOX"`: `* STATUS "Other Users/ann/INBOX" (MESSAGES 1)`,
	} {
		if got := bob.OK("STATUS %s (MESSAGES)", name); got[0] != want {
			t.Errorf("got %s, want %s", got[0], want)
		}
	}
}
