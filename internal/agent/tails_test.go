package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/coord"
	"github.com/tandemail/tandemail/internal/mail"
	"github.com/tandemail/tandemail/internal/slot"
	"github.com/tandemail/tandemail/internal/state"
	"github.com/tandemail/tandemail/internal/tail"
)

// forcedSite has store s1 on m1, the old master that went on alone, and m2, which was
// forced, and what tails are brought back with.
type forcedSite struct {
	*site
	t     *testing.T
	fault func(d slot.Delivery) error // of redeliveries, before and after they are made
	made  int
}

// now is the slot that serves s1.
func (s *forcedSite) now() *slot.Slot {
	for _, n := range s.agents {
		if sl, err := n.Slot("s1"); err == nil && sl.Status().Serving {
			return sl
		}
	}
	return nil
}

func (s *forcedSite) redeliver(ctx context.Context, _ cluster.Store, d slot.Delivery) (tail.Result, error) {
	sl := s.now()
	if sl == nil {
		return tail.Result{}, mail.ErrBusy
	}
	d.Actor.QueueID = slot.Redelivered
	out, err := sl.Deliver(ctx, d)
	if err == nil && s.fault != nil {
		err = s.fault(d)
	}
	if err != nil {
		return tail.Result{}, err
	}
	s.made++
	return tail.Result{Code: out[0].Code, Duplicate: out[0].Duplicate}, nil
}

func (s *forcedSite) owner(_ context.Context, a mail.AccountID) (tail.Owner, error) {
	names := map[mail.AccountID]string{ann: "ann@example.org", bob: "bob@example.org"}
	return tail.Owner{User: names[a], Store: "s1"}, nil
}

// deliver delivers a message to accounts, under a transaction and a content key.
func (s *forcedSite) deliver(transaction byte, subject string, key byte, to ...mail.AccountID) {
	s.t.Helper()
	d := slot.Delivery{Transaction: mail.TransactionID{transaction}, Octets: []byte("Subject: " + subject + "\r\n\r\nx\r\n")}
	for i, a := range to {
		r := state.Recipient{Number: uint32(i), Account: a, Prefix: fmt.Appendf(nil, "Delivered-To: %x\r\n", a[:1])}
		if key != 0 {
			r.ContentKey = [32]byte{key}
		}
		d.Recipients = append(d.Recipients, r)
	}
	out, err := s.now().Deliver(s.t.Context(), d)
	if err != nil || slices.ContainsFunc(out, func(o state.RecipientOutcome) bool { return o.Code != state.Done }) {
		s.t.Fatalf("deliver %q: %+v, %v", subject, out, err)
	}
}

func (s *forcedSite) do(a mail.AccountID, command uint64, op mail.Op) mail.Result {
	s.t.Helper()
	req := mail.Request{Op: op, ID: mail.OpID{Session: mail.SessionID{a[0], 7}, Number: command}}
	res, err := s.now().Account(a).Do(s.t.Context(), req)
	if err != nil {
		s.t.Fatalf("%T: %v", op, err)
	}
	return res
}

// content lists an account's messages: "INBOX first Seen" for each, in the order of names.
func (s *forcedSite) content(a mail.AccountID) []string {
	s.t.Helper()
	v, err := s.now().Account(a).View(s.t.Context())
	if err != nil {
		s.t.Fatal(err)
	}
	defer v.Close()
	var list []string
	for box, err := range v.Mailboxes() {
		if err != nil {
			s.t.Fatal(err)
		}
		flags := map[mail.UID]string{}
		for f, err := range v.Flags(box.ID, 1, 1<<32-1, 0) {
			if err != nil {
				s.t.Fatal(err)
			}
			flags[f.UID] = strings.Join(f.Flags.Names(), " ")
		}
		for m, err := range v.Messages(box.ID, 1, 1<<32-1) {
			if err != nil {
				s.t.Fatal(err)
			}
			c, err := v.Open(s.t.Context(), m)
			if err != nil {
				s.t.Fatal(err)
			}
			b := make([]byte, m.Size)
			if _, err := c.ReadAt(b, 0); err != nil {
				s.t.Error(err)
			}
			_, subject, _ := strings.Cut(string(b), "Subject: ")
			subject, _, _ = strings.Cut(subject, "\r\n")
			list = append(list, strings.TrimSpace(fmt.Sprintf("%s %s %s", box.Name, subject, flags[m.UID])))
			if err := c.Close(); err != nil {
				s.t.Error(err)
			}
		}
	}
	slices.Sort(list)
	return list
}

