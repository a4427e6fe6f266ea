package app

import (
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/tandemail/tandemail/internal/agent"
	"github.com/tandemail/tandemail/internal/api"
	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/coord"
	"github.com/tandemail/tandemail/internal/directory"
	"github.com/tandemail/tandemail/internal/mail"
	"github.com/tandemail/tandemail/internal/slot"
)

// behindAt is what a machine says of a copy of s01 that follows.
func behindAt(id byte, role, state string, durable cluster.LSN, epoch cluster.Epoch) agent.Status {
	return agent.Status{Slots: []agent.SlotStatus{{Store: "s01", Slot: cluster.SlotID{id}, Role: role, State: state, Durable: durable, EndEpoch: epoch}}}
}

// forcedRig has store s01 with master m1, and m2 in sync or not, and m3 behind.
func forcedRig(t *testing.T, inSync ...cluster.SlotID) *rig {
	r := newRig(t)
	rec := s01()
	rec.InSync = inSync
	r.put(coord.StoreKey("s01"), rec.Encode())
	for _, m := range []cluster.Machine{"m1", "m2", "m3"} {
		r.putMachine(coord.MachineRecord{Machine: m, Storage: true})
	}
	return r
}

func TestForcedFailoverIsRefusedWhileACopyInSyncAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := forcedRig(t, cluster.SlotID{1})
		behind := behindAt(3, "replica", slot.StateCatching, 90, 2)
		serving := behindAt(1, "master", slot.StateOK, 100, 3)
		serving.Slots[0].Serving = true
		for name, tc := range map[string]struct {
			m1      *agent.Status
			m3      *agent.Status
			message string
		}{
			"it serves":         {&serving, &behind, "store s01 is served by m1"},
			"it will be master": {new(behindAt(1, "replica", slot.StateOK, 100, 3)), &behind, "the copy of store s01 on m1 is in sync, and answers"},
			"it is frozen":      {new(behindAt(1, "replica", slot.StateFrozen, 100, 3)), &behind, "the copy of store s01 on m1 is in sync, and frozen: "},
			"it stopped":        {new(copyAt(1, 90, &slot.Fault{LSN: 100})), &behind, "the copy of store s01 on m1 is whole but for an operation that it cannot apply; a forced failover would only lose mail"},
			"nobody is left":    {nil, nil, "store s01 has no copy that could be forced: m2 does not answer; m3 does not answer"},
			"an empty copy":     {nil, new(behindAt(3, "replica", slot.StateCatching, 0, 0)), "store s01 has no copy that could be forced: m2 does not answer; the copy on m3 is empty"},
			"a failed copy":     {nil, new(behindAt(3, "failed", slot.StateFailed, 9, 2)), "store s01 has no copy that could be forced: m2 does not answer; the copy on m3 is failed (failed) "},
		} {
			clear(r.agents)
			if tc.m1 != nil {
				r.agents["m1"] = *tc.m1
			}
			if tc.m3 != nil {
				r.agents["m3"] = *tc.m3
			}
			t.Log(name)
			_, err := r.Failover(t.Context(), "s01", api.FailoverRequest{By: "root@m1", Reason: "a test", PlanOnly: true})
			wantError(t, err, http.StatusConflict, tc.message)
		}
	})
}

