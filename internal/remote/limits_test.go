package remote

import (
	"context"
	"errors"
	"io"
	"iter"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tandemail/tandemail/internal/fields"
	"github.com/tandemail/tandemail/internal/host"
	"github.com/tandemail/tandemail/internal/link"
	"github.com/tandemail/tandemail/internal/mail"
	"github.com/tandemail/tandemail/internal/route"
)

// inRig runs a test with a rig in virtual time.
func inRig(t *testing.T, f func(*testing.T, *rig)) {
	synctest.Test(t, func(t *testing.T) { f(t, newRig(t)) })
}

// wantFailed reads the failure of an ask.
func (r *rig) wantFailed(f *link.Frames, id uint64, want error) {
	r.t.Helper()
	got, ok := r.hear(f).(failed)
	if !ok || got.ID != id || !errors.Is(errorOf(got.Code, got.Text), want) {
		r.t.Errorf("ask %d came to %+v, want %v", id, got, want)
	}
}

func TestViewsOfAStreamAndOfAServerAreBounded(t *testing.T) {
	inRig(t, func(t *testing.T, r *rig) {
		f := r.talk()
		for id := range uint64(maxViews) {
			r.say(f, ask{id + 1, qView{}})
			if got, ok := r.hear(f).(answer); !ok || got.ID != id+1 {
				t.Fatalf("view %d: %+v", id+1, got)
			}
		}
		r.say(f, ask{maxViews + 1, qView{}})
		r.wantFailed(f, maxViews+1, errNotNow)
		if n := r.server.Stats().Views; n != maxViews {
			t.Errorf("%d views are open", n)
		}
		r.say(f, stop{5}, ask{maxViews + 2, qMailbox{5, mail.MailboxID{}}})
		r.wantFailed(f, maxViews+2, errClosed)
		synctest.Wait()
		r.say(f, ask{maxViews + 3, qView{}})
		if _, ok := r.hear(f).(answer); !ok {
			t.Error("no view in place of one that was closed")
		}
	})
	inRig(t, func(t *testing.T, r *rig) {
		r.serve(ServerConfig{MaxViews: 1})
		v := look(t, r.account())
		f := r.talk()
		r.say(f, ask{1, qView{}})
		r.wantFailed(f, 1, errNotNow)
		v.Close()
		synctest.Wait()
		r.say(f, ask{2, qView{}})
		if _, ok := r.hear(f).(answer); !ok {
			t.Error("no view in place of one that was closed")
		}
	})
}

func TestViewThatLiesIdleOrIsOldIsClosed(t *testing.T) {
	inRig(t, func(t *testing.T, r *rig) {
		v := look(t, r.account())
		defer v.Close()
		for range 5 { // in use
			time.Sleep(viewIdle - time.Second) // virtual
			inbox(t, v)
		}
		time.Sleep(viewIdle + time.Second) // virtual
		if n := r.server.Stats().Views; n != 0 {
			t.Errorf("%d views are open", n)
		}
		_, err := v.Lookup("INBOX")
		if !errors.Is(err, mail.ErrBusy) || !strings.Contains(err.Error(), "idle") {
			t.Errorf("idle view: %v", err)
		}
		for _, err := range v.Mailboxes() {
			if !errors.Is(err, mail.ErrBusy) {
				t.Errorf("sequence of an idle view: %v", err)
			}
		}
		w := look(t, r.account())
		defer w.Close()
		for range 1 + int(viewLife/(viewIdle/2)) {
			time.Sleep(viewIdle / 2) // virtual
			if _, err = w.Lookup("INBOX"); err != nil {
				break
			}
		}
		if !errors.Is(err, mail.ErrBusy) {
			t.Errorf("old view: %v", err)
		}
	})
}

// endless is a View whose mailboxes never end.
type endless struct {
	mail.View
	yielded int
}

func (e *endless) Mailboxes() iter.Seq2[mail.MailboxInfo, error] {
	return func(yield func(mail.MailboxInfo, error) bool) {
		for yield(mail.MailboxInfo{Name: strings.Repeat("x", 1000)}, nil) {
			e.yielded++
		}
	}
}