func (s *forcedSite) wantContent(a mail.AccountID, want ...string) {
	s.t.Helper()
	if got := s.content(a); !slices.Equal(got, want) {
		s.t.Errorf("account %x has\n  %s\nwant\n  %s", a[:1], strings.Join(got, "\n  "), strings.Join(want, "\n  "))
	}
}

func (s *forcedSite) box(a mail.AccountID, name string) mail.MailboxInfo {
	s.t.Helper()
	v, err := s.now().Account(a).View(s.t.Context())
	if err != nil {
		s.t.Fatal(err)
	}
	defer v.Close()
	box, err := v.Lookup(name)
	if err != nil {
		s.t.Fatal(err)
	}
	return box
}

func (s *forcedSite) append(a mail.AccountID, command uint64, box, subject string, f mail.Flags) {
	s.t.Helper()
	body, err := s.now().Account(a).Stage(s.t.Context(), strings.NewReader("Subject: "+subject+"\r\n\r\n"), 1000)
	if err != nil {
		s.t.Fatal(err)
	}
	defer body.Close()
	s.do(a, command, mail.Append{Mailbox: s.box(a, box).ID, Messages: []mail.NewMessage{{Body: body, Flags: f}}})
}

// left makes the tail: m2 follows to "common", m1 goes on alone and is stopped, m2 is
// forced.
func (s *forcedSite) left() {
	s.t.Helper()
	m1, m2 := s.agents["m1"], s.agents["m2"]
	for _, n := range s.agents {
		n.stop()
		n.redeliver, n.owner = s.redeliver, s.owner
		n.start(n.cfg.Machine)
	}
	s.write(newStore("s1", "m1", "m2"))
	s.lead("m1", "s1")
	for _, a := range []mail.AccountID{ann, bob} {
		if err := m2.cfg.Remote.CreateAccount(s.t.Context(), "m1", "s1", a.String(), 0); err != nil {
			s.t.Fatal(err)
		}
	}
	s.inSync(2)
	s.deliver(1, "common", 0, ann, bob)
	s.deliver(2, "to be expunged", 0, ann)
	s.within(time.Minute, func() error { // m2 has it
		a, b := s.slot("m1"), s.slot("m2")
		if a.End != b.Applied {
			return fmt.Errorf("m1 at %d, m2 at %d", a.End, b.Applied)
		}
		return nil
	})
	m2.stop()
	s.inSync(1)

	s.deliver(3, "alone", 0, ann, bob)
	s.append(ann, 1, "Drafts", "draft", mail.Seen|mail.Draft)
	s.do(ann, 2, mail.Create{Name: "Lists"})
	s.append(ann, 3, "Lists", "in a new mailbox", 0)
	s.do(ann, 4, mail.Copy{From: s.box(ann, "INBOX").ID, UIDs: mail.UIDSet{{Lo: 1, Hi: 1}}, To: s.box(ann, "Archive").ID})
	s.do(ann, 5, mail.Store{Mailbox: s.box(ann, "INBOX").ID, UIDs: mail.UIDSet{{Lo: 1, Hi: 1}}, Mode: mail.AddFlags, Flags: mail.Flagged})
	s.do(ann, 6, mail.Store{Mailbox: s.box(ann, "INBOX").ID, UIDs: mail.UIDSet{{Lo: 2, Hi: 2}}, Mode: mail.AddFlags, Flags: mail.Deleted})
	s.do(ann, 7, mail.Expunge{Mailbox: s.box(ann, "INBOX").ID, UIDs: mail.UIDSet{{Lo: 2, Hi: 2}}})
	s.deliver(3, "alone", 0, ann, bob) // the router asks again: nothing happens twice
	s.deliver(4, "answer lost", 0, ann)
	s.deliver(5, "reply lost", 9, bob)
	m1.stop()

	m2.start("m2")
	rec, rev := s.record()
	s.within(time.Minute, func() error {
		st := s.slot("m2")
		if st.Role != "replica" {
			return fmt.Errorf("m2 is %+v", st)
		}
		return m2.cfg.Remote.Force(s.t.Context(), "m2", "s1", slotID(2), rec.Epoch, rev, false)
	})
	s.within(time.Minute, func() error {
		if s.now() == nil || s.read("s1").Forced != 0 {
			return fmt.Errorf("m2 is %+v", s.slot("m2"))
		}
		return nil
	})
	s.deliver(4, "answer lost", 0, ann) // the router
	s.deliver(6, "reply lost", 9, bob)  // the MTA, by another connection
	s.deliver(7, "new", 0, ann)
}

