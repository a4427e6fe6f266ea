package slot

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tandemail/tandemail/internal/mail"
	"github.com/tandemail/tandemail/internal/state"
)

// ledger is what writers were told.
type ledger struct {
	scale int // of the messages' sizes

	mu    sync.Mutex
	acked map[string]mail.UID // subject to UID
}

// text is message i of a writer.
func (l *ledger) text(writer, i int) string {
	subject := fmt.Sprintf("w%d-%d", writer, i)
	return "Subject: " + subject + "\r\n\r\n" + strings.Repeat(subject[:1], l.scale*i%(3000*l.scale)) + "\r\n"
}

func (l *ledger) note(t testing.TB, subject string, out []state.RecipientOutcome) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(out) != 1 || out[0].Code != state.Done || out[0].Result.UIDs.Len() != 1 {
		t.Errorf("delivery of %s: %+v", subject, out)
		return
	}
	l.acked[subject] = out[0].Result.UIDs[0].Lo
}

func (l *ledger) len() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.acked)
}

// writer delivers messages until ctx ends, each again under its transaction until
// it is told what became of it, by whoever is master then.
func (l *ledger) writer(ctx context.Context, t testing.TB, w *world, number int) {
	pause := time.NewTicker(2 * time.Millisecond)
	defer pause.Stop()
	for i := 0; ctx.Err() == nil; i++ {
		subject := fmt.Sprintf("w%d-%d", number, i)
		d := Delivery{
			Octets:     []byte(l.text(number, i)),
			Recipients: []state.Recipient{{Account: accountID}},
		}
		binary.BigEndian.PutUint32(d.Transaction[:], uint32(number+1))
		binary.BigEndian.PutUint32(d.Transaction[4:], uint32(i+1))
		for ctx.Err() == nil {
			if s := w.master(); s != nil {
				if out, err := s.Deliver(ctx, d); err == nil {
					l.note(t, subject, out)
					break
				}
			}
			<-pause.C
		}
	}
}

// stored reads every message of a mailbox: subjects with their UIDs.
func stored(t testing.TB, s *Slot, mailbox string) map[mail.UID]string {
	t.Helper()
	got := octetsOf(t, s, mailbox)
	for uid, octets := range got {
		head, _, _ := strings.Cut(octets, "\r\n")
		got[uid] = strings.TrimPrefix(head, "Subject: ")
	}
	return got
}

// octetsOf reads every message of a mailbox.
func octetsOf(t testing.TB, s *Slot, mailbox string) map[mail.UID]string {
	t.Helper()
	v, err := s.Account(accountID).View(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	inbox, err := v.Lookup(mailbox)
	if err != nil {
		t.Fatal(err)
	}
	got := map[mail.UID]string{}
	for msg, err := range v.Messages(inbox.ID, 1, inbox.UIDNext) {
		if err != nil {
			t.Fatal(err)
		}
		c, err := v.Open(t.Context(), msg)
		if err != nil {
			t.Fatal(err)
		}
		b := make([]byte, c.Size())
		_, err = c.ReadAt(b, 0)
		if err = errors.Join(err, c.Close()); err != nil {
			t.Fatalf("message %d: %v", msg.UID, err)
		}
		if _, twice := got[msg.UID]; twice {
			t.Errorf("UID %d is listed twice", msg.UID)
		}
		got[msg.UID] = string(b)
	}
	return got
}

// check: everything that was acknowledged is there once, under the UID told, to the
// last octet.
func (l *ledger) check(t testing.TB, s *Slot) {
	t.Helper()
	got := octetsOf(t, s, "INBOX")
	for uid, octets := range got {
		head, _, _ := strings.Cut(octets, "\r\n")
		subject := strings.TrimPrefix(head, "Subject: ")
		var writer, i int
		if _, err := fmt.Sscanf(subject, "w%d-%d", &writer, &i); err != nil || octets != l.text(writer, i) {
			t.Errorf("UID %d, %s: %d octets are not those delivered: %v", uid, subject, len(octets), err)
		}
		got[uid] = subject
	}
	times := map[string]int{}
	for _, subject := range got {
		if times[subject]++; times[subject] > 1 {
			t.Errorf("%s is there %d times", subject, times[subject])
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for subject, uid := range l.acked {
		if got[uid] != subject {
			t.Errorf("acknowledged %s as UID %d, there is %q", subject, uid, got[uid])
		}
	}
}

// calamitySeeds are fewer with -short: the race detector makes them many times as dear,
// and sees in each seed the same code run at once.
func calamitySeeds() uint64 {
	if testing.Short() {
		return 2
	}
	return 4
}

func TestPowerLossLosesAndDoublesNothing(t *testing.T) {
	t.Parallel()
	for seed := range calamitySeeds() {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			withCalamities(t, seed, newWorld(t, 2), 1)
		})
	}
}

// TestPowerLossAmongMovesLosesNothing: every body moves soon after it came, and packs
// are rewritten all the time, on each copy for itself and, worse than ever, on both at
// once.
func TestPowerLossAmongMovesLosesNothing(t *testing.T) {
	t.Parallel()
	var moved, collected atomic.Int64
	t.Run("all", func(t *testing.T) {
		for seed := range calamitySeeds() {
			t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
				t.Parallel()
				w := newWorld(t, 2)
				for i, n := range w.node {
					n.cfg.SegmentSize, n.cfg.Hurry = 16<<10<<i, Hurry{Move: 3 * time.Millisecond, Collect: 50 * time.Millisecond, AnyTurn: true}
				}
				withCalamities(t, seed, w, 4)
				for _, n := range w.node {
					st := n.Stats().Packs
					moved.Add(st.Moved) // since the last open, which may be short
					collected.Add(st.Collected)
					if st.Damaged > 0 {
						t.Errorf("packs of a copy: %+v", st)
					}
				}
			})
		}
	})
	if moved.Load() == 0 {
		t.Error("no body was moved")
	}
	if collected.Load() == 0 {
		t.Error("no pack was collected")
	}
}

