package agent

import (
	"encoding/json"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/coord/memory"
	"github.com/tandemail/tandemail/internal/replica"
)

func TestPartnersFollowOverTheirConnections(t *testing.T) {
	inSite(t, func(t *testing.T, s *site) {
		s.write(newStore("s1", "m1", "m2"))
		s.lead("m1", "s1")
		s.agents["m2"].wantStates("s1 02 ok")
		if rec := s.read("s1"); len(rec.InSync) != 2 {
			t.Errorf("record %+v", rec)
		}
	}, "m1", "m2")
}

func TestStreamForAnotherSlotOrFromAStrangerIsRefused(t *testing.T) {
	inSite(t, func(t *testing.T, s *site) {
		s.write(newStore("s1", "m1", "m2"))
		s.lead("m1", "s1")
		hello := func(h streamHello) []byte {
			b, err := json.Marshal(h)
			if err != nil {
				t.Fatal(err)
			}
			return b
		}
		for name, c := range map[string]struct {
			peer  cluster.Machine
			hello []byte
		}{
			"a slot that is not here":     {"m2", hello(streamHello{Store: "s1", From: slotID(2), To: slotID(3)})},
			"another store":               {"m2", hello(streamHello{Store: "s2", From: slotID(2), To: slotID(1)})},
			"another machine's slot":      {"m3", hello(streamHello{Store: "s1", From: slotID(2), To: slotID(1)})},
			"a slot that is nobody's":     {"m2", hello(streamHello{Store: "s1", From: slotID(7), To: slotID(1)})},
			"no slot":                     {"m2", hello(streamHello{Store: "s1", To: slotID(1)})},
			"garbage":                     {"m2", []byte("\x00{")},
			"nothing":                     {"m2", nil},
			"a name that is no machine's": {"", hello(streamHello{Store: "s1", From: slotID(9), To: slotID(1)})},
		} {
			here, there := net.Pipe()
			if err := s.agents["m1"].HandleReplica(t.Context(), c.peer, c.hello, there); err == nil {
				t.Errorf("%s: accepted", name)
			}
			if _, err := here.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
				t.Errorf("%s: the connection is left open: %v", name, err)
			}
		}
	}, "m1", "m2")
}

// TestMasterGoesAloneOnlyIfNobodySeesItsPartnerAtWork.
func TestMasterGoesAloneOnlyIfNobodySeesItsPartnerAtWork(t *testing.T) {
	inSite(t, func(t *testing.T, s *site) {
		s.write(newStore("s1", "m1", "m2"))
		s.lead("m1", "s1")
		s.agents["m2"].wantStates("s1 02 ok")
		ask := func(id cluster.SlotID, want replica.Verdict, why string) {
			t.Helper()
			begun := time.Now()
			if got := (peers{s.agents["m1"].Agent}).MayGoAlone(t.Context(), "m2", id); got != want {
				t.Errorf("%s: verdict %v, want %v", why, got, want)
			}
			if d := time.Since(begun); d > reachTime {
				t.Errorf("%s: asked for %v", why, d)
			}
		}
		ask(slotID(2), replica.HandOver, "m3 sees it")
		ask(slotID(8), replica.GoAlone, "m2 runs, without the slot")
		s.agents["m2"].cut = true
		ask(slotID(2), replica.GoAlone, "m2 is silent to all")
		s.agents["m2"].cut, s.agents["m3"].cut = false, true
		ask(slotID(2), replica.GoAlone, "nobody is there to ask, and the coordinator is")
		s.agents["m1"].client.SetFaults(memory.Faults{Down: errors.New("cable")})
		ask(slotID(2), replica.NoVerdict, "the coordinator is not reached")
		s.agents["m1"].client.SetFaults(memory.Faults{})
		s.agents["m3"].cut = false
		s.agents["m2"].stop()
		ask(slotID(2), replica.GoAlone, "its slots are closed")
	}, "m1", "m2", "m3")
}

func TestAHangingDiskIsNotAtWork(t *testing.T) {
	st := Status{Slots: []SlotStatus{{Slot: slotID(1), Role: "replica", State: "ok"}}}
	if !st.follows(slotID(1)) {
		t.Error("a healthy replica is not at work")
	}
	st.SyncAge = hangs
	if st.follows(slotID(1)) {
		t.Error("a replica whose disk hangs is at work")
	}
}

