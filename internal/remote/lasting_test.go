package remote

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/host"
	"github.com/tandemail/tandemail/internal/mail"
	"github.com/tandemail/tandemail/internal/mail/mailtest"
	"github.com/tandemail/tandemail/internal/route"
)

// add appends a message directly at the master.
func (r *rig) add(a *Account, text string) {
	r.t.Helper()
	twin := r.twin.Account(a.id)
	body, err := twin.Stage(context.Background(), strings.NewReader(text), mail.MaxMessageSize)
	if err != nil {
		r.t.Fatal(err)
	}
	v := look(r.t, twin)
	defer v.Close()
	_, err = twin.Do(context.Background(), mail.Request{Op: mail.Append{
		Mailbox: inbox(r.t, v).ID, Messages: []mail.NewMessage{{Body: body}},
	}})
	if err != nil {
		r.t.Fatal(err)
	}
}

func TestWatchSaysLookAgainAfterEachConnection(t *testing.T) {
	inRig(t, func(t *testing.T, r *rig) {
		a := r.account()
		ch, stop := a.Watch(mail.MailboxID{})
		defer stop()
		<-ch // it is watched from now on
		r.add(a, "Subject: x\r\n\r\n")
		<-ch
		for range 3 {
			r.cut()
			<-ch
			r.add(a, "Subject: x\r\n\r\n")
			<-ch
		}
		stop()
		time.Sleep(2 * connIdle) // virtual
		if n := r.accounts.Stats().Open; n != 0 {
			t.Errorf("%d streams that nobody uses", n)
		}
	})
}

// TestWatchFollowsTheMaster: also after a time without one that is longer than any hold.
func TestWatchFollowsTheMaster(t *testing.T) {
	inRig(t, func(t *testing.T, r *rig) {
		a := r.account()
		ch, stop := a.Watch(mail.MailboxID{})
		defer stop()
		<-ch
		r.slot.stand(host.Standing{Known: 1})
		r.routes.set(route.Route{Store: "s1", Epoch: 2})
		r.cut()
		time.Sleep(5 * defaultHold) // virtual
		r.add(a, "Subject: x\r\n\r\n")
		r.slot.stand(host.Standing{Serving: true, Epoch: 2, Known: 2, Master: "m2"})
		r.routes.set(route.Route{Store: "s1", Master: "m2", Epoch: 2})
		<-ch
	})
}

// TestSilentMasterIsLeftForItsSuccessor: nothing ends the connection but the record.
func TestSilentMasterIsLeftForItsSuccessor(t *testing.T) {
	inRig(t, func(t *testing.T, r *rig) {
		a := r.account()
		var hung atomic.Bool
		hung.Store(true)
		r.slot.account = func(id mail.AccountID) mail.Account {
			if hung.Load() {
				return silent{r.twin.Account(id)}
			}
			return r.twin.Account(id)
		}
		begun := time.Now()
		time.AfterFunc(2*time.Second, func() {
			hung.Store(false)
			r.slot.stand(host.Standing{Serving: true, Epoch: 2, Known: 2, Master: "m2"})
			r.routes.set(route.Route{Store: "s1", Master: "m2", Epoch: 2})
		})
		_, err := a.Do(t.Context(), mail.Request{ID: mail.OpID{Number: 1}, Op: mail.Create{Name: "x"}})
		if took := time.Since(begun); err != nil || took > 2*time.Second+lastPause {
			t.Errorf("%v after %v", err, took)
		}
	})
}

// silent never answers a change.
type silent struct{ mail.Account }

func (s silent) As(mail.AccountID) mail.Account { return s }

func (silent) Do(ctx context.Context, _ mail.Request) (mail.Result, error) {
	<-ctx.Done()
	return mail.Result{}, mail.ErrUnknown
}