func TestPlanOfAForcedFailover(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := forcedRig(t, cluster.SlotID{1})
		r.run()
		for i, store := range []cluster.Store{"s01", "s02"} {
			name := []string{"ann@example.org", "bob@example.org"}[i]
			if _, err := r.users.Add(t.Context(), directory.User{Name: name, Store: store, Account: mail.AccountID{byte(i + 1)}}); err != nil {
				t.Fatal(err)
			}
		}
		r.agents["m2"] = behindAt(2, "replica", slot.StateCatching, 90, 2)
		r.agents["m3"] = behindAt(3, "replica", slot.StateCatching, 50, 3) // less octets, of a newer history
		req := api.FailoverRequest{By: "root@m1", Reason: "a test", PlanOnly: true}
		got, err := r.Failover(t.Context(), "s01", req)
		if err != nil || got.Done || got.To != "m3" || got.LSN != 50 || got.Ended != 3 || got.From != "m1" || got.WaitSec != 11 ||
			!slices.Equal(got.Users, []string{"ann@example.org"}) || len(got.Lost) != 1 || got.Lost[0].Why != "no answer" {
			t.Errorf("plan %+v, %v", got, err)
		}
		req.To = "m2"
		if got, err = r.Failover(t.Context(), "s01", req); err != nil || got.To != "m2" || got.LSN != 90 {
			t.Errorf("plan for m2 %+v, %v", got, err)
		}
		req.PlanOnly, req.Rev = false, got.Rev-1
		_, err = r.Failover(t.Context(), "s01", req)
		if err == nil || !strings.Contains(err.Error(), "has changed since the plan") {
			t.Errorf("confirmed for another revision: %v", err)
		}
		req.Rev = got.Rev
		_, err = r.Failover(t.Context(), "s01", req) // the agents of this test refuse
		if err == nil || !strings.Contains(err.Error(), "refused by the test") {
			t.Errorf("refused: %v", err)
		}
		kvs, _, err := r.mem.List(t.Context(), coord.HistoryPrefix)
		if err != nil || len(kvs) != 1 {
			t.Fatalf("history %v, %v", kvs, err)
		}
		e, err := coord.Decode[coord.HistoryEntry](kvs[0])
		want := "a test; at risk: what came after 90 (epoch 2), an amount that nobody knows, of 1 users"
		if err != nil || e.By != "root@m1" || e.Kind != "forced-failover" || e.Reason != want || e.Error == "" {
			t.Errorf("history %+v, %v", e, err)
		}
	})
}

func TestMoreThanOneLostCopyMustBeOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := forcedRig(t, cluster.SlotID{1}, cluster.SlotID{2})
		r.agents["m3"] = behindAt(3, "replica", slot.StateCatching, 50, 3)
		req := api.FailoverRequest{By: "root@m1", Reason: "a test", PlanOnly: true}
		_, err := r.Failover(t.Context(), "s01", req)
		wantError(t, err, http.StatusConflict, "store s01 had copies in sync on m1 and m2, which go on if they reach each other; waiting does not end them")
		req.OldIsOff = true
		if got, err := r.Failover(t.Context(), "s01", req); err != nil || got.WaitSec != 1.1 {
			t.Errorf("with both off: %+v, %v", got, err)
		}
	})
}

func TestFenceCommandVouchesForTheMachinesItSwitchedOff(t *testing.T) {
	dir := t.TempDir()
	command := filepath.Join(dir, "fence")
	script := "#!/bin/sh\necho $1 >> " + dir + "/fenced\ntest $1 != m9\n"
	if err := os.WriteFile(command, []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	r := newRig(t)
	r.cfg.Control.Fence = command
	p := failoverPlan{off: []cluster.Machine{"m1", "m2"}}
	if err := r.fence(t.Context(), &p); err != nil || !p.OldIsOff || p.WaitSec != 1.1 {
		t.Errorf("%+v, %v", p, err)
	}
	if b, err := os.ReadFile(dir + "/fenced"); err != nil || string(b) != "m1\nm2\n" {
		t.Errorf("called for %q, %v", b, err)
	}
	p = failoverPlan{off: []cluster.Machine{"m9"}}
	if err := r.fence(t.Context(), &p); err != nil || p.OldIsOff {
		t.Errorf("failed for a lone master: %+v, %v; want to wait", p, err)
	}
	p = failoverPlan{off: []cluster.Machine{"m9", "m1"}}
	if err := r.fence(t.Context(), &p); err == nil || p.OldIsOff {
		t.Error("failed for one of two, and went on")
	}
}