func (s *forcedSite) inSync(n int) {
	s.t.Helper()
	s.within(time.Minute, func() error {
		if rec := s.read("s1"); len(rec.InSync) != n {
			return fmt.Errorf("in sync: %v", rec.InSync)
		}
		return nil
	})
}

func (s *forcedSite) slot(m cluster.Machine) SlotStatus {
	for _, x := range s.agents[m].Status().Slots {
		if x.Store == "s1" {
			return x
		}
	}
	return SlotStatus{}
}

func (s *forcedSite) record() (cluster.StoreRecord, cluster.Rev) {
	s.t.Helper()
	v, rev, err := s.coord.Client().Get(s.t.Context(), coord.StoreKey("s1"))
	if err != nil {
		s.t.Fatal(err)
	}
	rec, err := cluster.DecodeStoreRecord(v)
	if err != nil {
		s.t.Fatal(err)
	}
	return rec, rev
}

// comeBack starts the old master, and gives the store an empty slot in its place, as
// the controller does.
func (s *forcedSite) comeBack() {
	s.t.Helper()
	s.agents["m1"].start("m1")
	s.within(time.Minute, func() error {
		if st := s.slot("m1"); !st.Left || st.State != slot.StateFailed {
			return fmt.Errorf("m1 is %+v", st)
		}
		return nil
	})
	rec := s.read("s1")
	rec.Slots[0] = cluster.SlotRef{Slot: slotID(3), Machine: "m1"}
	s.write(rec)
}

func (s *forcedSite) wantTail(state string, want tail.Counts) *tail.Report {
	s.t.Helper()
	var r *tail.Report
	s.within(5*time.Minute, func() error {
		list := s.agents["m1"].Tails()
		if len(list) != 1 || list[0].State != state || list[0].Counts != want {
			return fmt.Errorf("tails %s", told(list))
		}
		r = list[0]
		return nil
	})
	return r
}

var (
	annHas = []string{
		"Archive common", "Drafts draft \\Seen \\Draft", "INBOX alone", "INBOX answer lost", "INBOX common", "INBOX in a new mailbox",
		"INBOX new", "INBOX to be expunged",
	}
	bobHas = []string{"INBOX alone", "INBOX common", "INBOX reply lost"}
	// found are alone (2), draft, in a new mailbox, the copy, answer lost, reply lost.
	allBack = tail.Counts{Found: 7, Delivered: 5, Had: 2, Listed: 4}
)

func inForcedSite(t *testing.T, f func(s *forcedSite)) {
	inSite(t, func(t *testing.T, s *site) { f(&forcedSite{site: s, t: t}) }, "m1", "m2")
}

