package app

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/tandemail/tandemail/internal/api"
	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/coord"
	"github.com/tandemail/tandemail/internal/plan"
	"github.com/tandemail/tandemail/internal/slot"
)

func unavailable(err error) error {
	return &api.Error{Status: http.StatusServiceUnavailable, Message: fmt.Sprintf("the coordinator does not answer: %v", err), Hint: "a majority of the control machines must be up; mail flows without it"}
}

func notFound(format string, args ...any) error {
	return &api.Error{Status: http.StatusNotFound, Message: fmt.Sprintf(format, args...)}
}

func conflict(hint, format string, args ...any) error {
	return &api.Error{Status: http.StatusConflict, Message: fmt.Sprintf(format, args...), Hint: hint}
}

func newSlotID() (id cluster.SlotID) {
	rand.Read(id[:]) // never fails
	return id
}

func randomNonce() string {
	var b [8]byte
	rand.Read(b[:]) // never fails
	return "admin-" + hex.EncodeToString(b[:])
}

// record reads one store's record.
func (m *machine) record(ctx context.Context, s cluster.Store) (cluster.StoreRecord, cluster.Rev, error) {
	v, rev, err := m.coord.Get(ctx, coord.StoreKey(s))
	if err != nil {
		return cluster.StoreRecord{}, 0, unavailable(err)
	}
	if rev == 0 {
		return cluster.StoreRecord{}, 0, notFound("there is no store %s", s)
	}
	rec, err := cluster.DecodeStoreRecord(v)
	return rec, rev, err
}

// replaceSlot gives a store a new, empty slot in place of one whose data is gone.
func (m *machine) replaceSlot(ctx context.Context, s cluster.Store, old cluster.SlotID) error {
	rec, rev, err := m.record(ctx, s)
	if err != nil {
		return err
	}
	if rec.IsInSync(old) || !rec.Has(old) {
		return fmt.Errorf("slot %v of store %s is in sync, or none of its slots: not replaced", old, s)
	}
	next := rec.Clone()
	for i := range next.Slots {
		if next.Slots[i].Slot == old {
			next.Slots[i] = cluster.SlotRef{Slot: newSlotID(), Machine: next.Slots[i].Machine}
		}
	}
	next.Nonce = randomNonce()
	ok, _, err := m.coord.Txn(ctx, coord.Txn{
		If:   []coord.Compare{{Key: coord.StoreKey(s), Rev: rev}},
		Then: []coord.Op{coord.Put(coord.StoreKey(s), next.Encode())},
	})
	if err == nil && !ok {
		err = errors.New("the record changed meanwhile")
	}
	return err
}

// Switchover implements api.Backend.
func (b *backend) Switchover(ctx context.Context, s cluster.Store, req api.SwitchRequest) (api.SwitchReport, error) {
	rec, _, err := b.record(ctx, s)
	if err != nil {
		return api.SwitchReport{}, err
	}
	if rec.Epoch == 0 {
		return api.SwitchReport{}, conflict("wait a moment", "store %s has no master yet", s)
	}
	target, err := b.target(rec, req.To)
	if err != nil {
		return api.SwitchReport{}, err
	}
	return b.switchTo(ctx, rec, target, req.Reason)
}

// target chooses the new master.
func (b *backend) target(rec cluster.StoreRecord, to cluster.Machine) (cluster.SlotRef, error) {
	for _, ref := range rec.Slots {
		if to != "" && ref.Machine != to || to == "" && ref.Slot == rec.Master {
			continue
		}
		switch {
		case ref.Slot == rec.Master:
			return ref, conflict("", "store %s is served by %s already", rec.Store, ref.Machine)
		case rec.IsInSync(ref.Slot):
			return ref, nil
		case to != "":
			return ref, conflict("wait until it has caught up: tandemail status", "the copy of store %s on %s is not in sync", rec.Store, to)
		}
	}
	return cluster.SlotRef{}, conflict("tandemail store show "+string(rec.Store), "store %s has no other copy in sync to switch to", rec.Store)
}