var passerbyID = mail.AccountID{77}

// passerby delivers to another account, whose mail goes soon: packs get dead bodies.
func passerby(ctx context.Context, t testing.TB, w *world) {
	pause := time.NewTicker(5 * time.Millisecond)
	defer pause.Stop()
	for i := uint32(1); ctx.Err() == nil; i++ {
		<-pause.C
		s := w.master()
		if s == nil {
			continue
		}
		d := Delivery{Octets: []byte(text(int(i), 5000)), Recipients: []state.Recipient{{Account: passerbyID}}}
		binary.BigEndian.PutUint32(d.Transaction[12:], i)
		if _, err := s.Deliver(ctx, d); err != nil || i%10 != 0 {
			continue
		}
		a := s.Account(passerbyID)
		v, err := a.View(ctx)
		if err != nil {
			continue
		}
		inbox, err := v.Lookup("INBOX")
		v.Close()
		if err != nil {
			continue
		}
		all := mail.UIDSet{{Lo: 1, Hi: inbox.UIDNext}}
		_, _ = a.Do(ctx, mail.Request{Op: mail.Store{Mailbox: inbox.ID, UIDs: all, Mode: mail.AddFlags, Flags: mail.Deleted}})
		_, _ = a.Do(ctx, mail.Request{Op: mail.Expunge{Mailbox: inbox.ID, UIDs: all}})
		_, _ = s.PurgeNow(ctx, passerbyID.String(), "", "test")
	}
}

// withCalamities delivers to a store whose machines lose their power again and again.
func withCalamities(t *testing.T, seed uint64, w *world, scale int) {
	rng := mathrand.New(mathrand.NewPCG(seed, 1))
	for _, n := range w.node {
		n.start()
	}
	ctx, cancel := context.WithCancel(t.Context())
	var all sync.WaitGroup
	run := func(f func()) {
		all.Add(1)
		go func() {
			defer all.Done()
			f()
		}()
	}
	run(func() { w.govern(ctx) })
	w.eventually(func() error {
		s := w.master()
		if s == nil {
			return errors.New("no master")
		}
		return errors.Join(s.CreateAccount(ctx, accountText, 0), s.CreateAccount(ctx, passerbyID.String(), 0))
	})
	w.inSync()
	l := &ledger{scale: scale, acked: map[string]mail.UID{}}
	for i := range 4 {
		run(func() { l.writer(ctx, t, w, i) })
	}
	c := &client{t: t, moved: map[string]bool{}}
	run(func() { c.run(ctx, w) })
	run(func() { passerby(ctx, t, w) })
	for range 3 {
		w.calamity(rng, l)
	}
	w.progress(l, 50)
	cancel()
	all.Wait()
	w.sameEverywhere()
	l.check(t, w.master())
	c.check(w.master())
	t.Logf("%d deliveries", l.len())
}

