package proxy

import (
	"bufio"
	"fmt"
	"io"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/mail"
	"github.com/tandemail/tandemail/internal/session"
)

// plainClient reads octets, not responses.
type plainClient struct {
	t  *testing.T
	nc io.ReadWriter
	in *bufio.Reader
}

// selected is a client that has INBOX selected.
func (r *rig) selected(t *testing.T) *plainClient {
	t.Helper()
	nc := r.conns.dial()
	t.Cleanup(func() { _ = nc.Close() })
	c := &plainClient{t, nc, bufio.NewReader(nc)}
	if _, err := c.in.ReadString('\n'); err != nil { // the greeting
		t.Fatal(err)
	}
	c.run("LOGIN ann secret")
	c.run("SELECT INBOX")
	return c
}

// run gives all octets of the answer, or those before the connection's end.
func (c *plainClient) run(command string) string {
	c.t.Helper()
	if _, err := io.WriteString(c.nc, "zz "+command+"\r\n"); err != nil {
		c.t.Fatal(err)
	}
	var all strings.Builder
	for {
		l, err := c.in.ReadString('\n')
		all.WriteString(l)
		if err != nil || strings.HasPrefix(l, "zz ") {
			return all.String()
		}
	}
}

// fillForFetch appends messages whose answers take streams, and units with many.
func fillForFetch(r *rig) {
	c := r.loggedIn()
	for i, size := range []int{100, 100_000, 10_000, 700_000, 50} {
		c.OK("APPEND INBOX {%d+}\r\nSubject: %d\r\n\r\n%s", size+14, i, strings.Repeat("0123456789abcde\n", size/16+1)[:size])
	}
	for range 40 {
		c.OK("APPEND INBOX {%d+}\r\n%s", 12_000, strings.Repeat("0123456789abcde\n", 750))
	}
}

// breaks breaks streams at a frame, of any kind, then and again.
func breaks(r *rig, at int, then func()) *atomic.Int64 {
	var seen atomic.Int64
	r.tamperWith(func(f session.Frame) bool {
		if _, opened := f.(session.Opened); opened || seen.Add(1) != int64(at) {
			return false
		}
		then()
		return true
	})
	return &seen
}

// TestFetchIsWholeWhereverItBreaks: the client does not see that its master was
// replaced, at whatever frame, in one octet.
func TestFetchIsWholeWhereverItBreaks(t *testing.T) {
	wholeWhereverItBreaks(t, 20, func(*plainClient) string { return "FETCH 1:* (UID FLAGS BODY.PEEK[] BODY.PEEK[TEXT]<20.80000>)" })
}

func TestURLFetchIsWholeWhereverItBreaks(t *testing.T) {
	wholeWhereverItBreaks(t, 10, func(c *plainClient) string {
		var urls, command strings.Builder
		for uid := range 6 {
			fmt.Fprintf(&urls, " imap://ann@h/INBOX/;uid=%d;urlauth=authuser INTERNAL", uid+1)
		}
		for i, url := range regexp.MustCompile(`"imap://[^"]*"`).FindAllString(c.run("GENURLAUTH"+urls.String()), -1) {
			fmt.Fprintf(&command, []string{" %s", " (%s BODYPARTSTRUCTURE BINARY)"}[i%2], url)
		}
		return "URLFETCH" + command.String()
	})
}

func wholeWhereverItBreaks(t *testing.T, least int, of func(*plainClient) string) {
	r := newRig(t, nil)
	fillForFetch(r)
	c := r.selected(t)
	command := of(c)
	seen := breaks(r, 0, nil)
	want := c.run(command)
	frames := int(seen.Load())
	if frames < least || len(want) < 800_000 || !strings.HasSuffix(want, "FETCH completed\r\n") {
		t.Fatalf("%d frames, %q", frames, want[len(want)-50:])
	}
	masters := []string{"m2", "m1"}
	for at := 1; at <= frames; at++ {
		breaks(r, at, func() { r.appoint(cluster.Machine(masters[at%2])) })
		if got := c.run(command); got != want {
			i := 0
			for i < min(len(got), len(want)) && got[i] == want[i] {
				i++
			}
			t.Fatalf("frame %d of %d: octet %d is %.80q, want %.80q", at, frames, i, got[i:], want[i:])
		}
	}
	if st := r.server.Stats(); int(st.Resumed) != frames {
		t.Errorf("%d sessions went on, of %d", st.Resumed, frames)
	}
}

// TestFetchBreaksTwice: what was told before the first break is remembered at the
// second.
func TestFetchBreaksTwice(t *testing.T) {
	r := newRig(t, nil)
	fillForFetch(r)
	c := r.selected(t)
	want := c.run("FETCH 1:* BODY.PEEK[]")
	var seen atomic.Int64
	r.tamperWith(func(f session.Frame) bool {
		if _, opened := f.(session.Opened); opened || seen.Add(1)%4 != 0 {
			return false
		}
		r.appoint("m2")
		return true
	})
	if got := c.run("FETCH 1:* BODY.PEEK[]"); got != want {
		t.Errorf("%d octets, want %d", len(got), len(want))
	}
	if st := r.server.Stats(); st.Resumed < 2 {
		t.Errorf("stats: %+v", st)
	}
}

func TestLiteralOfAMessageThatIsGoneEndsTheSession(t *testing.T) {
	r := newRig(t, nil)
	fillForFetch(r)
	c := r.selected(t)
	r.tamperWith(breakAt(2, isData, func() {
		r.expunge(t, 4)
		r.appoint("m2")
	}))
	// What is told inside a literal would be taken for its octets.
	if got := c.run("FETCH 4 (UID BODY.PEEK[])"); !strings.HasPrefix(got, "* 4 FETCH (UID 4 BODY[] {") || len(got) < 200_000 || strings.Contains(got, "BYE") {
		t.Errorf("%d octets, ending with %.100q", len(got), got[max(0, len(got)-100):])
	}
	if st := r.server.Stats(); st.Byes["not resumable"] != 1 {
		t.Errorf("stats: %+v", st)
	}
}

// expunge removes a message of INBOX, as another session would.
func (r *rig) expunge(t *testing.T, uid mail.UID) {
	a := r.twin.Account(accounts["ann"])
	v, err := a.View(t.Context())
	if err != nil {
		t.Error(err)
		return
	}
	inbox, err := v.Lookup(mail.Inbox)
	v.Close()
	if err != nil {
		t.Error(err)
	}
	for _, op := range []mail.Op{
		mail.Store{Mailbox: inbox.ID, UIDs: mail.UIDSet{}.Add(uid), Mode: mail.AddFlags, Flags: mail.Deleted},
		mail.Expunge{Mailbox: inbox.ID, UIDs: mail.UIDSet{}.Add(uid)},
	} {
		if _, err := a.Do(t.Context(), mail.Request{Op: op}); err != nil {
			t.Error(err)
		}
	}
}
