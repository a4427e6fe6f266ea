package app

import (
	"bytes"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tandemail/tandemail/internal/agent"
	"github.com/tandemail/tandemail/internal/api"
	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/coord"
	"github.com/tandemail/tandemail/internal/directory"
	"github.com/tandemail/tandemail/internal/mail"
	"github.com/tandemail/tandemail/internal/slot"
)

// claimOf is of slot id of s01, whose record was at rev when it had this epoch.
func claimOf(id byte, epoch cluster.Epoch, rev cluster.Rev, inSync ...cluster.SlotID) slot.Claim {
	rec := s01()
	rec.Epoch, rec.InSync = epoch, inSync
	return slot.Claim{Store: "s01", Slot: cluster.SlotID{id}, Record: rec, Rev: rev, CoordRev: rev + 3}
}

var recovery = api.RecoverRequest{By: "root@m1", Reason: "a test"}

func TestWipedCoordinatorGetsTheHighestClaimAboveEveryRevision(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		for _, m := range []cluster.Machine{"m1", "m2"} {
			r.putMachine(coord.MachineRecord{Machine: m, Storage: true})
		}
		one, two := cluster.SlotID{1}, cluster.SlotID{2}
		r.agents["m1"] = agent.Status{Claims: []slot.Claim{claimOf(1, 4, 700, one)}} // alone, later
		r.agents["m2"] = agent.Status{Claims: []slot.Claim{claimOf(2, 4, 650, one, two), claimOf(9, 2, 900, two), {Store: "s02", Slot: cluster.SlotID{8}}}}
		plan := recovery
		plan.PlanOnly = true
		got, err := r.Recover(t.Context(), plan)
		if err != nil || got.Done || got.Generation != 1 || got.Seen != 903 || len(got.Stores) != 1 || !slices.Equal(got.Silent, []cluster.Machine{"m3"}) {
			t.Fatalf("plan %+v, %v", got, err)
		}
		if s := got.Stores[0]; s.Claimant != "m1" || s.Epoch != 4 || !slices.Equal(s.InSync, []cluster.Machine{"m1"}) || !slices.Equal(s.Silent, []cluster.Machine{"m3"}) {
			t.Errorf("store %+v", s)
		}
		if _, _, err := r.record(t.Context(), "s01"); err == nil {
			t.Error("the plan wrote a record")
		}
		_, err = r.CreateStores(t.Context(), api.StoresRequest{Count: 1})
		wantError(t, err, http.StatusConflict,
			"m1 has a copy of store s01, which the coordinator does not know: it was wiped or went back")
		if got, err = r.Recover(t.Context(), recovery); err != nil || !got.Done {
			t.Fatalf("recover: %+v, %v", got, err)
		}
		rec, rev, err := r.record(t.Context(), "s01")
		if err != nil || rev <= 903 || rec.Generation != 1 || rec.Epoch != 5 || !slices.Equal(rec.InSync, []cluster.SlotID{one}) {
			t.Errorf("record %+v at %d, %v", rec, rev, err)
		}
		_, err = r.Recover(t.Context(), recovery)
		wantError(t, err, http.StatusConflict, "the coordinator contradicts no slot that answers; there is nothing to recover")
		st := r.agents["m2"]
		st.Slots = []agent.SlotStatus{{Store: "s01", Slot: two, State: slot.StateFrozen, Record: rec, Rev: rev}}
		r.agents["m2"] = st
		if got, err = r.Recover(t.Context(), recovery); err != nil || got.Generation != 2 {
			t.Errorf("a slot is frozen: %+v, %v", got, err)
		}
	})
}

func TestRevisionTooFarAwayIsNotMadeByChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.putMachine(coord.MachineRecord{Machine: "m1", Storage: true})
		r.agents["m1"] = agent.Status{Claims: []slot.Claim{claimOf(1, 4, 5_000_000, cluster.SlotID{1})}}
		_, err := r.Recover(t.Context(), recovery)
		wantError(t, err, http.StatusConflict, "its revision is 7, slots have seen 5000003: too far to raise it by changes")
	})
}

