package agent

import (
	"encoding/json"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/slot"
)

// TestStatusIsTheDocumentedOne: other releases read it.
func TestStatusIsTheDocumentedOne(t *testing.T) {
	id := slotID(1)
	st := Status{
		Machine: "m1", PID: 4711, Level: 1, SyncAge: 1e6, Accuses: []cluster.Machine{"m3"},
		Lost: []Lost{{Store: "s02", Slot: slotID(7), Why: "not mounted, or wiped"}},
		Slots: []SlotStatus{{
			Store: "s01", Slot: id, Role: "master", State: "ok", Incarnation: 77, Counter: 3, Epoch: 5, Serving: true,
			End: 9000, Durable: 9000, Commit: 9000, Applied: 8500, Rev: 12, CoordRev: 14, Reaches: []cluster.SlotID{slotID(2)}, PendingOps: 1,
			Settled: 8000, Damaged: []slot.Damaged{{Body: 700, Pack: "00000000000000a1", Why: "frame 0: payload checksum mismatch"}},
			Record: cluster.StoreRecord{
				Store: "s01", Slots: []cluster.SlotRef{{Slot: id, Machine: "m1", Counter: 3}}, Epoch: 5, Master: id,
				Incarnation: 77, InSync: []cluster.SlotID{id}, Nonce: "n",
			},
		}},
	}
	b, err := json.MarshalIndent(st, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	doc, err := os.ReadFile("../../docs/protocol/agent.md")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(doc), "```json\n"+string(b)+"\n```") {
		t.Errorf("docs/protocol/agent.md does not show\n%s", b)
	}
	var back Status
	if err := json.Unmarshal(b, &back); err != nil || !reflect.DeepEqual(st, back) {
		t.Errorf("read back %+v, %v", back, err)
	}
}

func TestEveryMethodIsDocumented(t *testing.T) {
	doc, err := os.ReadFile("../../docs/protocol/agent.md")
	if err != nil {
		t.Fatal(err)
	}
	for m := range questions {
		if !strings.Contains(string(doc), "| `"+m+"` |") {
			t.Errorf("docs/protocol/agent.md does not name %s", m)
		}
	}
	for m := range times {
		if questions[m] == nil {
			t.Errorf("time of %s, which is no method", m)
		}
	}
}
