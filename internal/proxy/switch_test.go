package proxy

import (
	"fmt"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tandemail/tandemail/internal/session"
)

// breakAt returns a tamper that breaks the stream once, at the nth frame for which
// f is true, and calls then.
func breakAt(n int, f func(session.Frame) bool, then func()) func(session.Frame) bool {
	var seen atomic.Int64
	return func(fr session.Frame) bool {
		if !f(fr) || seen.Add(1) != int64(n) {
			return false
		}
		then()
		return true
	}
}

func isDone(f session.Frame) bool { _, ok := f.(session.Done); return ok }
func isUnit(f session.Frame) bool { _, ok := f.(session.Unit); return ok }
func isData(f session.Frame) bool { _, ok := f.(session.Data); return ok }

func TestCommandSentAgainTakesEffectOnce(t *testing.T) {
	for _, command := range []string{
		"APPEND INBOX {14+}\r\nSubject: two\r\n",
		"CREATE Box",
		"RENAME Archive Old",
		"SUBSCRIBE Box",
	} {
		t.Run(strings.Fields(command)[0], func(t *testing.T) {
			r := newRig(t, nil)
			c := r.loggedIn()
			c.OK("APPEND INBOX {14+}\r\nSubject: one\r\n")
			before := len(c.OK("LIST \"\" *"))
			// It is executed, but its answer is lost with the master.
			r.tamperWith(breakAt(1, isDone, func() { r.appoint("m2") }))
			c.OK("%s", command)
			if st := r.server.Stats(); st.Resent != 1 || st.Broken != 1 || st.Resumed != 1 {
				t.Errorf("stats: %+v", st)
			}
			want := map[string]string{"APPEND": "* STATUS INBOX (MESSAGES 2)"}[strings.Fields(command)[0]]
			if got := c.OK("STATUS INBOX (MESSAGES)"); want != "" && got[0] != want {
				t.Errorf("%s, want %s", got[0], want)
			}
			after := len(c.OK("LIST \"\" *"))
			if want := before + map[string]int{"CREATE": 1}[strings.Fields(command)[0]]; after != want {
				t.Errorf("%d mailboxes, want %d", after, want)
			}
		})
	}
}

func TestAnswerThatIsLostIsToldOnceAndWhole(t *testing.T) {
	const fetched = `* 1 FETCH (FLAGS (\Flagged \Recent))`
	for _, tt := range []struct {
		command string
		want    []string
	}{
		{`STORE 1 +FLAGS (\Flagged)`, []string{fetched, "x OK STORE completed"}},
		{`STORE 1 +FLAGS.SILENT (\Flagged)`, []string{fetched, "x OK STORE completed"}}, // who changed it is not known any more
		{"MOVE 1:2 Archive", []string{"* OK [COPYUID 9 1:2 1:2] Moved", "* 2 EXPUNGE", "* 1 EXPUNGE", "x OK MOVE completed"}},
		{"UID MOVE 2:* Archive", []string{"* OK [COPYUID 9 2 1] Moved", "* 2 EXPUNGE", "x OK MOVE completed"}},
		{"APPEND INBOX {1+}\r\nx", []string{"* 3 EXISTS", "* 3 RECENT", "x OK [APPENDUID 9 3] APPEND completed"}},
		{"FETCH 2 FLAGS", []string{`* 2 FETCH (FLAGS (\Recent))`, "x OK FETCH completed"}},
		{"CLOSE", []string{"x OK CLOSE completed"}},
	} {
		for name, at := range map[string]func(session.Frame) bool{"unit": isUnit, "done": isDone} {
			if name == "unit" && (tt.command == "CLOSE" || strings.Contains(tt.command, "SILENT")) {
				continue // it has none
			}
			t.Run(tt.command+" "+name, func(t *testing.T) {
				r := newRig(t, nil)
				c := r.loggedIn()
				c.OK("APPEND INBOX {14+}\r\nSubject: one\r\n")
				c.OK("APPEND INBOX {14+}\r\nSubject: two\r\n")
				c.OK("SELECT INBOX")
				r.tamperWith(breakAt(1, at, func() { r.appoint("m2") }))
				c.Send("x " + tt.command + "\r\n")
				for _, want := range tt.want {
					if got := validity.ReplaceAllString(c.Line(), "UID 9 "); got != want {
						t.Fatalf("got  %q\nwant %q", got, want)
					}
				}
				if st := r.server.Stats(); st.Resent != 1 || st.Resumed != 1 {
					t.Errorf("stats: %+v", st)
				}
				c.OK("NOOP")
			})
		}
	}
}

