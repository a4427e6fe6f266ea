package slot

import (
	"errors"
	"fmt"
	"testing"
	"time"
)

func TestStatsTellOfHoldsPromotionsAndPeers(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2)
	w.node[0].start()
	w.node[1].start()
	n := w.lead(0)
	w.inSync()
	if err := n.CreateAccount(t.Context(), accountText, 0); err != nil {
		t.Fatal(err)
	}
	deliverOne(t, n, 1, "Subject: before\r\n\r\n")
	w.eventually(func() error {
		st := n.Stats()
		if len(st.Peers) != 1 || !st.Peers[0].Streaming || st.Peers[0].Durable != n.Status().Durable {
			return fmt.Errorf("peers of the master: %+v", st.Peers)
		}
		return nil
	})
	if st := n.Stats(); st.Promotions != 1 || st.Holds.Total() != 0 || st.Deliveries != 1 || st.Journal == 0 {
		t.Errorf("master: %+v", st)
	}
	if st := w.node[1].Stats(); st.Promotions != 0 || st.Peers != nil {
		t.Errorf("replica: %+v", st)
	}
	if err := n.SwitchTo(t.Context(), w.node[1].cfg.Slot, 0); err != nil {
		t.Fatal(err)
	}
	if err := w.node[1].AwaitServing(t.Context(), 2); err != nil {
		t.Fatal(err)
	}
	w.eventually(func() error {
		old := n.Stats()
		if old.Holds.Total() != 1 || old.Holds.Sum <= 0 || old.Holds.Sum > 20*time.Second || old.Promotions != 1 {
			return fmt.Errorf("old master: %+v", old)
		}
		if old.Peers != nil {
			return errors.New("the old master still tells of peers")
		}
		if st := w.node[1].Stats(); st.Promotions != 1 || st.Holds.Total() != 0 {
			return fmt.Errorf("new master: %+v", st)
		}
		return nil
	})
}
