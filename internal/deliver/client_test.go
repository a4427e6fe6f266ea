package deliver

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/coord"
	"github.com/tandemail/tandemail/internal/coord/memory"
	"github.com/tandemail/tandemail/internal/link"
	"github.com/tandemail/tandemail/internal/mail"
	"github.com/tandemail/tandemail/internal/route"
)

// lab is a client, the coordinator behind its routes, and machines that answer as
// a test says.
type lab struct {
	t      *testing.T
	ctx    context.Context
	coord  coord.Coord
	client *Client
	calls  atomic.Int64
	taken  atomic.Int64 // places of those who wait
	// answer is what a machine says to the n-th call, which is a delivery.
	answer func(ctx context.Context, n int64, m cluster.Machine, q Request) (Response, error)
}

// inLab runs f with a lab in virtual time, its context ending as an MTA's patience
// does.
func inLab(t *testing.T, f func(l *lab)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		run, stop := context.WithCancel(t.Context())
		defer synctest.Wait()
		defer stop()
		ctx, cancel := context.WithTimeout(run, 8*time.Second)
		defer cancel()
		l := &lab{t: t, ctx: ctx, coord: memory.NewServer(memory.Config{}).Client()}
		l.client = &Client{Routes: route.New(), Here: "front", Call: l.call}
		l.client.Large = func(context.Context, cluster.Machine, ...[]byte) ([]byte, error) {
			t.Error("a small message on a stream of its own")
			return nil, link.ErrNotSent
		}
		go l.client.Routes.Run(run, l.coord)
		f(l)
	})
}

// master writes a record in which machine m is master of s1 at epoch.
func (l *lab) master(m cluster.Machine, epoch cluster.Epoch) {
	l.t.Helper()
	r := cluster.StoreRecord{
		Store: "s1", Slots: []cluster.SlotRef{{Slot: cluster.SlotID{1}, Machine: "m1"}, {Slot: cluster.SlotID{2}, Machine: "m2"}},
		Epoch: epoch, Incarnation: cluster.Incarnation(epoch), InSync: []cluster.SlotID{{1}, {2}},
	}
	r.Master = map[cluster.Machine]cluster.SlotID{"m1": {1}, "m2": {2}}[m]
	if epoch == 0 {
		r.InSync, r.Incarnation = nil, 0
	}
	if _, _, err := l.coord.Txn(l.t.Context(), coord.Txn{Then: []coord.Op{coord.Put(coord.StoreKey("s1"), r.Encode())}}); err != nil {
		l.t.Error(err)
	}
}

func (l *lab) call(ctx context.Context, m cluster.Machine, parts ...[]byte) ([]byte, error) {
	r := reader{b: bytes.Join(parts, nil)}
	if r.u8() != version || r.u8() != kindDeliver {
		l.t.Error("call is no delivery")
	}
	q := r.request()
	if r.bad {
		l.t.Error("malformed request")
	}
	resp, err := l.answer(ctx, l.calls.Add(1), m, q)
	if err != nil {
		return nil, err
	}
	return resp.append(nil), nil
}

// places lets n wait at a time.
func (l *lab) places(n int64) {
	l.client.Hold = func() (func(), bool) {
		if l.taken.Add(1) > n {
			l.taken.Add(-1)
			return nil, false
		}
		return func() { l.taken.Add(-1) }, true
	}
}

func (l *lab) deliver() ([]Result, error) {
	synctest.Wait() // the routes are read
	q := exampleRequest()
	q.Store = "s1"
	res, err := l.client.Deliver(l.ctx, q)
	if got := l.taken.Load(); got != 0 {
		l.t.Errorf("%d places still taken", got)
	}
	return res, err
}

func stored() Response {
	return Response{Status: Done, Results: []Result{{Number: 0, UID: 1}, {Number: 3, UID: 1}}}
}

func TestDeliveryIsHeldUntilTheStoreHasAMaster(t *testing.T) {
	inLab(t, func(l *lab) {
		l.places(1)
		l.master("", 0)
		l.answer = func(_ context.Context, _ int64, m cluster.Machine, q Request) (Response, error) {
			if m != "m1" || q.Epoch != 1 {
				t.Errorf("asked %s at epoch %d", m, q.Epoch)
			}
			return stored(), nil
		}
		start := time.Now()
		time.AfterFunc(5*time.Second, func() { l.master("m1", 1) })
		res, err := l.deliver()
		if err != nil || len(res) != 2 || l.calls.Load() != 1 || time.Since(start) != 5*time.Second {
			t.Errorf("%v, %v after %v and %d calls", res, err, time.Since(start), l.calls.Load())
		}
	})
}

