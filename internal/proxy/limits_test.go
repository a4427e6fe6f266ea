package proxy

import (
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tandemail/tandemail/internal/auth"
	"github.com/tandemail/tandemail/internal/imapwire/imaptest"
)

func from(addr string) net.Addr { return net.TCPAddrFromAddrPort(mustAddrPort(addr)) }

// greeting connects from an address and returns the first line.
func greeting(t *testing.T, r *rig, addr string) (*imaptest.Client, string) {
	t.Helper()
	c := imaptest.NewClient(t, r.conns.dialFrom(from(addr)))
	t.Cleanup(func() { _ = c.Close() })
	return c, c.Line()
}

const tooMany = "* BYE [LIMIT] Too many connections, try again later"

func TestConnectionsOfOneAddressAreLimited(t *testing.T) {
	r := newRig(t, func(c *Config) { c.MaxPerAddress = 2 })
	first, _ := greeting(t, r, "192.0.2.1:1")
	greeting(t, r, "[2001:db8::1]:1")
	greeting(t, r, "192.0.2.1:2")
	greeting(t, r, "[2001:db8::2]:1")
	for _, addr := range []string{"192.0.2.1:3", "[::ffff:192.0.2.1]:3", "[2001:db8::3]:1"} {
		if _, got := greeting(t, r, addr); got != tooMany {
			t.Errorf("%s: %q", addr, got)
		}
	}
	for _, addr := range []string{"192.0.2.2:1", "[2001:db8:0:1::1]:1"} {
		if _, got := greeting(t, r, addr); !strings.HasPrefix(got, "* OK") {
			t.Errorf("%s: %q", addr, got)
		}
	}
	for i := range 5 { // trusted: this machine's own webmail
		if _, got := greeting(t, r, "127.0.0.1:9"); !strings.HasPrefix(got, "* OK") {
			t.Errorf("connection %d from loopback: %q", i, got)
		}
	}
	first.Send("a LOGOUT\r\n")
	expect(t, first, "* BYE Logging out", "a OK LOGOUT completed")
	r.awaitOpen(10)
	if _, got := greeting(t, r, "192.0.2.1:4"); !strings.HasPrefix(got, "* OK") {
		t.Errorf("after one has gone: %q", got)
	}
}

func TestConnectionsAreLimited(t *testing.T) {
	r := newRig(t, func(c *Config) { c.MaxConns = 2 })
	r.client()
	r.client()
	c := imaptest.NewClient(t, r.conns.dial())
	expect(t, c, tooMany)
	if n := r.server.Stats().Byes["too many connections"]; n != 1 {
		t.Errorf("counted %d", n)
	}
}

func TestSessionsOfOneUserAreLimited(t *testing.T) {
	r := newRig(t, func(c *Config) { c.MaxPerUser = 1 })
	first, second := r.loggedIn(), r.client()
	if _, got := second.Command("LOGIN ann secret"); got != "NO [LIMIT] Too many sessions of this user" {
		t.Error(got)
	}
	second.OK("LOGIN bob secret")
	if st := r.server.Stats(); st.Logins["ok"] != 2 || st.Logins["too many sessions"] != 1 {
		t.Errorf("log-ins counted: %v", st.Logins)
	}
	first.OK("LOGOUT")
	r.awaitOpen(1)
	r.loggedIn()
}

func TestFailedLogInsEndTheConnection(t *testing.T) {
	r := newRig(t, func(c *Config) { c.MaxFailures = 3 })
	c := r.client()
	for range 3 {
		c.Command("LOGIN ann wrong")
	}
	expect(t, c, "* BYE Too many failed log-ins")
	if st := r.server.Stats(); st.Logins["wrong"] != 3 || st.Byes["login failures"] != 1 {
		t.Errorf("stats: %+v", st)
	}
}

func TestFailedLogInIsAnsweredLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, func(c *Config) { c.FailureDelay = 0 }) // the default
		c := r.client()
		start := time.Now()
		c.Command("LOGIN ann wrong")
		if d := time.Since(start); d != time.Second {
			t.Errorf("answered after %v", d)
		}
	})
}

func TestGuessingIsLimitedAcrossConnections(t *testing.T) {
	a := newAuth(t, auth.Config{UserFailures: 3})
	r := newRig(t, func(c *Config) { c.Auth = a })
	for range 3 {
		c := r.client()
		if _, got := c.Command("LOGIN ann wrong"); got != "NO [AUTHENTICATIONFAILED] User name or password is wrong" {
			t.Fatal(got)
		}
	}
	c := r.client()
	if _, got := c.Command("LOGIN ann secret"); got != "NO [UNAVAILABLE] Too many failed log-ins, try again later" {
		t.Errorf("after too many failures: %q", got)
	}
}

func TestUnauthenticateGivesThePlaceOfAUserBack(t *testing.T) {
	r := newRig(t, func(c *Config) { c.MaxPerUser = 1 })
	first, second := r.loggedIn(), r.client()
	if _, tagged := second.Command("LOGIN ann secret"); !strings.HasPrefix(tagged, "NO [LIMIT]") {
		t.Fatal(tagged)
	}
	first.OK("UNAUTHENTICATE")
	second.OK("LOGIN ann secret")
	if n := r.server.Stats().LoggedIn; n != 1 {
		t.Errorf("%d are logged in", n)
	}
}
