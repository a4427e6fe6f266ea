package cluster

import "testing"

func TestSkipIsNeverTakenBack(t *testing.T) {
	old := StoreRecord{
		Store: "s1", Slots: []SlotRef{{Slot: SlotID{1}, Machine: "m1"}}, Epoch: 3, Master: SlotID{1}, Incarnation: 7, InSync: []SlotID{{1}},
		Skipped: []Skip{{LSN: 100, By: "root@m1", Reason: "panic"}},
	}
	next := old.Clone()
	next.Skipped = append(next.Skipped, Skip{LSN: 50, By: "root@m1"})
	if err := old.LegalStep(next); err != nil {
		t.Errorf("one more: %v", err)
	}
	if len(old.Skipped) != 1 {
		t.Errorf("a clone shares its list: %v", old.Skipped)
	}
	for name, skipped := range map[string][]Skip{"none": nil, "another": {{LSN: 50}, {LSN: 100}}, "another reason": {{LSN: 100, By: "root@m1"}}} {
		next.Skipped = skipped
		if old.LegalStep(next) == nil {
			t.Errorf("%s in its place is legal", name)
		}
	}
	next.Skipped = make([]Skip, MaxSkips+1)
	if next.Validate() == nil {
		t.Error("too many are valid")
	}
}
