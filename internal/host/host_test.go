package host

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/google/go-cmp/cmp"

	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/link"
	"github.com/tandemail/tandemail/internal/mail"
	"github.com/tandemail/tandemail/internal/mail/mailtest"
	"github.com/tandemail/tandemail/internal/session"
	"github.com/tandemail/tandemail/internal/spool"
	"github.com/tandemail/tandemail/internal/state"
)

var ann = mail.AccountID{1}

// rig is a host whose slot the test decides about.
type rig struct {
	t     testing.TB
	host  *Host
	twin  *mailtest.Server
	spool *spool.Dir
	wrap  func(mail.Account) mail.Account
	ctx   context.Context
	stop  context.CancelFunc
	wg    sync.WaitGroup

	mu       sync.Mutex
	standing Standing
}

func (r *rig) Account(id mail.AccountID) mail.Account {
	if a := mail.Account(r.twin.Account(id)); r.wrap == nil {
		return a
	}
	return r.wrap(r.twin.Account(id))
}

func (r *rig) Standing() Standing {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.standing
}

func (r *rig) stand(s Standing) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.standing = s
}

func newRig(t testing.TB) *rig {
	t.Helper()
	r := &rig{t: t, twin: mailtest.NewServer(mailtest.Config{}), standing: Standing{Serving: true, Epoch: 5, Known: 5, Master: "m1"}}
	if _, err := r.twin.CreateAccount(ann, state.NewAccount{}); err != nil {
		t.Fatal(err)
	}
	var err error
	if r.spool, err = spool.Open(vfs.NewMem(), "spool", 0); err != nil {
		t.Fatal(err)
	}
	r.host, err = New(Config{
		Slot: func(s cluster.Store) (Slot, error) {
			if s != "s01" {
				return nil, cluster.ErrNotMaster
			}
			return r, nil
		},
		Spool: r.spool, Log: slog.New(slog.DiscardHandler), MaxSessions: 100_000,
	})
	if err != nil {
		t.Fatal(err)
	}
	r.ctx, r.stop = context.WithCancel(context.Background())
	t.Cleanup(func() {
		r.stop()
		r.wg.Wait()
		if n := r.spool.Used(); n != 0 {
			t.Errorf("%d octets are left in the spool", n)
		}
		if n := r.host.Stats().Sessions; n != 0 {
			t.Errorf("%d sessions are left", n)
		}
	})
	return r
}

// front is the front end's end of a stream.
type front struct {
	*link.Frames
	t testing.TB
}

func (r *rig) dial() *front {
	a, b := net.Pipe()
	r.wg.Go(func() { r.host.Serve(r.ctx, "s01", b) })
	f := &front{link.NewFrames(a, Frames()), r.t}
	r.t.Cleanup(f.Abort)
	return f
}

func (f *front) send(frames ...session.Frame) {
	f.t.Helper()
	for _, fr := range frames {
		if err := session.Send(context.Background(), f, fr); err != nil {
			f.t.Fatal(err)
		}
	}
}

func (f *front) receive() session.Frame {
	f.t.Helper()
	fr, err := session.Receive(f)
	if err != nil {
		f.t.Fatal(err)
	}
	return fr
}

func (f *front) failed(r session.Reason) session.Failed {
	f.t.Helper()
	got := f.receive()
	fail, ok := got.(session.Failed)
	if !ok || fail.Reason != r {
		f.t.Fatalf("got %+v, want Failed: %v", got, r)
	}
	return fail
}

func open() session.Open {
	return session.Open{
		Version: session.Version, Session: mail.SessionID{7}, Protocol: session.IMAP, Account: ann, User: "ann", Epoch: 5,
	}
}

// opened opens a session.
func (r *rig) opened() *front {
	r.t.Helper()
	f := r.dial()
	f.send(open())
	if got := f.receive(); got != (session.Opened{Version: session.Version, Epoch: 5}) {
		r.t.Fatalf("got %+v", got)
	}
	return f
}

