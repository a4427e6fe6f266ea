package e2e

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/tandemail/tandemail/internal/bench"
)

// TestADamagedCopyIsMadeAnewOfTheMaster: octets in the middle of a killed replica's
// journal are wrong. It says so, makes itself a copy of the master while mail goes on,
// packs included, keeps what it had, and serves every message when the master is
// killed.
func TestADamagedCopyIsMadeAnewOfTheMaster(t *testing.T) {
	needDev(t)
	c := wholeDev(t)
	u := c.Users[0]
	store, front, err := c.frontFor(t.Context(), u)
	if err != nil {
		t.Fatal(err)
	}
	fill := func(messages int64) {
		t.Helper()
		r, err := bench.RunLMTP(t.Context(), bench.LMTPConfig{
			Addresses: []string{front.LMTP}, Recipients: []string{u.User}, Connections: 8, Messages: messages, Size: 64 << 10,
		})
		if err != nil || r.Count() != messages {
			t.Fatalf("%d messages of %d: %v", r.Count(), messages, err)
		}
	}
	fill(500) // 32 MB: some segments of the journal
	changeMail(t, front, u)
	if err := c.inPacks(t, store); err != nil {
		t.Fatal(err)
	}
	master, err := c.master(t.Context(), store)
	if err != nil {
		t.Fatal(err)
	}
	replica := c.replicaOf(t, store)
	if err := c.kill(replica); err != nil {
		t.Fatal(err)
	}
	slot := onlyMatch(t, filepath.Join(c.Dir, replica, "meta", "slots", store+".*"))
	spoil(t, filepath.Join(slot, "journal"))
	fill(20)
	want := mailOf(t, front, u)
	if err := c.start(t.Context(), replica); err != nil {
		t.Fatal(err)
	}
	fill(20) // while it is copied, or a moment later
	if err := c.settle(t.Context(), settleTime); err != nil {
		t.Fatal(err)
	}
	if err := c.compareCopies(t.Context(), settleTime); err != nil {
		t.Error(err)
	}
	if old, _ := filepath.Glob(filepath.Join(slot, "aside", "*", "journal", "*")); len(old) == 0 {
		t.Error("what the copy had was not set aside")
	}
	if err := c.kill(master); err != nil {
		t.Fatal(err)
	}
	if err := c.failedOver(t.Context(), master); err != nil {
		t.Fatal(err)
	}
	got := mailOf(t, front, u)
	if n := len(got["INBOX"]) - len(want["INBOX"]); n != 20 {
		t.Errorf("%d messages came after the copy was started, want 20", n)
	}
	for name, was := range want {
		for uid, text := range was {
			if got[name][uid] != text {
				t.Fatalf("%s, UID %d is not what it was on the old master", name, uid)
			}
		}
	}
	if !slices.Equal(slices.Sorted(maps.Keys(got)), slices.Sorted(maps.Keys(want))) {
		t.Errorf("mailboxes %v, were %v", slices.Sorted(maps.Keys(got)), slices.Sorted(maps.Keys(want)))
	}
}

// inPacks waits until both copies of a store have moved bodies to packs.
func (c *cluster) inPacks(t *testing.T, store string) error {
	t.Helper()
	for end := time.Now().Add(settleTime); time.Now().Before(end); {
		s, err := c.status(t.Context())
		if err != nil {
			return err
		}
		copies := 0
		for _, st := range s.Stores {
			for _, m := range st.InSync {
				packs, _ := filepath.Glob(filepath.Join(c.Dir, m, "spool", "slots", st.Name+".*", "packs", "*.pack"))
				if st.Name == store && len(packs) > 0 {
					copies++
				}
			}
		}
		if copies == 2 {
			return nil
		}
		if !pause(t.Context(), 300*time.Millisecond) {
			return t.Context().Err()
		}
	}
	return errors.New("no bodies are moved to packs")
}

func (c *cluster) replicaOf(t *testing.T, store string) string {
	t.Helper()
	s, err := c.status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, st := range s.Stores {
		for _, m := range st.InSync {
			if st.Name == store && m != st.Master {
				return m
			}
		}
	}
	t.Fatalf("store %s has no replica: %+v", store, s.Stores)
	return ""
}

func onlyMatch(t *testing.T, pattern string) string {
	t.Helper()
	found, err := filepath.Glob(pattern)
	if err != nil || len(found) != 1 {
		t.Fatalf("%s: found %v, %v", pattern, found, err)
	}
	return found[0]
}

// spoil makes octets of the journal's newest segment wrong, below much that is whole: no
// torn end looks like that. An opening slot reads it.
func spoil(t *testing.T, journal string) {
	t.Helper()
	entries, err := os.ReadDir(journal)
	if err != nil {
		t.Fatal(err)
	}
	const at = 64 << 10
	for _, e := range slices.Backward(entries) {
		path := filepath.Join(journal, e.Name())
		f, err := os.OpenFile(path, os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		b := make([]byte, 4096)
		_, err = f.ReadAt(b, at)
		if err == nil && !allZero(b) {
			for i := range b {
				b[i] ^= 0xff
			}
			if _, err = f.WriteAt(b, at); err == nil {
				err = f.Close()
			}
			if err != nil {
				t.Fatal(err)
			}
			return
		}
		_ = f.Close() // nothing was written
	}
	t.Fatal(fmt.Sprint("no segment to spoil among ", entries))
}

func allZero(b []byte) bool { return !slices.ContainsFunc(b, func(c byte) bool { return c != 0 }) }