// switchTime bounds a planned switch: one that takes longer is given up by the
// master, which goes on.
const switchTime = 10 * time.Second

func (b *backend) switchTo(ctx context.Context, rec cluster.StoreRecord, target cluster.SlotRef, reason string) (api.SwitchReport, error) {
	ctx, cancel := context.WithTimeout(ctx, switchTime)
	defer cancel()
	from := rec.MachineOf(rec.Master)
	begun := time.Now()
	r := api.SwitchReport{Store: rec.Store, From: from, To: target.Machine}
	err := b.remote.Switch(ctx, from, rec.Store, target.Slot)
	if err == nil {
		err = b.remote.AwaitServing(ctx, target.Machine, rec.Store, rec.Epoch+1)
	}
	held := time.Since(begun)
	r.HeldMsec = float64(held.Microseconds()) / 1000
	b.note(ctx, coord.HistoryEntry{
		At: begun, By: "operator", Kind: string(plan.Switchover), Store: rec.Store, Machine: target.Machine,
		From: rec.Master, To: target.Slot, Epoch: rec.Epoch, Reason: reason, Took: held, Error: text(err),
	})
	if err != nil {
		return r, conflict("tandemail store show "+string(rec.Store), "store %s was not switched to %s: %v", rec.Store, target.Machine, err)
	}
	now, _, err := b.record(ctx, rec.Store)
	r.Epoch = now.Epoch
	return r, err
}

func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// note writes history; that it could not is no reason to fail.
func (b *backend) note(ctx context.Context, e coord.HistoryEntry) {
	key := coord.HistoryKey(e.At, randomNonce())
	if _, _, err := b.coord.Txn(ctx, coord.Txn{Then: []coord.Op{coord.Put(key, coord.Encode(e))}}); err != nil {
		b.log.Warn("history entry was not written", "store", e.Store, "err", err)
	}
}

// digestTries is how often copies are asked for a common position, which a store
// under load passes quickly; digestAhead is how far ahead of its end.
const (
	digestTries = 10
	digestAhead = 64 << 10
)

// Digest implements api.Backend.
func (b *backend) Digest(ctx context.Context, s cluster.Store) (api.DigestReport, error) {
	rec, _, err := b.record(ctx, s)
	if err != nil {
		return api.DigestReport{}, err
	}
	var r api.DigestReport
	for try := range digestTries {
		ahead := cluster.LSN(digestAhead)
		if try%2 == 1 {
			ahead = 0 // an idle store never gets there
		}
		if r = b.digestOnce(ctx, rec, ahead); r.Equal || ctx.Err() != nil {
			break
		}
	}
	return r, nil
}

func (b *backend) digestOnce(ctx context.Context, rec cluster.StoreRecord, ahead cluster.LSN) api.DigestReport {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	at := b.endOf(ctx, rec) + ahead
	r := api.DigestReport{Store: rec.Store, Copies: make([]api.CopyDigest, len(rec.Slots))}
	digests := make([]slot.Digest, len(rec.Slots))
	var wg sync.WaitGroup
	for i, ref := range rec.Slots {
		wg.Add(1)
		go func() {
			defer wg.Done()
			d, err := b.remote.Digest(ctx, ref.Machine, rec.Store, at)
			digests[i] = d
			r.Copies[i] = api.CopyDigest{Machine: ref.Machine, LSN: d.LSN, Digest: d.Sum, Accounts: d.Accounts, Error: text(err)}
		}()
	}
	wg.Wait()
	r.Equal = true
	for i := range digests {
		r.LSN = max(r.LSN, digests[i].LSN)
		r.Equal = r.Equal && r.Copies[i].Error == "" && digests[i] == digests[0]
	}
	return r
}

// endOf is the end of the master's journal.
func (b *backend) endOf(ctx context.Context, rec cluster.StoreRecord) cluster.LSN {
	st, err := b.remote.Status(ctx, rec.MachineOf(rec.Master))
	if err != nil {
		return 0
	}
	for _, s := range st.Slots {
		if s.Slot == rec.Master {
			return s.End
		}
	}
	return 0
}