var validity = regexp.MustCompile(`UID \d{6,} `)

func TestSelectedSessionGoesOnWhenNothingHasChanged(t *testing.T) {
	r := newRig(t, nil)
	c := r.loggedIn()
	c.OK("APPEND INBOX (\\Flagged) {14+}\r\nSubject: one\r\n")
	c.OK("ENABLE CONDSTORE")
	c.OK("SELECT INBOX")
	r.tamperWith(breakAt(1, isDone, func() { r.appoint("m2") }))
	for i := range 2 { // the second time without a break
		got := strings.Join(c.OK("FETCH 1 (FLAGS MODSEQ)"), "\n")
		if !strings.HasPrefix(got, `* 1 FETCH (FLAGS (\Flagged \Recent) MODSEQ (`) || strings.Contains(got, "\n") {
			t.Errorf("fetch %d: %q", i, got)
		}
	}
	got := c.OK("STORE 1 +FLAGS (\\Seen)")
	if !strings.Contains(got[0], "MODSEQ") {
		t.Errorf("CONDSTORE is forgotten: %q", got)
	}
	if st := r.server.Stats(); st.Resumed != 1 {
		t.Errorf("stats: %+v", st)
	}
}

func TestIdleSessionFindsItsMasterAtTheNextCommand(t *testing.T) {
	for _, selected := range []bool{false, true} {
		t.Run(fmt.Sprint("selected=", selected), func(t *testing.T) {
			r := newRig(t, nil)
			c := r.loggedIn()
			if selected {
				c.OK("EXAMINE INBOX")
			}
			r.appoint("m2")
			r.appoint("m1")
			r.appoint("m2")
			c.OK("NOOP")
			if st := r.machines["m2"].host.Stats(); st.Opened == 0 {
				t.Error("the new master was not asked")
			}
		})
	}
}

func TestSelectedSessionIsToldWhatChangedMeanwhile(t *testing.T) {
	r := newRig(t, nil)
	c, other := r.loggedIn(), r.loggedIn()
	for range 3 {
		c.OK("APPEND INBOX {14+}\r\nSubject: one\r\n")
	}
	c.OK("SELECT INBOX")
	other.OK("SELECT INBOX")
	other.OK("APPEND INBOX {14+}\r\nSubject: two\r\n")
	other.OK(`STORE 1,4 +FLAGS (\Deleted)`)
	other.OK("EXPUNGE")
	other.OK(`STORE 2 +FLAGS (Later)`)
	other.OK("APPEND INBOX {14+}\r\nSubject: two\r\n")
	r.appoint("m2")
	// Numbers are those of the client until it is told.
	c.Send("a FETCH 2:3 UID\r\n")
	expect(t, c, "* FLAGS (\\Answered \\Flagged \\Deleted \\Seen \\Draft Later)",
		"* OK [PERMANENTFLAGS (\\Answered \\Flagged \\Deleted \\Seen \\Draft Later \\*)] Flags permitted",
		"* 2 FETCH (UID 2)", "* 3 FETCH (UID 3)",
		"* 5 EXISTS", "* 5 RECENT", "* 3 FETCH (FLAGS (Later \\Recent))", "a OK FETCH completed")
	c.Send("a NOOP\r\n")
	expect(t, c, "* 4 EXPUNGE", "* 1 EXPUNGE", "a OK NOOP completed")
	if got := c.OK("UID SEARCH ALL"); got[0] != "* SEARCH 2 3 5" {
		t.Errorf("in view: %q", got)
	}
}

func TestSessionFromBeforeAForkEnds(t *testing.T) {
	r := newRig(t, nil)
	c := r.loggedIn()
	c.OK("SELECT INBOX")
	r.fork()
	r.appoint("m2")
	c.Send("a NOOP\r\n")
	expect(t, c, "* BYE [UNAVAILABLE] Server changed, connect again")
	if st := r.server.Stats(); st.Byes["not resumable"] != 1 {
		t.Errorf("stats: %+v", st)
	}
	c = r.loggedIn() // in the new history sessions go on as ever
	c.OK("SELECT INBOX")
	r.appoint("m1")
	c.OK("NOOP")
}