// TestSequenceIsReadNoFurtherThanItIsAskedFor: and stops when its reader does, while the
// View answers other questions.
func TestSequenceIsReadNoFurtherThanItIsAskedFor(t *testing.T) {
	inRig(t, func(t *testing.T, r *rig) {
		e := &endless{}
		r.slot.account = func(id mail.AccountID) mail.Account {
			e.View = look(t, r.twin.Account(id))
			return viewOf{r.twin.Account(id), e}
		}
		v := look(t, r.account())
		defer v.Close()
		const window = (batchWindow + 1) * batchOctets / 1000
		n := 0
		for _, err := range v.Mailboxes() {
			if err != nil {
				t.Fatal(err)
			}
			if n++; n == 1 {
				synctest.Wait()
				if e.yielded > window {
					t.Errorf("%d were read for one", e.yielded)
				}
				inbox(t, v)
			}
			if n == 10*window {
				break
			}
		}
		synctest.Wait()
		if was := e.yielded; was > 12*window {
			t.Errorf("%d were read for %d", was, n)
		}
		inbox(t, v)
	})
}

// viewOf is an account with a View of its own.
type viewOf struct {
	mail.Account
	v mail.View
}

func (a viewOf) As(mail.AccountID) mail.Account { return a }

func (a viewOf) View(context.Context) (mail.View, error) { return a.v, nil }

func TestBrokenProtocolEndsItsStreamAlone(t *testing.T) {
	body := ask{1, qStage{3 * pieceOctets}}
	piece := data{1, make([]byte, pieceOctets)}
	for name, frames := range map[string][]frame{
		"an id again":                {ask{2, qView{}}, ask{2, qView{}}},
		"an id that falls":           {ask{2, qView{}}, ask{1, qView{}}},
		"no id":                      {ask{0, qView{}}},
		"an id of what needs none":   {ask{1, qSetRecent{}}},
		"a master's frame":           {alive{}},
		"too many octets":            {body, piece, piece, piece, data{1, []byte("x")}},
		"a large piece":              {body, data{1, make([]byte, pieceOctets+1)}},
		"an end too soon":            {body, data{1, nil}},
		"a change before the end":    {body, ask{2, doing(mail.Append{Messages: []mail.NewMessage{{Body: bodyRef(1)}}})}},
		"credit that is not allowed": {ask{1, qView{}}, ask{2, qMailboxes{1}}, ask{3, qView{}}},
	} {
		t.Run(name, func(t *testing.T) {
			inRig(t, func(t *testing.T, r *rig) {
				other := look(t, r.account())
				defer other.Close()
				if name == "credit that is not allowed" {
					e := &endless{}
					r.slot.account = func(id mail.AccountID) mail.Account {
						e.View = look(t, r.twin.Account(id))
						return viewOf{r.twin.Account(id), e}
					}
					frames = append(frames[:2:2], more{2, batchWindow + 1})
				}
				f := r.talk()
				for i, fr := range frames {
					if i == 1 {
						synctest.Wait() // the view is open
					}
					r.say(f, fr)
				}
				for {
					fr, err := receive(f)
					if err != nil {
						t.Fatalf("ended without a word: %v", err)
					}
					if end, ok := fr.(refused); ok {
						if end.Code != codeBroken {
							t.Errorf("%+v", end)
						}
						break
					}
				}
				if _, err := receive(f); !errors.Is(err, io.EOF) {
					t.Errorf("the stream goes on: %v", err)
				}
				inbox(t, other)
			})
		})
	}
}

func TestGarbageEndsItsStreamAlone(t *testing.T) {
	inRig(t, func(t *testing.T, r *rig) {
		other := look(t, r.account())
		defer other.Close()
		f := r.talk()
		if err := f.Write(t.Context(), byte(kindAsk), []byte{1, 99, 0xff}); err != nil {
			t.Fatal(err)
		}
		if end, ok := r.hear(f).(refused); !ok || end.Code != codeBroken {
			t.Errorf("%+v", end)
		}
		for _, meta := range [][]byte{nil, fields.AppendUint(nil, uint32(Version+1)), append(hello{"s1", mail.AccountID{1}, 1}.append(nil), 0)} {
			nc, err := r.dial(t.Context(), route.Route{}, meta)
			if err != nil {
				t.Fatal(err)
			}
			f := link.NewFrames(nc, frames())
			if end, ok := r.hear(f).(refused); !ok || end.Code != codeBroken {
				t.Errorf("metadata %x: %+v", meta, end)
			}
			f.Abort()
		}
		inbox(t, other)
	})
}