func TestTailOfAnOldMasterIsBroughtBackOnce(t *testing.T) {
	inForcedSite(t, func(s *forcedSite) {
		s.left()
		s.wantContent(ann, "INBOX answer lost", "INBOX common", "INBOX new", "INBOX to be expunged")
		s.comeBack()
		r := s.wantTail(tail.StateDone, allBack)
		s.wantContent(ann, annHas...)
		s.wantContent(bob, bobHas...)
		for _, u := range r.Users {
			if u.User != "ann@example.org" {
				continue
			}
			want := []string{
				`mailbox "Lists" created`, `mailbox "INBOX", messages 1: flags added: \Flagged`,
				`mailbox "INBOX", messages 2: flags added: \Deleted`, `mailbox "INBOX", messages 2: expunged`,
			}
			if !slices.Equal(u.Changes, want) {
				s.t.Errorf("listed\n%s", strings.Join(u.Changes, "\n"))
			}
		}
		s.inSync(2)

		// All of it again, with nothing written down.
		m1 := s.agents["m1"]
		m1.stop()
		if err := m1.fs.RemoveAll("/meta/slots/s1.01000000/tails"); err != nil {
			s.t.Fatal(err)
		}
		m1.start("m1")
		s.wantTail(tail.StateDone, tail.Counts{Found: 7, Had: 7, Listed: 4})
		s.wantContent(ann, annHas...)
		s.wantContent(bob, bobHas...)
	})
}

func TestTailInterruptedAnywhereIsBroughtBackOnce(t *testing.T) {
	for stop := range 5 {
		inForcedSite(t, func(s *forcedSite) {
			s.left()
			reached := make(chan struct{})
			s.fault = func(slot.Delivery) error { // it is made, and nobody hears of it
				if s.made < stop {
					return nil
				}
				select {
				case <-reached:
				default:
					close(reached)
				}
				return errors.New("the answer is lost")
			}
			s.comeBack()
			<-reached
			m1 := s.agents["m1"]
			m1.stop()
			s.fault = nil
			m1.start("m1")
			s.within(5*time.Minute, func() error {
				list := m1.Tails()
				if len(list) != 1 || list[0].State != tail.StateDone {
					return fmt.Errorf("tails %s", told(list))
				}
				return nil
			})
			s.wantContent(ann, annHas...)
			s.wantContent(bob, bobHas...)
		})
	}
}

func TestOneUsersTailHoldsNobodyUp(t *testing.T) {
	inForcedSite(t, func(s *forcedSite) {
		s.left()
		if err := s.now().Freeze(s.t.Context(), bob.String(), true, "root", "a test"); err != nil {
			s.t.Fatal(err)
		}
		s.comeBack()
		r := s.wantTail(tail.StateOpen, tail.Counts{Found: 7, Delivered: 4, Had: 2, Left: 1, Listed: 4})
		s.wantContent(ann, annHas...)
		i := slices.IndexFunc(r.Users, func(u *tail.UserReport) bool { return u.Left > 0 })
		if i < 0 || r.Users[i].User != "bob@example.org" || len(r.Users[i].Failed) != 1 || !strings.Contains(r.Users[i].Failed[0], mail.ErrFrozen.Error()) {
			s.t.Errorf("users %+v", r.Users)
		}
		if st := s.agents["m1"].Status().Tails; len(st) != 1 || st[0].Left != 1 {
			s.t.Errorf("status %+v", st)
		}
		if err := s.now().Freeze(s.t.Context(), bob.String(), false, "root", "a test"); err != nil {
			s.t.Fatal(err)
		}
		s.wantTail(tail.StateDone, allBack)
		s.wantContent(bob, bobHas...)
	})
}

func told(list []*tail.Report) string {
	b, err := json.MarshalIndent(list, "", " ")
	if err != nil {
		return err.Error()
	}
	return string(b)
}