func TestHoldEndsWithTheCallersTime(t *testing.T) {
	for name, epoch := range map[string]cluster.Epoch{"no master": 0, "busy master": 1} {
		inLab(t, func(l *lab) {
			l.master("m1", epoch)
			l.answer = func(context.Context, int64, cluster.Machine, Request) (Response, error) {
				return Response{Status: Busy, Epoch: 1, Master: "m1"}, nil
			}
			start := time.Now()
			_, err := l.deliver()
			if !errors.Is(err, mail.ErrBusy) || errors.Is(err, mail.ErrUnknown) || time.Since(start) != 8*time.Second {
				t.Errorf("%s: %v after %v", name, err, time.Since(start))
			}
			if n := l.calls.Load(); n > 8*int64(time.Second/maxPause)+10 {
				t.Errorf("%s: the master was asked %d times", name, n)
			}
		})
	}
}

// TestUnknownOutcomeIsAskedForUnderTheSameTransaction: and if none is found, the
// error says that something may have happened.
func TestUnknownOutcomeIsAskedForUnderTheSameTransaction(t *testing.T) {
	failures := map[string]func() (Response, error){
		"lost call":     func() (Response, error) { return Response{}, fmt.Errorf("cut: %w", cluster.ErrUnknown) },
		"unknown there": func() (Response, error) { return Response{Status: Unknown}, nil },
	}
	for name, fail := range failures {
		inLab(t, func(l *lab) {
			l.master("m1", 1)
			l.answer = func(_ context.Context, n int64, _ cluster.Machine, q Request) (Response, error) {
				if q.Transaction != exampleRequest().Transaction {
					t.Errorf("%s: transaction %v", name, q.Transaction)
				}
				if n == 3 {
					return stored(), nil
				}
				return fail()
			}
			if res, err := l.deliver(); err != nil || len(res) != 2 || l.calls.Load() != 3 {
				t.Errorf("%s: %v, %v after %d calls", name, res, err, l.calls.Load())
			}
		})
		inLab(t, func(l *lab) {
			l.master("m1", 1)
			l.answer = func(_ context.Context, n int64, _ cluster.Machine, _ Request) (Response, error) {
				if n == 1 {
					return fail()
				}
				return Response{}, fmt.Errorf("%w: no connection", link.ErrNotSent)
			}
			if _, err := l.deliver(); !errors.Is(err, mail.ErrUnknown) || errors.Is(err, mail.ErrBusy) {
				t.Errorf("%s: %v, want the outcome unknown", name, err)
			}
		})
	}
}

func TestNotSentIsNothing(t *testing.T) {
	inLab(t, func(l *lab) {
		l.master("m1", 1)
		l.answer = func(context.Context, int64, cluster.Machine, Request) (Response, error) {
			return Response{}, link.ErrNotSent
		}
		if _, err := l.deliver(); !errors.Is(err, mail.ErrBusy) || errors.Is(err, mail.ErrUnknown) {
			t.Error(err)
		}
	})
}

func TestWhoIsRefusedLearnsTheMasterFromTheRefusal(t *testing.T) {
	inLab(t, func(l *lab) {
		l.master("m1", 1)
		l.answer = func(_ context.Context, _ int64, m cluster.Machine, q Request) (Response, error) {
			if m == "m1" {
				return Response{Status: Moved, Master: "m2", Epoch: 2}, nil
			}
			if q.Epoch != 2 {
				t.Errorf("asked %s at epoch %d", m, q.Epoch)
			}
			return stored(), nil
		}
		start := time.Now()
		if _, err := l.deliver(); err != nil || time.Since(start) != 0 {
			t.Errorf("%v after %v", err, time.Since(start))
		}
	})
}

// TestSilentMasterIsLeftForItsSuccessor: SIGSTOP, or a cable that was pulled.
func TestSilentMasterIsLeftForItsSuccessor(t *testing.T) {
	inLab(t, func(l *lab) {
		l.master("m1", 1)
		l.answer = func(ctx context.Context, _ int64, m cluster.Machine, _ Request) (Response, error) {
			if m == "m1" {
				<-ctx.Done()
				return Response{}, fmt.Errorf("%w: %w", context.Cause(ctx), cluster.ErrUnknown)
			}
			return stored(), nil
		}
		start := time.Now()
		time.AfterFunc(2*time.Second, func() { l.master("m2", 2) })
		if _, err := l.deliver(); err != nil || time.Since(start) != 2*time.Second {
			t.Errorf("%v after %v", err, time.Since(start))
		}
	})
}

func TestTooManyWaitersAreSentAwayAtOnce(t *testing.T) {
	inLab(t, func(l *lab) {
		l.places(0)
		l.master("m1", 1)
		l.answer = func(context.Context, int64, cluster.Machine, Request) (Response, error) {
			return Response{Status: Busy}, nil
		}
		start := time.Now()
		if _, err := l.deliver(); !errors.Is(err, mail.ErrBusy) || time.Since(start) != 0 || l.calls.Load() != 1 {
			t.Errorf("%v after %v and %d calls", err, time.Since(start), l.calls.Load())
		}
	})
}

