package route

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/coord"
)

func record(epoch cluster.Epoch, master byte) coord.KV {
	slots := []cluster.SlotRef{{Slot: cluster.SlotID{1}, Machine: "m1"}, {Slot: cluster.SlotID{2}, Machine: "m2"}}
	r := cluster.StoreRecord{
		Store: "s1", Slots: slots, Epoch: epoch, Master: cluster.SlotID{master}, Incarnation: 7,
		InSync: []cluster.SlotID{{1}, {2}},
	}
	return coord.KV{Key: coord.StoreKey("s1"), Value: r.Encode()}
}

func TestRouteFollowsTheRecord(t *testing.T) {
	tab := New()
	tab.update(coord.Update{Listed: coord.StoresPrefix, All: []coord.KV{record(1, 1)}})
	if r, ok := tab.Lookup("s1"); !ok || r != (Route{"s1", "m1", 1}) {
		t.Fatalf("route %+v, %v", r, ok)
	}
	tab.update(coord.Update{Changes: []coord.Change{{KV: record(2, 2)}}})
	if r, _ := tab.Lookup("s1"); r != (Route{"s1", "m2", 2}) {
		t.Errorf("route %+v after a switch", r)
	}
	tab.update(coord.Update{Changes: []coord.Change{{KV: coord.KV{Key: coord.StoreKey("s1")}, Deleted: true}}})
	if _, ok := tab.Lookup("s1"); ok {
		t.Error("a deleted store still has a route")
	}
}

func TestWhatASlotSaidIsNotUndoneByAnOlderRecord(t *testing.T) {
	tab := New()
	tab.update(coord.Update{Listed: coord.StoresPrefix, All: []coord.KV{record(1, 1)}})
	tab.Learn(Route{"s1", "m2", 3})
	tab.update(coord.Update{Changes: []coord.Change{{KV: record(2, 1)}}})
	if r, _ := tab.Lookup("s1"); r != (Route{"s1", "m2", 3}) {
		t.Errorf("route %+v, want what the slot of epoch 3 said", r)
	}
	tab.Learn(Route{"s1", "m1", 1})
	if r, _ := tab.Lookup("s1"); r.Epoch != 3 {
		t.Errorf("route %+v, an older epoch won", r)
	}
}

func TestUnreadableRecordLeavesTheRoute(t *testing.T) {
	tab := New()
	tab.update(coord.Update{Listed: coord.StoresPrefix, All: []coord.KV{record(1, 1)}})
	tab.update(coord.Update{Changes: []coord.Change{{KV: coord.KV{Key: coord.StoreKey("s1"), Value: []byte("{")}}}})
	if r, _ := tab.Lookup("s1"); r.Master != "m1" {
		t.Errorf("route %+v", r)
	}
}

func TestAwaitWakesAtTheSwitch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tab := New()
		tab.update(coord.Update{Listed: coord.StoresPrefix, All: []coord.KV{record(1, 1)}})
		tried, _ := tab.Lookup("s1")
		start := time.Now()
		go func() {
			<-time.After(40 * time.Millisecond)
			tab.update(coord.Update{Changes: []coord.Change{{KV: record(2, 2)}}})
		}()
		r, err := tab.Await(t.Context(), tried, time.Second)
		if err != nil || r.Master != "m2" || time.Since(start) != 40*time.Millisecond {
			t.Errorf("route %+v, %v after %v", r, err, time.Since(start))
		}
		r, err = tab.Await(t.Context(), r, 100*time.Millisecond)
		if err != nil || r.Epoch != 2 || time.Since(start) != 140*time.Millisecond {
			t.Errorf("route %+v, %v after %v, want the same after the pause", r, err, time.Since(start))
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		if _, err := tab.Await(ctx, r, time.Second); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error %v, want the context's", err)
		}
	})
}
