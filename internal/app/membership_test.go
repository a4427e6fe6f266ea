package app

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"

	"github.com/tandemail/tandemail/internal/config"
	"github.com/tandemail/tandemail/internal/coord"
	"github.com/tandemail/tandemail/internal/pki"
)

func TestOnlyMembersWithTheirKeyMayConnect(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		key, other := pki.KeyID{1}, pki.KeyID{2}
		// The coordinator is away: the certificate is all there is.
		if err := r.allowed("m2", key); err != nil {
			t.Errorf("before the records were read: %v", err)
		}
		r.putMachine(coord.MachineRecord{Machine: "m2", Key: key.String()})
		r.putMachine(coord.MachineRecord{Machine: "m3"}) // of a release without keys
		r.run()
		for _, err := range []error{r.allowed("m2", key), r.allowed("m3", other)} {
			if err != nil {
				t.Errorf("a member is refused: %v", err)
			}
		}
		if err := r.allowed("m2", other); !errors.Is(err, errOtherKey) {
			t.Errorf("another key: %v", err)
		}
		if err := r.allowed("m9", key); !errors.Is(err, errNoMember) {
			t.Errorf("a machine without a record: %v", err)
		}
		if _, _, err := r.mem.Txn(t.Context(), coord.Txn{Then: []coord.Op{coord.Delete(coord.MachineKey("m2"))}}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if err := r.allowed("m2", key); !errors.Is(err, errNoMember) {
			t.Errorf("a machine whose record was deleted: %v", err)
		}
	})
}

func TestPeersAreLookedAtAgainAtEachChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.run()
		ctx, cancel := context.WithCancel(t.Context())
		looks, ended := make(chan bool, 10), make(chan error, 1)
		go func() {
			ended <- eachChange(ctx, r.routes, func() { looks <- r.allowed("m2", pki.KeyID{}) == nil })
		}()
		if <-looks {
			t.Error("m2 is a member already")
		}
		r.putMachine(coord.MachineRecord{Machine: "m2"})
		if !<-looks {
			t.Error("m2 is not a member yet")
		}
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("ended: %v", err)
		}
	})
}

func TestRegistrationKeepsWhatOperatorsHaveSet(t *testing.T) {
	r := newRig(t)
	r.cfg.Zone, r.cfg.Roles = "z1", []string{config.RoleStorage}
	r.putMachine(coord.MachineRecord{Machine: "m1", Zone: "old", Weight: 3, Draining: true, DrainReason: "new disk"})
	if err := r.machine.putMachine(t.Context(), func(*coord.MachineRecord) {}); err != nil {
		t.Fatal(err)
	}
	want := coord.MachineRecord{
		Machine: "m1", Zone: "z1", Weight: 3, Storage: true, Draining: true, DrainReason: "new disk", Key: r.identity.Key.String(),
	}
	if got, _ := r.machineRecord("m1"); got != want {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}
