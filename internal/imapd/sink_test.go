package imapd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/tandemail/tandemail/internal/imapwire"
	"github.com/tandemail/tandemail/internal/mail"
	"github.com/tandemail/tandemail/internal/session"
)

// transcript is a sink that writes down what it is given and keeps the token.
type transcript struct {
	t      testing.TB
	token  session.Token
	view   clientView
	frames []string // "unit ...", "stream uid item length", "done ..."
	done   int
	fail   error // returned by Unit
	lost   bool  // what comes reaches nobody
}

func (x *transcript) forward(octets []byte, d session.Delta) {
	if err := x.token.Apply(d); err != nil {
		x.t.Error(err)
	}
	if d.Selected != nil {
		x.view = clientView{}
	}
	x.view.read(octets)
	if sel := x.token.Selected; sel != nil && int(sel.Count) != x.view.messages {
		x.t.Errorf("the client knows of %d messages, the token of %d, after %.200q", x.view.messages, sel.Count, octets)
	}
}

func (x *transcript) Unit(_ context.Context, u session.Unit) error {
	if x.lost {
		return nil
	}
	x.forward(u.Octets, u.Delta)
	x.frames = append(x.frames, "unit "+string(u.Octets))
	return x.fail
}

func (x *transcript) Stream(_ context.Context, st session.Stream, r io.Reader) error {
	n, err := io.Copy(io.Discard, r)
	if err == nil && n != st.Length-st.Offset {
		err = fmt.Errorf("stream of %d octets, not %d", n, st.Length-st.Offset)
	}
	if x.lost {
		return err
	}
	x.frames = append(x.frames, fmt.Sprintf("stream %d %d %d", st.UID, st.Item, st.Length))
	return err
}

func (x *transcript) Done(_ context.Context, d session.Done) error {
	if x.lost {
		return nil
	}
	x.forward(nil, d.Delta)
	x.token.Complete(d.Command)
	x.frames = append(x.frames, "done "+string(d.Line))
	x.done++
	return nil
}

// raw is the one command that s is.
func raw(t testing.TB, s string) imapwire.Raw {
	t.Helper()
	c := imapwire.NewCollector(imapwire.Limits{}, nil)
	n, step, err := c.Feed([]byte(s + "\r\n"))
	if step == imapwire.NeedContinue {
		t.Fatalf("%.80q waits for a continuation", s)
	}
	if step != imapwire.Whole || err != nil || n != len(s)+2 {
		t.Fatalf("%.80q is not one command: %v, %v", s, step, err)
	}
	return c.Take()
}

// direct is a session without a connection.
type direct struct {
	*Session
	*transcript
	next uint64
}

// testPictures are shared by all tests' sessions, however small.
var testPictures = func() *Pictures {
	p := NewPictures()
	p.least = 1
	return p
}()

func newDirect(t testing.TB, a mail.Account, id byte) *direct {
	x := &transcript{t: t}
	return &direct{New(Config{Account: a, Session: mail.SessionID{id}, User: "ann", Sink: x, Now: testNow, Pictures: testPictures}), x, 0}
}

// run executes a command and returns all it answered, as it goes over the wire.
func (d *direct) run(command string) (string, error) {
	d.t.Helper()
	d.next++
	d.frames = nil
	err := d.Execute(d.t.Context(), Command{Number: d.next, Raw: raw(d.t, command)})
	var b strings.Builder
	for _, s := range d.frames {
		kind, rest, _ := strings.Cut(s, " ")
		if kind == "stream" {
			rest = "<" + rest + ">"
		}
		b.WriteString(rest)
	}
	return b.String(), err
}

// ok is run for a command that must succeed.
func (d *direct) ok(format string, args ...any) string {
	d.t.Helper()
	out, err := d.run("x " + fmt.Sprintf(format, args...))
	if err != nil || !strings.Contains(out, "x OK ") {
		d.t.Fatalf("%s: %s, %v", fmt.Sprintf(format, args...), out, err)
	}
	return out
}

// fill appends n small messages to INBOX.
func (d *direct) fill(n int) {
	d.t.Helper()
	for n > 0 {
		k := min(n, 500)
		d.ok("APPEND INBOX%s", strings.Repeat(" {13+}\r\nSubject: x\r\n\n", k))
		n -= k
	}
}