func TestAnyOctetsAreAnswered(t *testing.T) {
	inSite(t, func(t *testing.T, s *site) {
		a := s.agents["m1"]
		for _, in := range []string{"", "{", "null", "[]", `{"method":7}`, `{"slot":"zz"}`, "\xff\xfe", strings.Repeat("[", 100_000)} {
			var resp response
			if err := json.Unmarshal(a.Handle(t.Context(), "m2", []byte(in)), &resp); err != nil || resp.Error == "" {
				t.Errorf("%.20q: %+v, %v", in, resp, err)
			}
		}
	}, "m1")
}

func TestErrorsKeepTheirKindOnTheWire(t *testing.T) {
	inSite(t, func(t *testing.T, s *site) {
		s.write(newStore("s1", "m1", "m2"))
		s.lead("m1", "s1")
		r := s.agents["m2"].cfg.Remote
		if err := r.CreateAccount(t.Context(), "m1", "s9", "00", 0); !errors.Is(err, cluster.ErrNotMaster) {
			t.Errorf("a store that is not there: %v", err)
		}
		if err := r.CreateAccount(t.Context(), "m2", "s1", strings.Repeat("01", 16), 0); !errors.Is(err, cluster.ErrNotMaster) {
			t.Errorf("the replica: %v", err)
		}
		if err := r.CreateAccount(t.Context(), "m1", "s1", "zz", 0); err == nil || errors.Is(err, cluster.ErrNotMaster) {
			t.Errorf("an account that is none: %v", err)
		}
		if _, err := r.ask(t.Context(), "m1", request{Method: "dance"}); !errors.Is(err, cluster.ErrNewer) {
			t.Errorf("a method of a later release: %v", err)
		}
		if err := r.Nominate(t.Context(), "m1", "s1", slotID(1), 0); err == nil {
			t.Error("a decision of an epoch that is over was passed on")
		}
		if err := r.Nominate(t.Context(), "m1", "s1", slotID(2), 9); err == nil {
			t.Error("another slot's nomination was passed on")
		}
	}, "m1", "m2")
}

func TestQuestionsDoTheirWork(t *testing.T) {
	inSite(t, func(t *testing.T, s *site) {
		s.write(newStore("s1", "m1", "m2"))
		s.lead("m1", "s1")
		s.agents["m2"].wantStates("s1 02 ok")
		r, account := s.agents["m1"].cfg.Remote, strings.Repeat("01", 16)
		for range 2 { // repeating is harmless
			if err := r.CreateAccount(t.Context(), "m1", "s1", account, 0); err != nil {
				t.Fatal(err)
			}
		}
		d1, err1 := r.Digest(t.Context(), "m1", "s1", 0)
		d2, err2 := r.Digest(t.Context(), "m2", "s1", d1.LSN)
		if err1 != nil || err2 != nil || d1.Accounts != 1 || d1.Sum != d2.Sum {
			t.Errorf("digests %+v, %v and %+v, %v", d1, err1, d2, err2)
		}
		epoch := s.read("s1").Epoch
		if err := r.Switch(t.Context(), "m1", "s1", slotID(2)); err != nil {
			t.Fatal(err)
		}
		if err := r.AwaitServing(t.Context(), "m2", "s1", epoch+1); err != nil {
			t.Fatal(err)
		}
		if rec := s.read("s1"); rec.Master != slotID(2) {
			t.Errorf("record %+v", rec)
		}
		for range 2 {
			if err := r.DeleteAccount(t.Context(), "m2", "s1", account); err != nil {
				t.Fatal(err)
			}
		}
	}, "m1", "m2")
}

// TestNoQuestionLastsForEver: the asker has no deadline of its own.
func TestNoQuestionLastsForEver(t *testing.T) {
	inSite(t, func(t *testing.T, s *site) {
		s.write(newStore("s1", "m1", "m2"))
		s.lead("m1", "s1")
		for _, req := range []request{{Method: "await", Store: "s1", Epoch: 99}, {Method: "reach", Machine: "m9"}} {
			begun := time.Now()
			b, err := json.Marshal(req)
			if err != nil {
				t.Fatal(err)
			}
			s.agents["m1"].Handle(t.Context(), "m2", b)
			if d := time.Since(begun); d != timeOf(req.Method) {
				t.Errorf("%s took %v", req.Method, d)
			}
		}
		begun := time.Now()
		if _, err := s.agents["m1"].cfg.Remote.Status(t.Context(), "m9"); err == nil || time.Since(begun) != CallTime {
			t.Errorf("status of a silent machine: %v after %v", err, time.Since(begun))
		}
	}, "m1", "m2")
}
