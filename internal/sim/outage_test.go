package sim

import (
	"testing"
	"time"
)

// pair is a store of two slots under load, whose first master has served for a while.
func pair(t *testing.T) (w *World, master, replica *Slot) {
	t.Helper()
	w = New(Config{Seed: 1, Slots: 2, MinInSync: 1})
	for _, s := range w.slots {
		s.open()
	}
	w.startControllers(2)
	w.loop.After(w.think(), (&client{w: w}).run)
	w.reader()
	run(t, w, 10*time.Second)
	master = w.master()
	if master == nil || len(w.coord.record.InSync) != 2 || w.acks == 0 {
		t.Fatalf("not a pair under load: %s", w.summary())
	}
	for _, s := range w.slots {
		if s != master {
			replica = s
		}
	}
	return w, master, replica
}

func run(t *testing.T, w *World, d time.Duration) {
	t.Helper()
	if err := w.Run(d); err != nil {
		t.Fatalf("%v\n%s", err, w.Tail())
	}
}

// settles ends the load and checks what holds then.
func settles(t *testing.T, w *World) {
	t.Helper()
	w.coordUp()
	acks := w.acks
	run(t, w, 30*time.Second)
	if w.acks == acks {
		t.Errorf("nothing is acknowledged when the coordinator is back: %s", w.summary())
	}
	w.quiet = true
	run(t, w, 25*time.Second)
	w.check.settled()
	if err := w.Err(); err != nil {
		t.Error(err)
	}
}

// outage is how long the coordinator has no quorum.
func outage() time.Duration {
	if testing.Short() {
		return 6 * time.Minute
	}
	return time.Hour
}

func TestPairGoesOnWithoutTheCoordinatorForAnHour(t *testing.T) {
	t.Parallel()
	w, _, _ := pair(t)
	epoch := w.coord.record.Epoch
	w.coord.down = true
	for minute := range int(outage() / time.Minute) {
		acks, reads := w.acks, w.check.reads
		run(t, w, time.Minute)
		if w.acks-acks < 100 || w.check.reads-reads < 100 {
			t.Fatalf("minute %d: %d acknowledged, %d reads: %s", minute, w.acks-acks, w.check.reads-reads, w.summary())
		}
	}
	if w.coord.record.Epoch != epoch {
		t.Errorf("epoch %d became %d", epoch, w.coord.record.Epoch)
	}
	settles(t, w)
}

func TestPairThatLosesItsReplicaWithoutTheCoordinatorStopsUntilItIsBack(t *testing.T) {
	t.Parallel()
	w, _, replica := pair(t)
	w.coord.down = true
	run(t, w, time.Minute)
	replica.stop(false)
	replica.disk.Kill(w.rng)
	run(t, w, 2*time.Second)
	acks, reads := w.acks, w.check.reads
	run(t, w, outage()/2)
	replica.open() // a slot that is opened now does not serve, nor count
	run(t, w, outage()/2)
	if w.acks != acks || w.check.reads != reads {
		t.Errorf("%d operations acknowledged, %d reads: %s", w.acks-acks, w.check.reads-reads, w.summary())
	}
	settles(t, w)
}