func TestLargeLiteralsAreStreamedAndSmallMessagesShareUnits(t *testing.T) {
	d := newDirect(t, newAccount(t), 1)
	d.fill(3)
	big := strings.Repeat("0123456789abcde\n", 2000)
	d.ok("APPEND INBOX {%d+}\r\n%s", len("Subject: big\n\n"+big), "Subject: big\n\n"+big)
	d.fill(1)
	d.ok("SELECT INBOX")
	d.ok("FETCH 1:5 (UID BODY.PEEK[HEADER] BODY.PEEK[TEXT] BODY.PEEK[TEXT]<5.20000>)")
	want := []string{
		"unit * 1 FETCH (UID 1 BODY[HEADER] {14}\r\nSubject: x\r\n\r\n BODY[TEXT] {0}\r\n BODY[TEXT]<5> {0}\r\n)\r\n",
		"unit * 4 FETCH (UID 4 BODY[HEADER] {16}\r\nSubject: big\r\n\r\n BODY[TEXT] {34000}\r\n",
		"stream 4 0 34000",
		"unit  BODY[TEXT]<5> {20000}\r\n",
		"stream 4 1 20000",
		"unit )\r\n* 5 FETCH",
		"done x OK FETCH completed\r\n",
	}
	if len(d.frames) != len(want) {
		t.Fatalf("got %q", d.frames)
	}
	for i, w := range want {
		if !strings.HasPrefix(d.frames[i], w) {
			t.Errorf("%d:\n got %.300q\nwant %q", i, d.frames[i], w)
		}
	}
	if strings.Count(d.frames[0], "FETCH (") != 3 {
		t.Errorf("messages 1 to 3 are not one unit: %q", d.frames[0])
	}
}

func TestFetchOfManyMessagesLeavesInLargeUnits(t *testing.T) {
	d := newDirect(t, newAccount(t), 1)
	d.fill(6000)
	d.ok("SELECT INBOX")
	all := d.ok("FETCH 1:* (UID FLAGS RFC822.SIZE INTERNALDATE)")
	if n := len(d.frames); n < 3 || n > 12 {
		t.Errorf("%d frames for %d octets", n, len(all))
	}
	for _, u := range d.frames {
		if len(u) > 2*unitSize || strings.HasPrefix(u, "unit ") && !strings.HasSuffix(u, ")\r\n") {
			t.Errorf("unit of %d octets ends with %q", len(u), u[len(u)-20:])
		}
	}
}

func TestLargeSetsAreChangedInChunks(t *testing.T) {
	n := mail.MaxTouched*2 + 7
	a := newAccount(t)
	d := newDirect(t, a, 1)
	other := newDirect(t, a, 2)
	d.fill(n)
	d.ok("SELECT INBOX")
	other.ok("SELECT INBOX")
	out := d.ok("STORE 1:* +FLAGS (\\Deleted)")
	if got := strings.Count(out, "FETCH (FLAGS (\\Deleted \\Recent))"); got != n {
		t.Errorf("%d of %d messages echoed", got, n)
	}
	d.ok("FETCH 1:* (BODY[])")
	out = d.ok("SEARCH RETURN (COUNT) SEEN DELETED")
	if want := fmt.Sprintf("COUNT %d\r\n", n); !strings.Contains(out, want) {
		t.Errorf("got %s", out)
	}
	out = d.ok("MOVE 1:%d Archive", mail.MaxTouched+1)
	if strings.Count(out, "[COPYUID ") != 2 || strings.Count(out, " EXPUNGE\r\n") != mail.MaxTouched+1 {
		t.Errorf("MOVE answered %.300s", out)
	}
	out = d.ok("EXPUNGE")
	if got := strings.Count(out, " EXPUNGE\r\n"); got != n-mail.MaxTouched-1 {
		t.Errorf("%d of %d messages expunged", got, n-mail.MaxTouched-1)
	}
	other.ok("NOOP")
	if other.token.Selected.Count != 0 || other.token.Selected.Sum != 0 {
		t.Errorf("the other session still sees %d messages", other.token.Selected.Count)
	}
}

// TestRepeatedCommandsHaveOneEffectAndOneAnswer: what a front end does after a
// change of master.
func TestRepeatedCommandsHaveOneEffectAndOneAnswer(t *testing.T) {
	a := newAccount(t)
	first := newDirect(t, a, 1)
	first.fill(4)
	first.ok("SELECT INBOX")
	for _, command := range []string{
		"x APPEND Sent {1+}\r\nx", "x COPY 1:2 Archive", "x CREATE new", "x RENAME new newer", "x DELETE newer",
		"x STORE 1 +FLAGS (\\Deleted)", "x FETCH 2 BODY[]",
	} {
		want, err := first.run(command)
		if err != nil {
			t.Fatalf("%s: %v", command, err)
		}
		again := newDirect(t, a, 1)
		again.next = first.next // SELECT changes nothing and has no id
		again.ok("SELECT INBOX")
		again.next = first.next - 1
		got, err := again.run(command)
		if err != nil || tagged(got) != tagged(want) {
			t.Errorf("%s:\n first %s\n again %s, %v", command, want, got, err)
		}
	}
	out := first.ok("STATUS Sent (MESSAGES)") + first.ok("STATUS Archive (MESSAGES)")
	if strings.Count(out, "MESSAGES 1)") != 1 || strings.Count(out, "MESSAGES 2)") != 1 {
		t.Errorf("got %s", out)
	}
}

func tagged(out string) string { return out[strings.LastIndex(out, "x "):] }