func TestBodiesOnTheirWayInAreBounded(t *testing.T) {
	inRig(t, func(t *testing.T, r *rig) {
		r.serve(ServerConfig{MaxStaged: 1000})
		f := r.talk()
		r.say(f, ask{1, qStage{900}}, ask{2, qStage{101}})
		r.wantFailed(f, 2, errNotNow)
		r.say(f, ask{3, doing(mail.Append{Messages: []mail.NewMessage{{Body: bodyRef(2)}}})})
		r.wantFailed(f, 3, errNotNow)
		r.say(f, stop{1})
		synctest.Wait()
		if n := r.server.Stats().Staged; n != 0 {
			t.Errorf("%d octets are staged", n)
		}
		a := r.account()
		body, err := a.Stage(t.Context(), strings.NewReader(strings.Repeat("x", 2000)), 10_000)
		if err != nil {
			t.Fatal(err)
		}
		_, err = a.Do(t.Context(), mail.Request{ID: mail.OpID{Number: 1}, Op: mail.Append{Messages: []mail.NewMessage{{Body: body}}}})
		if !errors.Is(err, mail.ErrBusy) || errors.Is(err, mail.ErrUnknown) {
			t.Errorf("message for which there is no room: %v", err)
		}
	})
}

func TestStreamsOfAServerAreBounded(t *testing.T) {
	inRig(t, func(t *testing.T, r *rig) {
		r.serve(ServerConfig{MaxStreams: 1})
		v := look(t, r.account())
		defer v.Close()
		begun := time.Now()
		_, err := r.account().View(t.Context())
		if took := time.Since(begun); !errors.Is(err, mail.ErrBusy) || took != defaultHold {
			t.Errorf("%v after %v", err, took)
		}
	})
}

func TestAccountIsServedByTheMasterAlone(t *testing.T) {
	for name, st := range map[string]host.Standing{
		"a replica":               {Known: 3, Master: "m2"},
		"a master that is behind": {Serving: true, Epoch: 1, Known: 1, Master: "m1"},
	} {
		inRig(t, func(t *testing.T, r *rig) {
			r.slot.stand(st)
			nc, err := r.dial(t.Context(), route.Route{}, hello{"s1", mail.AccountID{1}, 2}.append(nil))
			if err != nil {
				t.Fatal(err)
			}
			f := link.NewFrames(nc, frames())
			defer f.Abort()
			end, ok := r.hear(f).(refused)
			if !ok || !errors.Is(errorOf(end.Code, end.Text), mail.ErrMoved) || end.Epoch != st.Known {
				t.Errorf("%s: %+v", name, end)
			}
		})
	}
}

func TestPanicEndsItsStreamAlone(t *testing.T) {
	inRig(t, func(t *testing.T, r *rig) {
		other := look(t, r.account())
		defer other.Close()
		r.slot.account = func(mail.AccountID) mail.Account { return viewOf{nil, nil} }
		f := r.talk()
		r.say(f, ask{1, qDerived{1, make([]mail.EmailID, 1)}})
		if _, err := receive(f); err == nil {
			t.Error("the stream goes on")
		}
		if n := r.server.Stats().Panics; n != 1 {
			t.Errorf("%d panics", n)
		}
		inbox(t, other)
	})
}

// TestQuestionsUnderWayAreBounded: who asks more at once is told so, and an Account never
// does: its callers wait for a place.
func TestQuestionsUnderWayAreBounded(t *testing.T) {
	inRig(t, func(t *testing.T, r *rig) {
		release := make(chan struct{})
		r.slot.account = func(id mail.AccountID) mail.Account {
			return doer{r.twin.Account(id), func() error { <-release; return mail.ErrCannot }}
		}
		f := r.talk()
		for id := range uint64(maxAsks + 1) {
			r.say(f, ask{id + 1, doing(mail.Create{Name: "x"})})
		}
		r.wantFailed(f, maxAsks+1, errNotNow)
		a := r.account()
		results := make(chan error, 2*maxAsks)
		for range cap(results) {
			go func() {
				_, err := a.Do(t.Context(), mail.Request{ID: mail.OpID{Number: 1}, Op: mail.Create{Name: "x"}})
				results <- err
			}()
		}
		synctest.Wait()
		close(release)
		for range cap(results) {
			if err := <-results; !errors.Is(err, mail.ErrCannot) {
				t.Fatal(err)
			}
		}
		if n := r.accounts.Stats().Repeats; n != 0 {
			t.Errorf("%d were asked again", n)
		}
		for range maxAsks {
			r.hear(f)
		}
	})
}
