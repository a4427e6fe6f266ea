package proxy

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tandemail/tandemail/internal/imapwire/imaptest"
)

func onlyM1(c *Config) { c.Only = "m1" }

func TestUsersOfOtherMachinesAreRefused(t *testing.T) {
	r := newRig(t, onlyM1)
	r.loggedIn().OK("SELECT INBOX")
	r.appoint("m2")
	c := r.client()
	c.Send("a LOGIN ann secret\r\n")
	expect(t, c, "a NO [UNAVAILABLE] Mailbox is served by another machine")
	if st := r.server.Stats(); st.Logins["elsewhere"] != 1 || st.Held != 0 {
		t.Errorf("stats: %+v", st)
	}
	r.appoint("m1")
	c.OK("LOGIN ann secret")
}

// TestSessionEndsWithTheOnlyMaster: it does not go on elsewhere, and not here either.
func TestSessionEndsWithTheOnlyMaster(t *testing.T) {
	for _, next := range []string{"m1", "m2"} {
		t.Run(next, func(t *testing.T) {
			r := newRig(t, onlyM1)
			c := r.loggedIn()
			c.OK("SELECT INBOX")
			r.tamperWith(breakAt(1, isDone, func() {}))
			if next == "m2" {
				r.appoint("m2")
			}
			c.Send("a NOOP\r\n")
			expect(t, c, "* BYE [UNAVAILABLE] Mailbox is served by another machine")
			if st := r.server.Stats(); st.Resumed != 0 || st.Byes["elsewhere"] != 1 {
				t.Errorf("stats: %+v", st)
			}
		})
	}
}

func TestLogInWaitsForTheOnlyMaster(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, onlyM1)
		r.appoint("")
		c := r.client()
		c.Send("a LOGIN ann secret\r\n")
		time.Sleep(time.Second) // virtual
		r.appoint("m1")
		if got := c.Line(); !strings.HasPrefix(got, "a OK ") {
			t.Error(got)
		}
		r.stop()
	})
}

// TestOtherFrontEndsAreNotLimitedByAddress: all that fails there comes from one.
func TestOtherFrontEndsAreNotLimitedByAddress(t *testing.T) {
	r := newRig(t, func(c *Config) {
		onlyM1(c)
		c.MaxFailures = 100
	})
	c := imaptest.NewClient(t, r.conns.dialFrom(from("192.0.2.1:1")))
	defer c.Close()
	c.Line()
	for i := range 60 { // more than an address may have
		c.Send(fmt.Sprintf("a LOGIN nobody%d wrong\r\n", i))
		expect(t, c, "a NO [AUTHENTICATIONFAILED] User name or password is wrong")
	}
	c.OK("LOGIN ann secret")
}
