package app

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tandemail/tandemail/internal/agent"
	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/coord"
	"github.com/tandemail/tandemail/internal/coord/memory"
)

func TestStatusWithoutTheCoordinatorIsWhatTheMachinesKnow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		for _, rec := range []coord.MachineRecord{{Machine: "m1", Storage: true}, {Machine: "m2", Storage: true}, {Machine: "m3", Storage: true}} {
			r.putMachine(rec)
		}
		r.run()
		old, record := s01(), s01()
		old.Epoch, old.Master, old.InSync = 2, cluster.SlotID{2}, []cluster.SlotID{{2}, {3}}
		r.agents["m1"] = agent.Status{Slots: []agent.SlotStatus{{Store: "s01", Slot: cluster.SlotID{1}, Role: "master", State: "ok", Epoch: 3, Incarnation: 7, Record: record}}}
		r.agents["m2"] = agent.Status{Slots: []agent.SlotStatus{{Store: "s01", Slot: cluster.SlotID{2}, Role: "replica", State: "ok", Epoch: 2, Record: old}}}
		r.mem.SetFaults(memory.Faults{Down: errors.New("cut off")})
		time.Sleep(time.Minute) // virtual
		st, err := r.Status(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if len(st.Stores) != 1 || st.Stores[0].Epoch != 3 || st.Stores[0].Master != "m1" || len(st.Machines) != 3 || st.Machines[2].State != "down" {
			t.Errorf("status %+v", st)
		}
		var said []string
		for _, p := range st.Problems {
			said = append(said, p.Severity+" "+p.Code+" "+string(p.Machine))
			// Whether the last beat was answered, which was due when the answers ended, is open.
			if p.Code == "coordinator-stale" && !strings.Contains(p.Text, "has not answered for 58s") && !strings.Contains(p.Text, "has not answered for 1m0s") {
				t.Errorf("since when: %s", p.Text) // a watch that fell silent is noticed by the next beat
			}
		}
		if got := strings.Join(said, ", "); got != "critical coordinator-stale , warning machine-unreachable m3, note copy-missing m3" {
			t.Errorf("problems: %s", got)
		}
	})
}