func command(n uint64, text string) session.Command {
	return session.Command{Number: n, Last: true, Octets: []byte(text + "\r\n")}
}

// run executes a command and applies what is told to t.
func (f *front) run(n uint64, text string, t *session.Token) {
	f.t.Helper()
	f.send(command(n, text))
	for {
		var d session.Delta
		done := false
		switch fr := f.receive().(type) {
		case session.Unit:
			d = fr.Delta
		case session.Done:
			d, done = fr.Delta, true
			if !bytes.Contains(fr.Line, []byte(" OK ")) {
				f.t.Fatalf("%s: %q", text, fr.Line)
			}
		default:
			f.t.Fatalf("%s: %+v", text, fr)
		}
		if err := t.Apply(d); err != nil {
			f.t.Fatal(err)
		}
		if done {
			return
		}
	}
}

func TestOnlyTheMasterTakesSessions(t *testing.T) {
	for name, tt := range map[string]struct {
		standing Standing
		known    cluster.Epoch
	}{
		"replica":            {Standing{Epoch: 5, Known: 6, Master: "m2"}, 6},
		"no master is known": {Standing{Epoch: 5, Known: 5}, 5},
		"behind":             {Standing{Serving: true, Epoch: 4, Known: 4, Master: "m1"}, 4},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			r.stand(tt.standing)
			f := r.dial()
			f.send(open())
			got := f.failed(session.Moved)
			if got.Epoch != tt.known || tt.standing.Master == "m2" && !strings.Contains(got.Text, "m2") {
				t.Errorf("told %+v", got)
			}
		})
	}
}

func TestStoreThatIsNotHereIsElsewhere(t *testing.T) {
	r := newRig(t)
	a, b := net.Pipe()
	r.wg.Go(func() { r.host.Serve(r.ctx, "s02", b) })
	f := &front{link.NewFrames(a, Frames()), t}
	f.send(open())
	f.failed(session.Moved)
}

func TestCommandRunsOnlyInTheEpochOfTheSession(t *testing.T) {
	for name, later := range map[string]Standing{
		"replica now":   {Epoch: 6, Known: 6, Master: "m2"},
		"master again":  {Serving: true, Epoch: 7, Known: 7, Master: "m1"},
		"closing, idle": {},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			f := r.opened()
			r.stand(later)
			f.send(command(1, "a CREATE Box"))
			if got := f.failed(session.Moved); got.Command != 1 {
				t.Errorf("told %+v", got)
			}
			v, err := r.twin.Account(ann).View(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			defer v.Close()
			if _, err := v.Lookup("Box"); !errors.Is(err, mail.ErrNoMailbox) {
				t.Errorf("the command was executed: %v", err)
			}
		})
	}
}

func TestSessionsAreLimited(t *testing.T) {
	r := newRig(t)
	r.host.cfg.MaxSessions = 1
	r.opened()
	f := r.dial()
	f.failed(session.Busy)
}

func TestBrokenProtocolEndsTheSession(t *testing.T) {
	wrong := open()
	wrong.Version = 9
	other := open()
	other.Protocol = session.POP3 + 1
	for name, frames := range map[string][]session.Frame{
		"no Open":             {session.Close{}},
		"version":             {wrong},
		"protocol":            {other},
		"second Open":         {open(), open()},
		"number 0":            {open(), command(0, "a NOOP")},
		"no end":              {open(), session.Command{Number: 1, Last: true, Octets: []byte("a NOOP")}},
		"two commands":        {open(), command(1, "a NOOP\r\nb NOOP")},
		"piece of another":    {open(), session.Command{Number: 1, Octets: []byte("a ")}, command(2, "NOOP")},
		"second during first": {open(), command(1, "a IDLE"), command(2, "a NOOP")},
		"frame of a master":   {open(), session.Opened{}},
	} {
		t.Run(name, func(t *testing.T) {
			f := newRig(t).dial()
			f.send(frames...)
			for {
				switch got := f.receive().(type) {
				case session.Opened, session.Unit:
					continue
				case session.Failed:
					if got.Reason == session.Violation {
						return
					}
				default:
					t.Fatalf("got %+v", got)
				}
			}
		})
	}
}

