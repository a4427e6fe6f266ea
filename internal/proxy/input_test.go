package proxy

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/netip"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func mustAddrPort(s string) netip.AddrPort { return netip.MustParseAddrPort(s) }

// awaitOpen waits until so many connections are left.
func (r *rig) awaitOpen(n int) {
	r.t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for r.server.Stats().Open != n {
		if time.Now().After(deadline) {
			r.t.Fatalf("%d connections are open, want %d", r.server.Stats().Open, n)
		}
		runtime.Gosched()
	}
}

// feed sends octets for as long as they are taken, and returns all that is answered
// until the connection ends.
func feed(t *testing.T, nc net.Conn, octets io.Reader) string {
	t.Helper()
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		_, _ = io.Copy(nc, octets)
	}()
	b, err := io.ReadAll(nc)
	if err != nil && !errors.Is(err, io.ErrClosedPipe) {
		t.Fatal(err)
	}
	_ = nc.Close()
	<-gone
	return string(b)
}

func TestLongLineIsAnsweredAndTheConnectionStaysUsable(t *testing.T) {
	r := newRig(t, nil)
	c := r.client()
	c.Send("a NOOP " + strings.Repeat("x", 40_000) + "\r\n")
	expect(t, c, "a BAD Command line is too long")
	c.OK("LOGIN ann secret")
	c.Send("b SEARCH " + strings.Repeat("x", 65_600) + "\r\n")
	expect(t, c, "b BAD Command line is too long")
	c.OK("NOOP")
}

func TestLineOfUnknownEndEndsTheConnection(t *testing.T) {
	r := newRig(t, nil)
	// What the lost line announces must not be executed.
	got := feed(t, r.conns.dial(), strings.NewReader("a NOOP "+strings.Repeat("x", 100_000)+"{100+}\r\nb LOGIN ann secret\r\n"))
	if !strings.HasSuffix(got, "ready\r\n* BYE [TOOBIG] Command line is too long\r\n") {
		t.Errorf("got %q", got)
	}
}

// endless is a line or literal that never ends.
type endless struct{}

func (endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = 'x'
	}
	return len(p), nil
}

func TestFloodsEndTheConnection(t *testing.T) {
	for name, in := range map[string]string{
		"line":    "a NOOP ",
		"literal": "a LOGIN {99999999999+}\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, nil)
			got := feed(t, r.conns.dial(), io.MultiReader(strings.NewReader(in), endless{}))
			if !strings.HasSuffix(got, "* BYE [TOOBIG] Command is far too long\r\n") {
				t.Errorf("got %q", got)
			}
		})
	}
}

func TestMessageOverTheLimitIsRefusedAndTheConnectionStaysUsable(t *testing.T) {
	r := newRig(t, func(c *Config) { c.MaxMessage = 100_000 })
	c := r.loggedIn()
	const tooBig = "BAD [TOOBIG] Literal is larger than 100000 octets"
	c.Send("a APPEND INBOX {100001}\r\n") // before it is sent
	expect(t, c, "a "+tooBig)
	c.Send("b APPEND INBOX {100001+}\r\n" + strings.Repeat("x", 100_001) + "\r\n") // sent all the same
	expect(t, c, "b "+tooBig)
	c.OK("APPEND INBOX {%d+}\r\n%s", 100_000, strings.Repeat("x", 99_998)+"\r\n")
	// Several, of which each is small enough: they share one room.
	c.Send("c APPEND INBOX {60000+}\r\n" + strings.Repeat("x", 60_000) + " {60000+}\r\n" + strings.Repeat("x", 60_000) +
		" {60000+}\r\n" + strings.Repeat("x", 60_000) + "\r\n")
	expect(t, c, "c BAD [TOOBIG] Literals are larger than 165536 octets together")
	c.OK("NOOP")
}

func TestGarbageEndsTheConnection(t *testing.T) {
	r := newRig(t, nil)
	got := feed(t, r.conns.dial(), strings.NewReader(strings.Repeat("\x16\x03\x01\n", 1000)))
	if n := strings.Count(got, "* BAD"); n != 20 || !strings.HasSuffix(got, "* BYE [CLIENTBUG] Too many errors\r\n") {
		t.Errorf("%d answers, ending with %q", n, got[max(0, len(got)-80):])
	}
}

func TestBadCommandsAfterLogInEndTheSession(t *testing.T) {
	r := newRig(t, nil)
	c := r.loggedIn()
	for range 19 {
		c.Command("FROB")
	}
	c.OK("NOOP") // only those in a row count
	for range 20 {
		c.Command("FROB")
	}
	expect(t, c, "* BYE [CLIENTBUG] Too many errors")
}

