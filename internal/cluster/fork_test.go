package cluster

import "testing"

func TestLeftIsWhereTheFirstOfTheForksParted(t *testing.T) {
	forks := []Fork{{Epoch: 4, LSN: 500}, {Epoch: 9, LSN: 300}, {Epoch: 12, LSN: 900}}
	for e, want := range map[Epoch]LSN{3: 300, 4: 300, 8: 300, 9: 900, 11: 900} {
		if got, ok := Left(forks, e); got != want || !ok {
			t.Errorf("a history of epoch %d was left at %d, %v; want %d", e, got, ok, want)
		}
	}
	if _, ok := Left(forks, 12); ok {
		t.Error("a history that followed the last was left")
	}
	if _, ok := Left(append(forks, Fork{Epoch: 13}), 3); ok {
		t.Error("it is known where a forced epoch parts that does not serve yet")
	}
}

func TestForcedFailoverIsNeverForgotten(t *testing.T) {
	old := StoreRecord{
		Store: "s1", Slots: []SlotRef{{Slot: SlotID{1}, Machine: "m1"}}, Epoch: 5, Master: SlotID{1}, Incarnation: 7, InSync: []SlotID{{1}},
		Forced: 5, Forks: []Fork{{Epoch: 3, LSN: 80}, {Epoch: 5}},
	}
	next := old.Clone()
	next.Forced, next.Forks[1].LSN = 0, 90
	if err := old.LegalStep(next); err != nil {
		t.Errorf("it serves: %v", err)
	}
	if old.Forks[1].LSN != 0 {
		t.Errorf("a clone shares its list: %v", old.Forks)
	}
	for name, forks := range map[string][]Fork{
		"none": nil, "one less": {{Epoch: 3, LSN: 80}}, "elsewhere": {{Epoch: 3, LSN: 81}, {Epoch: 5}}, "of another epoch": {{Epoch: 3, LSN: 80}, {Epoch: 4}},
	} {
		next.Forks = forks
		if old.LegalStep(next) == nil {
			t.Errorf("%s in its place is legal", name)
		}
	}
	next = old.Clone()
	next.Forks[1].Epoch = 4
	if next.Validate() == nil {
		t.Error("a forced epoch that is not listed is valid")
	}
}