// broken panics when a mailbox is looked at.
type broken struct{ mail.Account }

func (broken) Watch(mail.MailboxID) (<-chan struct{}, func()) { panic("test") }

func TestPanicEndsItsSessionOnly(t *testing.T) {
	r := newRig(t)
	good := r.opened()
	r.wrap = func(a mail.Account) mail.Account { return broken{a} }
	f := r.opened()
	var token session.Token
	f.run(1, "a SELECT INBOX", &token)
	f.send(command(2, "a IDLE"))
	if got := f.failed(session.Broken); got.Command != 2 || got.Text != "internal error" {
		t.Errorf("told %+v", got)
	}
	good.run(1, "a NOOP", new(session.Token))
	if n := r.host.Stats().Panics; n != 1 {
		t.Errorf("counted %d", n)
	}
}

func TestCommandsAreCountedByNameAndResult(t *testing.T) {
	r := newRig(t)
	f, token := r.opened(), &session.Token{Account: ann, User: "ann"}
	for i, refused := range []string{"SELECT Nowhere", "FROBNICATE", "FETCH"} {
		f.send(command(uint64(i+1), "a "+refused))
		if _, ok := f.receive().(session.Done); !ok {
			t.Fatalf("%s is not just refused", refused)
		}
	}
	for i, text := range []string{"SELECT INBOX", "UID SEARCH ALL", "SEARCH ALL", "SELECT INBOX"} {
		f.run(uint64(i+4), "a "+text, token)
	}
	o := open()
	var err error
	if o.Token, err = token.Append(nil); err != nil {
		t.Fatal(err)
	}
	again := r.dial()
	again.send(o)
	if _, ok := again.receive().(session.Opened); !ok {
		t.Fatal("not opened")
	}
	want := map[Answered]int64{
		{"SELECT", "OK"}: 2, {"SELECT", "NO"}: 1, {"UID SEARCH", "OK"}: 1, {"SEARCH", "OK"}: 1, {"FETCH", "BAD"}: 1, {"other", "BAD"}: 1,
	}
	if diff := cmp.Diff(want, r.host.Stats().Answered); diff != "" {
		t.Errorf("counted (-want +got):\n%s", diff)
	}
}

func TestStoppingServerSendsSessionsAway(t *testing.T) {
	r := newRig(t)
	quiet, idle := r.opened(), r.opened()
	idle.send(command(1, "a IDLE"))
	idle.receive()
	r.stop()
	if got := quiet.failed(session.Busy); got.Command != 0 {
		t.Errorf("told %+v", got)
	}
	if got := idle.failed(session.Busy); got.Command != 1 {
		t.Errorf("told %+v", got)
	}
}

func TestCloseFinishesWhatHasBegun(t *testing.T) {
	r := newRig(t)
	f := r.opened()
	f.send(command(1, "a IDLE"))
	f.receive()
	f.send(session.Close{})
	for {
		if _, ok := f.receive().(session.Done); ok {
			return
		}
	}
}

func TestLargeLiteralIsSpooledAndRemoved(t *testing.T) {
	r := newRig(t)
	f := r.opened()
	text := strings.Repeat("0123456789abcd\r\n", 1<<15)
	f.send(session.Command{Number: 1, Octets: []byte("a APPEND INBOX {524288}\r\n")})
	for p := text; p != ""; p = p[4096:] {
		f.send(session.Command{Number: 1, Octets: []byte(p[:4096])})
	}
	f.run(1, "", new(session.Token))
	f.run(2, "a NOOP", new(session.Token))
	if n := r.spool.Used(); n != 0 {
		t.Errorf("%d octets are left in the spool", n)
	}
	f.send(session.Command{Number: 3, Octets: []byte("a APPEND INBOX {524288}\r\n" + text[:4000])})
	f.Abort() // in the middle of it; the rig looks into the spool at the end
}

