package app

import (
	"net/http"
	"slices"
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

// copyAt is what a machine says of its copy of s01.
func copyAt(id byte, applied cluster.LSN, f *slot.Fault) agent.Status {
	return agent.Status{Slots: []agent.SlotStatus{{Store: "s01", Slot: cluster.SlotID{id}, Applied: applied, Fault: f}}}
}

func TestOperationIsGivenUpOnlyWhenNoCopyAppliesIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		rec := s01()
		rec.Skipped = []cluster.Skip{{LSN: 50}}
		r.put(coord.StoreKey("s01"), rec.Encode())
		fault := func(kind string, newer bool) *slot.Fault {
			return &slot.Fault{LSN: 100, Kind: kind, Newer: newer, Reason: "panic"}
		}
		for _, tc := range []struct {
			name    string
			lsn     cluster.LSN
			m1, m2  agent.Status
			message string
		}{
			{"applied", 100, copyAt(1, 90, fault("Create", false)), copyAt(2, 200, nil), "the copy of store s01 on m2 has applied the operation at 100"},
			{"nobody stopped", 101, copyAt(1, 90, fault("Create", false)), copyAt(2, 90, nil), "no copy of store s01 has stopped at operation 101"},
			{"newer", 100, copyAt(1, 90, fault("unreadable", true)), copyAt(2, 90, nil), "a newer release wrote the operation at 100; it is not given up"},
			{"fork", 100, copyAt(1, 90, fault("Fork", false)), copyAt(2, 90, nil), "the operation at 100 begins a new history; without it numbers of messages would be used twice"},
			{"again", 50, copyAt(1, 90, nil), copyAt(2, 90, nil), "the operation at 50 was given up already"},
		} {
			r.agents["m1"], r.agents["m2"] = tc.m1, tc.m2
			_, err := r.SkipOp(t.Context(), "s01", api.SkipRequest{LSN: tc.lsn, By: "root@m1", Reason: "a test"})
			wantError(t, err, http.StatusConflict, tc.message)
		}
		_, err := r.SkipOp(t.Context(), "s01", api.SkipRequest{LSN: 100, By: "root@m1"})
		wantError(t, err, http.StatusBadRequest, "who gives an operation up, and why, takes 1 to 200 octets each")
	})
}

func TestPlanOfASkipChangesNothingAndSkippingIsRecorded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.put(coord.StoreKey("s01"), s01().Encode())
		r.run()
		if _, err := r.users.Add(t.Context(), directory.User{Name: "ann@example.org", Store: "s01", Account: mail.AccountID{1}}); err != nil {
			t.Fatal(err)
		}
		r.agents["m1"] = copyAt(1, 90, &slot.Fault{LSN: 100, Kind: "Deliver", Accounts: []mail.AccountID{{1}, {2}}, Reason: "panic"})
		r.agents["m2"] = copyAt(2, 90, nil)
		req := api.SkipRequest{LSN: 100, By: "root@m1", Reason: "a test", PlanOnly: true}
		got, err := r.SkipOp(t.Context(), "s01", req)
		frozen := []api.FrozenAccount{{Account: mail.AccountID{1}.String(), Address: "ann@example.org"}, {Account: mail.AccountID{2}.String()}}
		if err != nil || got.Done || got.Kind != "Deliver" || !slices.Equal(got.Frozen, frozen) ||
			!slices.Equal(got.Stopped, []cluster.Machine{"m1"}) || !slices.Equal(got.Silent, []cluster.Machine{"m3"}) {
			t.Errorf("plan %+v, %v", got, err)
		}
		if rec, _, err := r.record(t.Context(), "s01"); err != nil || len(rec.Skipped) != 0 {
			t.Errorf("record after the plan: %+v, %v", rec, err)
		}
		req.PlanOnly = false
		if got, err = r.SkipOp(t.Context(), "s01", req); err != nil || !got.Done {
			t.Errorf("done %+v, %v", got, err)
		}
		want := []cluster.Skip{{LSN: 100, By: "root@m1", Reason: "a test"}}
		if rec, _, err := r.record(t.Context(), "s01"); err != nil || !slices.Equal(rec.Skipped, want) {
			t.Errorf("record %+v, %v", rec, err)
		}
		kvs, _, err := r.mem.List(t.Context(), coord.HistoryPrefix)
		if err != nil || len(kvs) != 1 {
			t.Fatalf("history %v, %v", kvs, err)
		}
		if e, err := coord.Decode[coord.HistoryEntry](kvs[0]); err != nil || e.By != "root@m1" || e.Kind != "skip-op" || e.Reason != "Deliver operation at 100 (panic): a test" {
			t.Errorf("history %+v, %v", e, err)
		}
	})
}