// calamity takes the power of one machine or both at some moment, and gives it
// back: one machine sometimes only after the other went on alone. Sometimes an index
// is lost as well, with or without a snapshot to make it of.
func (w *world) calamity(rng *mathrand.Rand, l *ledger) {
	w.t.Helper()
	w.progress(l, 1+rng.IntN(60))
	victims := [][]int{{0}, {1}, {0, 1}, {1, 0}}[rng.IntN(4)]
	for _, i := range victims {
		if inc := w.node[i].current(); inc != nil && rng.IntN(2) == 0 {
			_ = (&saver{incarnation: inc}).save(w.t.Context()) // the incarnation may be about to end
		}
		w.node[i].crash([]int{0, 50, 100}[rng.IntN(3)], rng)
		if rng.IntN(3) == 0 {
			loseIndex(w.t, w.node[i])
		}
	}
	if len(victims) == 1 && rng.IntN(2) == 0 {
		w.progress(l, 20)
	}
	for _, i := range victims {
		w.node[i].start()
	}
	w.inSync()
}

// progress waits until so many more deliveries were acknowledged.
func (w *world) progress(l *ledger, n int) {
	w.t.Helper()
	goal := l.len() + n
	w.eventually(func() error {
		if have := l.len(); have < goal {
			return fmt.Errorf("%d deliveries of %d", have, goal)
		}
		return nil
	})
}

// client is an IMAP-like session: it appends a message to Drafts, flags it and
// moves it to Sent, each command again under its id until it has an answer.
type client struct {
	t       testing.TB
	command uint64
	moved   map[string]bool
}

func (c *client) run(ctx context.Context, w *world) {
	for i := 0; ctx.Err() == nil; i++ {
		subject := fmt.Sprint("draft ", i)
		var drafts, sent mail.MailboxID
		added, ok := c.do(ctx, w, func(a mail.Account) (mail.Op, error) {
			v, err := a.View(ctx)
			if err != nil {
				return nil, err
			}
			defer v.Close()
			d, errD := v.Lookup("Drafts")
			t, errT := v.Lookup("Sent")
			body, errB := a.Stage(ctx, strings.NewReader("Subject: "+subject+"\r\n\r\n"), 1000)
			drafts, sent = d.ID, t.ID
			return mail.Append{Mailbox: d.ID, Messages: []mail.NewMessage{{Body: body}}}, errors.Join(errD, errT, errB)
		})
		if !ok {
			return
		}
		for _, op := range []mail.Op{
			mail.Store{Mailbox: drafts, UIDs: added.UIDs, Mode: mail.AddFlags, Flags: mail.Seen},
			mail.Move{From: drafts, UIDs: added.UIDs, To: sent},
		} {
			res, ok := c.do(ctx, w, func(mail.Account) (mail.Op, error) { return op, nil })
			if !ok {
				return
			}
			if _, move := op.(mail.Move); move {
				c.moved[subject] = true
			}
			if res.UIDs.Len() != 1 {
				c.t.Errorf("%T of %s: %+v", op, subject, res)
			}
		}
	}
}

// do repeats one command until it is answered; false when ctx ended.
func (c *client) do(ctx context.Context, w *world, op func(mail.Account) (mail.Op, error)) (mail.Result, bool) {
	c.command++
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for ; ctx.Err() == nil; <-tick.C {
		s := w.master()
		if s == nil {
			continue
		}
		a := s.Account(accountID)
		o, err := op(a)
		if err != nil {
			continue
		}
		res, err := a.Do(ctx, mail.Request{ID: mail.OpID{Session: mail.SessionID{1}, Number: c.command}, Op: o})
		switch {
		case err == nil:
			return res, true
		case errors.Is(err, mail.ErrMoved), errors.Is(err, mail.ErrBusy), errors.Is(err, mail.ErrUnknown):
		default:
			c.t.Errorf("command %d: %v", c.command, err)
			return res, false
		}
	}
	return mail.Result{}, false
}

// check: what was moved is in Sent once, and at most the draft at hand is left.
func (c *client) check(s *Slot) {
	sent := map[string]int{}
	for _, subject := range stored(c.t, s, "Sent") {
		sent[subject]++
	}
	for subject := range c.moved {
		if sent[subject] != 1 {
			c.t.Errorf("%s is in Sent %d times", subject, sent[subject])
		}
	}
	if n := len(sent); n < len(c.moved) || n > len(c.moved)+1 {
		c.t.Errorf("%d messages in Sent, %d were moved", n, len(c.moved))
	}
	if left := stored(c.t, s, "Drafts"); len(left) > 1 {
		c.t.Errorf("drafts left: %v", left)
	}
	c.t.Logf("%d drafts", len(c.moved))
}