func TestTokenIsRedeemedOnlyIfThePictureIsKnown(t *testing.T) {
	tests := map[string]struct {
		between string               // by another session
		spoil   func(*session.Token) // what is wrong with it
		want    session.Reason       // 0: redeemed
	}{
		"unchanged":      {},
		"other mailbox":  {between: "x APPEND Archive {1+}\r\nx"},
		"new message":    {between: "x APPEND INBOX {1+}\r\nx"},
		"flags changed":  {between: "x STORE 1 +FLAGS (\\Seen)"},
		"message gone":   {between: "x MOVE 1 Archive"},
		"other user":     {spoil: func(t *session.Token) { t.User = "bob" }, want: session.NotResumable},
		"other account":  {spoil: func(t *session.Token) { t.Account[0]++ }, want: session.NotResumable},
		"other messages": {spoil: func(t *session.Token) { t.Selected.Sum++ }, want: session.NotResumable},
		"other number":   {spoil: func(t *session.Token) { t.Selected.Count++ }, want: session.NotResumable},
		"ahead":          {spoil: func(t *session.Token) { t.Selected.Flags++ }, want: session.NotResumable},
		"UIDs ahead":     {spoil: func(t *session.Token) { t.Selected.UIDNext++ }, want: session.NotResumable},
		"UIDVALIDITY":    {spoil: func(t *session.Token) { t.Selected.UIDValidity++ }, want: session.NotResumable},
		"another fork":   {spoil: func(t *session.Token) { t.Fork++ }, want: session.NotResumable},
		"a search":       {spoil: func(t *session.Token) { t.Contexts = make([]session.Context, 1) }, want: session.NotResumable},
		"a saved result": {spoil: func(t *session.Token) { t.Saved = mail.UIDSet{{Lo: 1, Hi: 1}} }},
		"mailbox gone":   {spoil: func(t *session.Token) { t.Selected.Mailbox[0]++ }, want: session.Gone},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			first := r.opened()
			token := &session.Token{Account: ann, User: "ann"}
			first.run(1, "a APPEND INBOX {1+}\r\nx", token)
			first.run(2, "a ENABLE UTF8=ACCEPT", token)
			first.run(3, "a SELECT INBOX", token)
			if tt.between != "" {
				other := open()
				other.Session[0]++
				f := r.dial()
				f.send(other)
				f.receive()
				f.run(1, "x SELECT INBOX", new(session.Token))
				f.run(2, tt.between, &session.Token{Selected: new(session.Selected)})
			}
			if tt.spoil != nil {
				tt.spoil(token)
			}
			o := open()
			var err error
			if o.Token, err = token.Append(nil); err != nil {
				t.Fatal(err)
			}
			f := r.dial()
			f.send(o)
			if tt.want != 0 {
				f.failed(tt.want)
				return
			}
			if _, ok := f.receive().(session.Opened); !ok {
				t.Fatal("not opened")
			}
			f.run(4, "a SEARCH 1", token) // it is there as far as the client knows
			if n := r.host.Stats().Redeemed; n != 1 {
				t.Errorf("counted %d", n)
			}
		})
	}
}

// BenchmarkIdleSession measures what an idle session with a selected mailbox costs
// the master, the stream's own buffers below the frames and the test's end, which
// is about 8 KiB, included.
func BenchmarkIdleSession(b *testing.B) {
	r := newRig(b)
	used := func() uint64 {
		runtime.GC()
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapInuse + m.StackInuse
	}
	r.opened().run(1, "a SELECT INBOX", new(session.Token))
	before := used()
	for b.Loop() {
		r.opened().run(1, "a SELECT INBOX", new(session.Token))
	}
	b.ReportMetric(float64(used()-before)/float64(b.N), "octets/session")
}