func TestSelectedMailboxThatIsGoneEndsTheSession(t *testing.T) {
	r := newRig(t, nil)
	c, other := r.loggedIn(), r.loggedIn()
	c.OK("SELECT Archive")
	other.OK("DELETE Archive")
	r.appoint("m2")
	c.Send("a NOOP\r\n")
	expect(t, c, "* BYE Selected mailbox was deleted")
}

func TestIdleSurvivesASwitch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		c, other := r.loggedIn(), r.loggedIn()
		c.OK("SELECT INBOX")
		c.Send("a IDLE\r\n")
		expect(t, c, "+ idling")
		r.appoint("m2")
		synctest.Wait()
		if st := r.server.Stats(); st.Resumed != 1 || st.Idling != 1 {
			t.Fatalf("stats: %+v", st)
		}
		other.OK("APPEND INBOX {14+}\r\nSubject: one\r\n")
		expect(t, c, "* 1 EXISTS", "* 1 RECENT")
		c.Send("DONE\r\n")
		expect(t, c, "a OK IDLE completed")
		c.OK("NOOP")
	})
}

func TestNotifySurvivesASwitch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		c, other := r.loggedIn(), r.loggedIn()
		c.OK("SELECT INBOX")
		c.OK("NOTIFY SET (selected (MessageNew MessageExpunge)) (personal (MessageNew MessageExpunge MailboxName))")
		r.appoint("m2")
		synctest.Wait()
		if st := r.server.Stats(); st.Resumed != 1 || st.Idling != 1 {
			t.Fatalf("stats: %+v", st)
		}
		// It is told without asking, in the selected mailbox and elsewhere.
		other.OK("APPEND INBOX {14+}\r\nSubject: one\r\n")
		expect(t, c, "* 1 EXISTS", "* 1 RECENT")
		other.OK("CREATE Box")
		expect(t, c, `* LIST (\HasNoChildren) "/" Box`)
		// What happens while nobody is told is told by the next master, once.
		r.appoint("")
		r.appoint("m1")
		other.OK("APPEND Box {14+}\r\nSubject: two\r\n")
		if got := c.Line(); !strings.HasPrefix(got, "* STATUS Box (MESSAGES 1 UIDNEXT 2 ") {
			t.Errorf("got %q", got)
		}
		if got := c.OK("NOOP"); len(got) != 0 {
			t.Errorf("NOOP: %q", got)
		}
	})
}

// TestNotificationThatIsLostIsToldOnce: the master is lost with the unit that tells.
func TestNotificationThatIsLostIsToldOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		c, other := r.loggedIn(), r.loggedIn()
		c.OK("SELECT INBOX")
		c.OK("NOTIFY SET (selected (MessageNew (UID) MessageExpunge)) (personal (MessageNew MessageExpunge))")
		synctest.Wait()
		r.tamperWith(breakAt(1, isUnit, func() { r.appoint("m2") }))
		other.OK("APPEND INBOX {14+}\r\nSubject: one\r\n")
		expect(t, c, "* 1 EXISTS", "* 1 RECENT", "* 1 FETCH (UID 1)")
		c.OK("NOOP")
		synctest.Wait()
		r.tamperWith(breakAt(1, isUnit, func() { r.appoint("m1") }))
		other.OK("APPEND Sent {14+}\r\nSubject: two\r\n")
		if got := c.Line(); !strings.HasPrefix(got, "* STATUS Sent (MESSAGES 1 UIDNEXT 2 ") {
			t.Errorf("got %q", got)
		}
		if got := c.OK("NOOP"); len(got) != 0 {
			t.Errorf("NOOP: %q", got)
		}
	})
}

// TestCommandsDuringAWatchAreTakenWhole: the line that ends a watch is the first of a
// command, and one that was sent ahead begins none.
func TestCommandsDuringAWatchAreTakenWhole(t *testing.T) {
	r := newRig(t, nil)
	c := r.loggedIn()
	c.OK("NOTIFY SET (personal (MessageNew MessageExpunge))")
	c.Send("a APPEND INBOX {14}\r\n")
	expect(t, c, "+ go on")
	c.Send("Subject: one\r\n\r\nb NOOP\r\nc NOOP\r\n")
	if got := c.Line(); !strings.HasPrefix(got, "a OK [APPENDUID ") {
		t.Errorf("got %q", got)
	}
	expect(t, c, "b OK NOOP completed", "c OK NOOP completed")
	for range 19 {
		c.Send("d NONSENSE\r\n")
		expect(t, c, "d BAD Unknown command")
	}
	c.Send("e NONSENSE\r\n")
	expect(t, c, "e BAD Unknown command", "* BYE [CLIENTBUG] Too many errors")
}