// failing is an account whose changes and views fail.
type failing struct {
	mail.Account
	do, view error
}

func (f *failing) Do(ctx context.Context, req mail.Request) (mail.Result, error) {
	if f.do != nil {
		return mail.Result{}, f.do
	}
	return f.Account.Do(ctx, req)
}

func (f *failing) View(ctx context.Context) (mail.View, error) {
	if f.view != nil {
		return nil, f.view
	}
	return f.Account.View(ctx)
}

func TestErrorsOfThePlaceEndTheSessionAndOthersTheCommand(t *testing.T) {
	for _, x := range []struct {
		err    error
		answer string // "" : the session ends
		reason session.Reason
	}{
		{mail.ErrMoved, "", session.Moved},
		{mail.ErrBusy, "", session.Busy},
		{mail.ErrUnknown, "", session.Unknown},
		{mail.ErrOldCommand, "", session.NotResumable},
		{context.Canceled, "", session.Busy},
		{mail.ErrOverQuota, "x NO [OVERQUOTA] Over quota\r\n", 0},
		{mail.ErrFrozen, "x NO [INUSE] Account takes no changes for the moment\r\n", 0},
		{mail.ErrFull, "x NO [UNAVAILABLE] Server has no space for new messages\r\n", 0},
		{mail.ErrLimit, "x NO [LIMIT] Over a limit of the server\r\n", 0},
		{errors.New("slice bounds out of range"), "x NO [UNAVAILABLE] Temporary failure, try again later\r\n", 0},
	} {
		f := &failing{Account: newAccount(t), do: fmt.Errorf("propose: %w", x.err)}
		d := newDirect(t, f, 1)
		out, err := d.run("x CREATE y")
		if x.answer == "" {
			if !errors.Is(err, x.err) || ReasonOf(err) != x.reason || d.done != 0 {
				t.Errorf("%v: got %q, %v", x.err, out, err)
			}
		} else if err != nil || out != x.answer {
			t.Errorf("%v: got %q, %v", x.err, out, err)
		}
	}
}

func TestMovedAccountIsNoticedByReads(t *testing.T) {
	f := &failing{Account: newAccount(t)}
	d := newDirect(t, f, 1)
	d.ok("SELECT INBOX")
	f.view = mail.ErrMoved
	if _, err := d.run("x NOOP"); ReasonOf(err) != session.Moved {
		t.Errorf("got %v", err)
	}
}

func TestLostFrontEndEndsTheCommand(t *testing.T) {
	d := newDirect(t, newAccount(t), 1)
	d.fail = errors.New("connection reset")
	if _, err := d.run("x CAPABILITY"); !errors.Is(err, d.fail) || d.done != 0 {
		t.Errorf("got %v", err)
	}
}

func TestFailedSeenDoesNotKeepMessagesFromBeingRead(t *testing.T) {
	f := &failing{Account: newAccount(t)}
	d := newDirect(t, f, 1)
	d.fill(1)
	d.ok("SELECT INBOX")
	f.do = mail.ErrFrozen
	if out := d.ok("FETCH 1 BODY[]"); !strings.Contains(out, "Subject: x") || strings.Contains(out, "FLAGS") {
		t.Errorf("got %s", out)
	}
	f.do = mail.ErrMoved
	if _, err := d.run("x FETCH 1 BODY[]"); !errors.Is(err, mail.ErrMoved) {
		t.Errorf("got %v", err)
	}
}

// counting is an account that counts its views and those left open.
type counting struct {
	mail.Account
	views, open int
}

type counted struct {
	mail.View
	a *counting
}

func (a *counting) View(ctx context.Context) (mail.View, error) {
	v, err := a.Account.View(ctx)
	a.views++
	a.open++
	return counted{v, a}, err
}

func (v counted) Close() {
	v.a.open--
	v.View.Close()
}

func TestLongCommandsDoNotHoldOneViewAndNoneIsLeftOpen(t *testing.T) {
	a := &counting{Account: newAccount(t)}
	d := newDirect(t, a, 1)
	now := testTime
	d.cfg.Now = func() time.Time { now = now.Add(maxViewAge / 4); return now }
	d.fill(2000)
	d.ok("SELECT INBOX")
	a.views = 0
	out := d.ok("FETCH 1:* (UID BODY.PEEK[HEADER])")
	if n := strings.Count(out, "Subject: x"); n != 2000 {
		t.Errorf("%d of 2000 messages", n)
	}
	if a.views < 100 {
		t.Errorf("%d views in a very long command", a.views)
	}
	for _, command := range []string{
		"NOOP", "SEARCH TEXT x", "STORE 1 +FLAGS (\\Deleted)", "EXPUNGE", "COPY 1:3 Sent", "LIST \"\" *", "FROB", "CLOSE",
	} {
		if _, err := d.run("x " + command); err != nil || a.open != 0 {
			t.Errorf("%s: %d views are open, %v", command, a.open, err)
		}
	}
}