func TestStoreWithoutMasterIsBusyAfterAHold(t *testing.T) {
	inRig(t, func(t *testing.T, r *rig) {
		a := r.account()
		v := look(t, a)
		defer v.Close()
		r.routes.set(route.Route{Store: "s1", Epoch: 2})
		r.slot.stand(host.Standing{Known: 2})
		r.cut()
		if _, err := v.Lookup("INBOX"); !errors.Is(err, mail.ErrBusy) {
			t.Errorf("view of a lost connection: %v", err)
		}
		begun := time.Now()
		_, err := a.View(t.Context())
		if took := time.Since(begun); !errors.Is(err, mail.ErrBusy) || took != defaultHold {
			t.Errorf("view: %v after %v", err, took)
		}
		_, err = a.Do(t.Context(), mail.Request{Op: mail.Create{Name: "x"}})
		if !errors.Is(err, mail.ErrBusy) || errors.Is(err, mail.ErrUnknown) {
			t.Errorf("change: %v", err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		begun = time.Now()
		_, err = a.View(ctx)
		if took := time.Since(begun); !errors.Is(err, mail.ErrBusy) || took != time.Second {
			t.Errorf("view within a second: %v after %v", err, took)
		}
	})
}

// TestOpenOutcomeStaysOpen: a later attempt that did nothing says nothing of the first,
// and a change without an id is not tried again.
func TestOpenOutcomeStaysOpen(t *testing.T) {
	for name, later := range map[string]error{"busy": mail.ErrBusy, "moved": mail.ErrMoved, "full": mail.ErrFull, "odd": errors.New("odd")} {
		inRig(t, func(t *testing.T, r *rig) {
			a := r.account()
			did := 0
			r.slot.account = func(id mail.AccountID) mail.Account {
				return doer{r.twin.Account(id), func() error {
					if did++; did == 1 {
						return mail.ErrUnknown
					}
					return later
				}}
			}
			_, err := a.Do(t.Context(), mail.Request{ID: mail.OpID{Number: 1}, Op: mail.Create{Name: "x"}})
			if !errors.Is(err, mail.ErrUnknown) || errors.Is(err, mail.ErrBusy) || errors.Is(err, mail.ErrMoved) || did < 2 {
				t.Errorf("%s: %v after %d tries", name, err, did)
			}
			did = 0
			_, err = a.Do(t.Context(), mail.Request{Op: mail.Create{Name: "x"}})
			if !errors.Is(err, mail.ErrUnknown) || did != 1 {
				t.Errorf("%s: without an id %v after %d tries", name, err, did)
			}
		})
	}
}

// doer answers changes with an error.
type doer struct {
	mail.Account
	f func() error
}

func (d doer) As(mail.AccountID) mail.Account { return d }

func (d doer) Do(context.Context, mail.Request) (mail.Result, error) { return mail.Result{}, d.f() }

// TestContentGoesOnAfterItsConnection: also in the middle, and when its View is closed.
func TestContentGoesOnAfterItsConnection(t *testing.T) {
	inRig(t, func(t *testing.T, r *rig) {
		a := r.account()
		rng := rand.New(rand.NewPCG(1, 2))
		text := []byte("Subject: x\r\n\r\n")
		for len(text) < 3<<20 {
			text = append(text, 'a'+byte(rng.IntN(26)))
		}
		r.add(a, string(text))
		v := look(t, a)
		m, err := v.Message(inbox(t, v).ID, 1)
		if err != nil {
			t.Fatal(err)
		}
		c, err := v.Open(t.Context(), m)
		if err != nil {
			t.Fatal(err)
		}
		v.Close()
		var got []byte
		for len(got) < len(text) {
			b := make([]byte, min(100_000, len(text)-len(got)))
			if _, err := c.ReadAt(b, int64(len(got))); err != nil {
				t.Fatal(err)
			}
			got = append(got, b...)
			if rng.IntN(4) == 0 {
				r.cut()
			}
		}
		if string(got) != string(text) {
			t.Error("other octets")
		}
		for range 20 {
			off, b := rng.IntN(len(text)), make([]byte, 1+rng.IntN(1000))
			n, err := c.ReadAt(b, int64(off))
			if want := min(len(b), len(text)-off); n != want || string(b[:n]) != string(text[off:off+n]) || (n < len(b)) != errors.Is(err, io.EOF) {
				t.Errorf("%d octets at %d: %d, %v", len(b), off, n, err)
			}
		}
		time.Sleep(contentIdle + time.Second) // virtual
		if _, err := c.ReadAt(make([]byte, 10), 0); err != nil {
			t.Errorf("after it lay idle: %v", err)
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
		synctest.Wait()
	})
}

func TestUnusedConnectionIsClosedAndMadeAgain(t *testing.T) {
	inRig(t, func(t *testing.T, r *rig) {
		a := r.account()
		v := look(t, a)
		time.Sleep(connIdle + time.Second) // virtual
		if n := r.accounts.Stats().Open; n != 1 {
			t.Errorf("%d streams with an open view", n)
		}
		v.Close()
		time.Sleep(connIdle + time.Second) // virtual
		if n := r.accounts.Stats().Open; n != 0 {
			t.Errorf("%d streams that nobody uses", n)
		}
		look(t, a).Close()
	})
}

func TestSessionsShareTheStreamOfAnAccount(t *testing.T) {
	inRig(t, func(t *testing.T, r *rig) {
		id := r.create()
		for range 10 {
			v := look(t, r.accounts.elsewhere("s1", id))
			defer v.Close()
		}
		if st := r.accounts.Stats(); st.Opened != 1 {
			t.Errorf("%+v", st)
		}
	})
}

func TestAccountOfAMasterHereNeedsNoWay(t *testing.T) {
	inRig(t, func(t *testing.T, r *rig) {
		id := r.create()
		accounts, err := NewAccounts(Config{Routes: r.routes, Dial: r.dial, Here: func(s cluster.Store) (host.Slot, error) {
			if s != "s1" {
				return nil, cluster.ErrNotMaster
			}
			return r.slot, nil
		}})
		if err != nil {
			t.Fatal(err)
		}
		defer accounts.Close()
		a := accounts.Account("s1", id)
		if _, ok := a.(*mailtest.Account); !ok {
			t.Errorf("account of the master here is %T", a)
		}
		if a, ok := accounts.Account("s2", id).(*Account); !ok {
			t.Errorf("account of another store is %T", a)
		}
		r.slot.stand(host.Standing{Known: 2, Master: "m2"})
		a = accounts.Account("s1", id)
		if _, ok := a.(*Account); !ok {
			t.Errorf("account of a replica here is %T", a)
		}
		r.slot.stand(host.Standing{Serving: true, Epoch: 2, Known: 2, Master: "m1"})
		look(t, a).Close() // it finds this machine too
	})
}