func TestExportBringsBackTheDirectoryAndKeepsWhatIsThere(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		old := newRig(t)
		old.cfg.Meta = dir
		if err := old.exportOnce(t.Context(), time.Now()); !errors.Is(err, errNothingToExport) {
			t.Errorf("an empty coordinator: %v", err)
		}
		old.put(coord.StoreKey("s01"), s01().Encode())
		old.putMachine(coord.MachineRecord{Machine: "m1", Storage: true})
		old.put(coord.SettingsKey, coord.Encode(coord.Settings{NoReturn: true}))
		old.put(coord.StruckKey("beef"), coord.Encode(coord.StruckRecord{Machine: "m9"}))
		old.run()
		for i, name := range []string{"ann@example.org", "bob@example.org", "o<&>o@example.org"} {
			if _, err := old.users.Add(t.Context(), directory.User{Name: name, Store: "s01", Account: mail.AccountID{byte(i + 1)}, Credential: "hash"}); err != nil {
				t.Fatal(err)
			}
		}
		for i := range exportsKept + 3 {
			if err := old.exportOnce(t.Context(), time.Now().Add(time.Duration(i)*time.Hour)); err != nil {
				t.Fatal(err)
			}
		}
	})
	files, err := filepath.Glob(filepath.Join(dir, "coordinator", "*"))
	if err != nil || len(files) != exportsKept {
		t.Fatalf("files %v, %v", files, err)
	}
	if info, err := os.Stat(files[0]); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.put(coord.StoreKey("s01"), s01().Encode())
		r.run()
		if _, err := r.users.Add(t.Context(), directory.User{Name: "ann@example.org", Store: "s01", Account: mail.AccountID{9}}); err != nil {
			t.Fatal(err)
		}
		req := recovery
		req.From = files[len(files)-1]
		got, err := r.Recover(t.Context(), req)
		if err != nil || got.Restored != 4 || got.Kept != 1 || got.Users != 1 {
			t.Errorf("restored %+v, %v", got, err)
		}
		synctest.Wait()
		if _, err := r.users.Lookup(t.Context(), "later@example.org"); !errors.Is(err, directory.ErrIncomplete) {
			t.Errorf("who may have been added after the export: %v", err)
		}
		if st, err := r.Status(t.Context()); err != nil || st.Problems[len(st.Problems)-1].Code != "directory-incomplete" {
			t.Errorf("status %+v, %v", st, err)
		}
		if got, err := r.Recover(t.Context(), api.RecoverRequest{By: "root@m1", Reason: "a test", Complete: true}); err != nil || !got.Done || got.Users != 3 {
			t.Errorf("complete: %+v, %v", got, err)
		}
		synctest.Wait()
		if _, err := r.users.Lookup(t.Context(), "later@example.org"); !errors.Is(err, directory.ErrNoUser) {
			t.Errorf("who never was, in a complete directory: %v", err)
		}
		if _, rev, err := r.mem.Get(t.Context(), coord.StruckKey("beef")); rev == 0 || err != nil {
			t.Errorf("a key that was struck is not any more: %v", err)
		}
		for name, id := range map[string]byte{"ann@example.org": 9, "bob@example.org": 2, "o<&>o@example.org": 3} {
			if u, err := r.users.Lookup(t.Context(), name); err != nil || u.Account != (mail.AccountID{id}) {
				t.Errorf("%s: %+v, %v", name, u, err)
			}
		}
		if _, there := r.machineRecord("m1"); there {
			t.Error("a machine came back without registering")
		}
		r.cfg.Cluster = "another"
		_, err = r.Recover(t.Context(), req)
		wantError(t, err, http.StatusConflict, req.From+" is of cluster test")
	})
	b, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	for what, change := range map[string][]byte{"bob@": []byte("bab@"), `"format":1`: []byte(`"format":2`)} {
		bad := bytes.Replace(b, []byte(what), change, 1)
		path := filepath.Join(dir, "bad")
		if err := os.WriteFile(path, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := readExport(path); !errors.Is(err, cluster.ErrDamaged) && !errors.Is(err, cluster.ErrNewer) {
			t.Errorf("%s changed: %v", what, err)
		}
	}
}
