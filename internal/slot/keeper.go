package slot

import (
	"context"
	"sync"
	"time"

	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/replica"
)

// keeper does what the protocol asks of the coordinator and of the epoch file.
// Each question runs in a goroutine of its own (the protocol asks at most one of
// each kind at a time); writes of the epoch file go through one, in order.
type keeper struct {
	cfg   *Config
	post  func(replica.Event)
	wg    sync.WaitGroup
	saved adopted // what the file holds or will hold; the loop's

	mu   sync.Mutex
	next *adopted      // to be written: the newest holds everything the others did
	owed cluster.Epoch // the protocol waits for this epoch to be durable; 0: for none
	wake chan struct{} // buffer of one
}

// coordTime bounds one question to the coordinator: the protocol must hear
// "unknown" rather than nothing.
const coordTime = 3 * time.Second

func newKeeper(cfg *Config, saved adopted, post func(replica.Event)) *keeper {
	return &keeper{cfg: cfg, post: post, saved: saved, wake: make(chan struct{}, 1)}
}

// adopt writes an epoch durably and answers.
func (k *keeper) adopt(e replica.AdoptEpoch) {
	k.saved = adopted{Epoch: e.Epoch, Record: &e.Record, Rev: e.Rev, CoordRev: e.CoordRev}
	k.write(e.Epoch)
}

// keep notes the newest record.
func (k *keeper) keep(e replica.KeepRecord) {
	k.saved.Record, k.saved.Rev, k.saved.CoordRev = &e.Record, e.Rev, e.CoordRev
	k.write(0)
}

func (k *keeper) write(owed cluster.Epoch) {
	doc := k.saved
	k.mu.Lock()
	k.next = &doc
	k.owed = max(k.owed, owed)
	k.mu.Unlock()
	select {
	case k.wake <- struct{}{}:
	default:
	}
}

func (k *keeper) take() (doc *adopted, owed cluster.Epoch) {
	k.mu.Lock()
	defer k.mu.Unlock()
	doc, owed = k.next, k.owed
	k.next, k.owed = nil, 0
	return doc, owed
}

// runFiles writes the epoch file until ctx ends.
func (k *keeper) runFiles(ctx context.Context) {
	for {
		select {
		case <-k.wake:
		case <-ctx.Done():
			return
		}
		doc, owed := k.take()
		if doc == nil {
			continue
		}
		if err := writeSealed(k.cfg.FS, k.cfg.Meta, adoptedFile, *doc); err != nil {
			k.post(replica.DiskFailed{Reason: err.Error()})
			return
		}
		if owed != 0 {
			k.post(replica.EpochDurable{Epoch: owed})
		}
	}
}

// start does one thing beside the loop and posts its answer.
func (k *keeper) start(ctx context.Context, ask func(context.Context) replica.Event) {
	k.wg.Add(1)
	go func() {
		defer k.wg.Done()
		ctx, cancel := context.WithTimeout(ctx, coordTime)
		defer cancel()
		k.post(ask(ctx))
	}()
}

// keepCounter makes the open counter durable in both directories.
func (k *keeper) keepCounter(ctx context.Context, counter uint64, id Identity) {
	k.start(ctx, func(context.Context) replica.Event {
		id.Opens = counter
		if err := writeIdentity(k.cfg.FS, k.cfg.Meta, k.cfg.Spool, id); err != nil {
			return replica.DiskFailed{Reason: err.Error()}
		}
		return replica.CounterKept{Counter: counter}
	})
}

func (k *keeper) propose(ctx context.Context, e replica.ProposeRecord) {
	k.start(ctx, func(ctx context.Context) replica.Event {
		ok, rev, err := k.cfg.Records.Swap(ctx, e.Rev, e.Record)
		answer := replica.CASAnswered{Nonce: e.Record.Nonce, Record: e.Record}
		switch {
		case err != nil:
			answer.Outcome = replica.Unknown // an error means unknown, never failed
		case ok:
			answer.Outcome, answer.Rev, answer.CoordRev = replica.OK, rev, rev
		default:
			answer.Outcome = replica.Conflict
		}
		return answer
	})
}

func (k *keeper) read(ctx context.Context, e replica.ReadRecord) {
	k.start(ctx, func(ctx context.Context) replica.Event {
		rec, rev, coordRev, err := k.cfg.Records.Read(ctx)
		if err != nil {
			return replica.ReadFailed(e)
		}
		return replica.RecordSeen{Read: e.Read, Record: rec, Rev: rev, CoordRev: coordRev}
	})
}

func (k *keeper) ask(ctx context.Context, e replica.AskController) {
	rec := k.saved.Record
	k.start(ctx, func(ctx context.Context) replica.Event {
		if rec == nil {
			return replica.ControllerAnswered{Verdict: replica.NoVerdict}
		}
		return replica.ControllerAnswered{Verdict: k.cfg.Peers.MayGoAlone(ctx, rec.MachineOf(e.Peer), e.Peer)}
	})
}