// TestSilenceCountsAsWaiting: connections are what a stopped master's mail takes
// from others, whether it is asked again or never answers.
func TestSilenceCountsAsWaiting(t *testing.T) {
	inLab(t, func(l *lab) {
		l.places(0)
		l.master("m1", 1)
		l.answer = func(ctx context.Context, _ int64, _ cluster.Machine, _ Request) (Response, error) {
			<-ctx.Done()
			return Response{}, fmt.Errorf("%w: %w", context.Cause(ctx), cluster.ErrUnknown)
		}
		start := time.Now()
		_, err := l.deliver()
		if !errors.Is(err, mail.ErrUnknown) || time.Since(start) != heldAfter {
			t.Errorf("%v after %v", err, time.Since(start))
		}
	})
}

func TestQuickAnswersTakeNoPlace(t *testing.T) {
	inLab(t, func(l *lab) {
		l.places(0)
		l.master("m1", 1)
		l.answer = func(context.Context, int64, cluster.Machine, Request) (Response, error) {
			<-time.After(heldAfter - time.Millisecond)
			return stored(), nil
		}
		if _, err := l.deliver(); err != nil {
			t.Error(err)
		}
	})
}

func TestFinalAnswersEndTheTry(t *testing.T) {
	cases := map[string]struct {
		resp Response
		err  error
		want error // nil: of no kind
	}{
		"failed":               {resp: Response{Status: Failed, Text: "boom"}},
		"full":                 {resp: Response{Status: Full}, want: mail.ErrFull},
		"refused there":        {err: &link.RemoteError{Text: "malformed"}},
		"too few results":      {resp: Response{Status: Done, Results: []Result{{Number: 0}}}, want: errWire},
		"another one's result": {resp: Response{Status: Done, Results: []Result{{Number: 0}, {Number: 1}}}, want: errWire},
	}
	for name, c := range cases {
		inLab(t, func(l *lab) {
			l.master("m1", 1)
			l.answer = func(context.Context, int64, cluster.Machine, Request) (Response, error) { return c.resp, c.err }
			_, err := l.deliver()
			if err == nil || l.calls.Load() != 1 || c.want != nil && !errors.Is(err, c.want) || errors.Is(err, mail.ErrBusy) {
				t.Errorf("%s: %v after %d calls", name, err, l.calls.Load())
			}
		})
	}
}

func TestUnknownStoreIsHeldTooAndSaysSo(t *testing.T) {
	inLab(t, func(l *lab) {
		l.answer = func(context.Context, int64, cluster.Machine, Request) (Response, error) { return stored(), nil }
		time.AfterFunc(time.Second, func() { l.master("m1", 1) })
		if _, err := l.deliver(); err != nil {
			t.Errorf("a table filled late: %v", err)
		}
		_, err := l.client.Deliver(l.ctx, Request{Store: "nowhere"})
		if !errors.Is(err, mail.ErrBusy) || !bytes.Contains([]byte(err.Error()), []byte("not known")) {
			t.Error(err)
		}
	})
}

// TestLargeMessageGoesOnlyWhereItIsTaken: it is not sent to every machine that
// might be the master.
func TestLargeMessageGoesOnlyWhereItIsTaken(t *testing.T) {
	inLab(t, func(l *lab) {
		l.master("m1", 1)
		probes, sent := 0, 0
		l.client.Call = func(_ context.Context, m cluster.Machine, parts ...[]byte) ([]byte, error) {
			r := reader{b: bytes.Join(parts, nil)[2:]}
			if p := r.probe(); !r.end() || p.store != "s1" {
				t.Errorf("no probe: %+v", p)
			}
			probes++
			resp := Response{Status: Moved}
			if probes > 3 {
				resp.Status = Done
			}
			return resp.append(nil), nil
		}
		l.client.Large = func(_ context.Context, m cluster.Machine, parts ...[]byte) ([]byte, error) {
			sent++
			r := stored()
			return r.append(nil), nil
		}
		synctest.Wait() // the routes are read
		q := exampleRequest()
		q.Store, q.Octets = "s1", make([]byte, LargeAbove+1)
		if _, err := l.client.Deliver(l.ctx, q); err != nil || probes != 4 || sent != 1 {
			t.Errorf("%v after %d probes, sent %d times", err, probes, sent)
		}
	})
}

// TestSettleTakesNobodysPlace: it waits beside the deliveries.
func TestSettleTakesNobodysPlace(t *testing.T) {
	inLab(t, func(l *lab) {
		l.places(0)
		l.master("m1", 1)
		n := 0
		l.client.Call = func(_ context.Context, _ cluster.Machine, parts ...[]byte) ([]byte, error) {
			n++
			resp := Response{Status: Busy}
			if n > 2 {
				resp.Status = Done
			}
			return resp.append(nil), nil
		}
		synctest.Wait() // the routes are read
		s := exampleSettle()
		s.Store = "s1"
		if err := l.client.Settle(l.ctx, s); err != nil || n != 3 {
			t.Errorf("%v after %d calls", err, n)
		}
	})
}