func TestIdleTakesOnlyDone(t *testing.T) {
	r := newRig(t, nil)
	c := r.loggedIn()
	c.Send("a IDLE\r\n")
	expect(t, c, "+ idling")
	c.Send("b NOOP\r\n")
	expect(t, c, "a BAD Expected DONE")
	c.OK("NOOP")
}

func TestLogInIsHeldWhileThereIsNoMaster(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		r.appoint("")
		c := r.client()
		c.Send("a LOGIN ann secret\r\n")
		expect(t, c, "* OK Still here") // after 8 seconds
		if st := r.server.Stats(); st.Holding != 1 || st.Held != 1 {
			t.Errorf("stats: %+v", st)
		}
		r.appoint("m2")
		if got := c.Line(); !strings.HasPrefix(got, "a OK ") {
			t.Errorf("log-in: %q", got)
		}
		if holds := r.server.Stats().Holds; holds.Total() != 1 || holds.Sum < 8*time.Second {
			t.Errorf("%d holds of %v in all", holds.Total(), holds.Sum)
		}
		c.OK("NOOP")
	})
}

func TestLogInIsRefusedAfterTheHoldAndMayBeTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		r.appoint("")
		c := r.client()
		start := time.Now()
		c.Send("a LOGIN ann secret\r\n")
		expect(t, c, "* OK Still here", "* OK Still here", "a NO [UNAVAILABLE] Mailbox is not available, try again later")
		if d := time.Since(start); d != 20*time.Second {
			t.Errorf("held for %v", d)
		}
		r.appoint("m1")
		c.OK("LOGIN ann secret")
	})
}

// stillAtWork is the sign of life for the command "a" (RFC 9585).
const stillAtWork = `* OK [INPROGRESS ("a" NIL NIL)] Still here`

func TestSignsOfLifeNameTheCommand(t *testing.T) {
	for tag, want := range map[string]string{
		"":   "* OK Still here\r\n",
		"a":  stillAtWork + "\r\n",
		"a]": "* OK [INPROGRESS (NIL NIL NIL)] Still here\r\n",
	} {
		if got := string(new(imap).alive(tag)); got != want {
			t.Errorf("%q: got %q", tag, got)
		}
	}
}

func TestCommandIsHeldAndThenEndsTheSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		c := r.loggedIn()
		r.appoint("")
		start := time.Now()
		c.Send("a CREATE Box\r\n")
		var got string
		for got = c.Line(); got == stillAtWork; got = c.Line() {
		}
		if got != "* BYE [UNAVAILABLE] Mailbox is not available, try again later" {
			t.Errorf("got %q", got)
		}
		if d := time.Since(start); d < 20*time.Second || d > 21*time.Second {
			t.Errorf("held for %v", d)
		}
	})
}

// TestMasterThatRefusesForeverIsNotAskedForever: a machine that takes sessions and
// then refuses commands counts as no master.
func TestMasterThatRefusesForeverIsNotAskedForever(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		c := r.loggedIn()
		r.tamperWith(func(f session.Frame) bool { return isDone(f) || isUnit(f) })
		c.Send("a CREATE Box\r\n")
		for got := c.Line(); !strings.HasPrefix(got, "* BYE [UNAVAILABLE] Mailbox is not"); got = c.Line() {
			if got != stillAtWork {
				t.Fatal(got)
			}
		}
		if n := r.server.Stats().Resent; n > 100 {
			t.Errorf("sent again %d times in 20 seconds", n)
		}
		r.tamperWith(nil)
		c = r.loggedIn()
		if got := c.OK("LIST \"\" Box"); len(got) != 1 {
			t.Errorf("mailbox: %q", got)
		}
	})
}

func TestSilentMasterIsGivenUpWhenAnotherIsAppointed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		c := r.loggedIn()
		silent := make(chan struct{})
		r.tamperWith(breakAt(1, isDone, func() { <-silent })) // no frame leaves any more
		c.Send("a CREATE Box\r\n")
		synctest.Wait()
		r.appoint("m2")
		synctest.Wait()
		close(silent)
		if got := c.Line(); !strings.HasPrefix(got, "a OK ") {
			t.Errorf("got %q", got)
		}
	})
}