// TestSlowClients send their octets at an interval; each is told when it has ended.
func TestSlowClients(t *testing.T) {
	const logIn = "a LOGIN ann secret\r\n"
	for _, tt := range []struct {
		name        string
		first       string // sent at once
		octets      string // then sent one at a time
		every, ends time.Duration
		last        string
	}{
		{"silent", "", "", 0, time.Minute, "* BYE Log-in took too long"},
		{"octet a minute", "", strings.Repeat("a", 100), 50 * time.Second, 50*time.Second + time.Minute, "* BYE Command came too slowly"},
		// The command under way after five minutes is the last.
		{"busy without logging in", "", strings.Repeat("a NOOP\r\n", 100), 5 * time.Second, 5*time.Minute + 20*time.Second, "* BYE Log-in took too long"},
		{"half a command", "a LOGIN {3+}\r\nann", "", 0, time.Minute, "* BYE Log-in took too long"},
		{"octet a minute after log-in", logIn, strings.Repeat("a", 100), 50 * time.Second, 50*time.Second + time.Minute, "* BYE Command came too slowly"},
		{"literal of an octet a minute", logIn + "b APPEND INBOX {1000+}\r\n", strings.Repeat("a", 100), time.Minute, 3*time.Minute + 30*time.Millisecond, "* BYE Command came too slowly"},
		{"literal that does not come", logIn + "b APPEND INBOX {1000+}\r\n", "", 0, 3 * time.Minute, "* BYE Command came too slowly"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, nil)
				nc := r.conns.dial()
				start := time.Now()
				gone := make(chan struct{})
				go func() {
					defer close(gone)
					if tt.first != "" {
						_, _ = io.WriteString(nc, tt.first)
					}
					for i := range len(tt.octets) {
						time.Sleep(tt.every) // virtual
						if _, err := io.WriteString(nc, tt.octets[i:i+1]); err != nil {
							return
						}
					}
				}()
				last := ""
				for in := bufio.NewScanner(nc); in.Scan(); {
					last = in.Text()
				}
				if last != tt.last {
					t.Errorf("last line %q, want %q", last, tt.last)
				}
				if d := time.Since(start); d != tt.ends {
					t.Errorf("ended after %v, want %v", d, tt.ends)
				}
				_ = nc.Close()
				<-gone
			})
		})
	}
}

func TestIdleSessionEndsAfterHalfAnHour(t *testing.T) {
	for _, command := range []string{"", "a IDLE\r\n"} {
		t.Run(command, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, func(c *Config) { c.IdleAlive = time.Hour })
				c := r.loggedIn()
				if command != "" {
					c.Send(command)
					expect(t, c, "+ idling")
				}
				time.Sleep(29 * time.Minute) // virtual
				if n := r.server.Stats().LoggedIn; n != 1 {
					t.Fatalf("%d sessions after 29 minutes", n)
				}
				time.Sleep(time.Minute - time.Second) // virtual
				expect(t, c, "* BYE Idle for too long")
			})
		})
	}
}

func TestIdleGivesSignsOfLife(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, func(c *Config) { c.IdleAlive = 4 * time.Second })
		c := r.loggedIn()
		c.Send("a IDLE\r\n")
		expect(t, c, "+ idling", "* OK Still here", "* OK Still here")
		c.Send("DONE\r\n")
		expect(t, c, "a OK IDLE completed")
	})
}

func TestClientThatLeavesDuringIdleLeavesNothing(t *testing.T) {
	r := newRig(t, nil)
	c := r.loggedIn()
	c.Send("a IDLE\r\n")
	expect(t, c, "+ idling")
	_ = c.Close()
	r.awaitOpen(0)
	if st := r.server.Stats(); st.LoggedIn != 0 || st.Idling != 0 {
		t.Errorf("stats: %+v", st)
	}
}

func TestShutdownTellsEverybody(t *testing.T) {
	r := newRig(t, nil)
	before, idle, quiet := r.client(), r.loggedIn(), r.loggedIn()
	idle.Send("a IDLE\r\n")
	expect(t, idle, "+ idling")
	go r.stop()
	const bye = "* BYE [UNAVAILABLE] Server is shutting down, connect again"
	expect(t, before, bye)
	expect(t, idle, bye)
	expect(t, quiet, bye)
}

func TestLargeMessageIsSpooledAndArrivesWhole(t *testing.T) {
	r := newRig(t, nil)
	c := r.loggedIn()
	text := strings.Repeat("0123456789abcd\r\n", 1<<16) // 1 MiB
	c.OK("APPEND INBOX {%d+}\r\n%s", len(text), text)
	c.OK("SELECT INBOX")
	got := c.OK("FETCH 1 RFC822.SIZE")
	if want := "* 1 FETCH (RFC822.SIZE 1048576)"; got[0] != want {
		t.Errorf("got %q", got)
	}
	lines := c.OK("FETCH 1 BODY.PEEK[]")
	if len(lines) != 1+1<<16+1 || lines[1<<16] != "0123456789abcd" {
		t.Errorf("%d lines", len(lines))
	}
}
