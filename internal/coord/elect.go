package coord

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/tandemail/tandemail/internal/cluster"
)

// Election describes one candidate for one key.
type Election struct {
	Key     string
	Machine cluster.Machine // who we are
	TTL     time.Duration   // of the lease; 0 means 2 s
	Poll    time.Duration   // between looks at the key; 0 means 250 ms
	// Suspect says that holder looks dead to this candidate. A dead holder's lease
	// may live for seconds after its machine (longer if etcd's leader died with
	// it), so a candidate takes the key over by compare-and-swap, at most once in
	// TakeoverPause. Wrong suspicion does no harm: see Term. nil never suspects.
	Suspect func(holder cluster.Machine) bool
	Now     func() time.Time // nil means time.Now
	Rand    io.Reader        // nil means crypto/rand
}

// TakeoverPause keeps two candidates who cannot reach each other from taking the
// key from one another all the time.
const TakeoverPause = 30 * time.Second

// Term is one uninterrupted holding of an elected key. Two holders may believe
// in theirs at the same time: everything a holder changes is guarded by Guard or
// by the revision of what it read.
type Term struct {
	Key string
	Rev cluster.Rev
}

// Guard holds in a transaction while the term does.
func (t Term) Guard() Compare { return Compare(t) }

// Elect stands for election until ctx ends, whose error it returns. While this
// candidate holds the key it runs lead; lead's context ends with the term, and
// the next campaign begins when lead has returned. The key is given up at once
// when ctx ends.
func Elect(ctx context.Context, c Coord, e Election, lead func(ctx context.Context, t Term)) error {
	if e.TTL == 0 {
		e.TTL = 2 * time.Second
	}
	if e.Poll == 0 {
		e.Poll = 250 * time.Millisecond
	}
	if e.Now == nil {
		e.Now = time.Now
	}
	if e.Rand == nil {
		e.Rand = rand.Reader
	}
	cand := candidate{Election: e, coord: c}
	for ctx.Err() == nil {
		cand.campaign(ctx, lead)
		if wait(ctx, e.Poll) != nil {
			break
		}
	}
	return ctx.Err()
}

type candidate struct {
	Election
	coord     Coord
	tookOver  time.Time
	everTaken bool
}

// campaign lasts as long as one lease.
func (e *candidate) campaign(ctx context.Context, lead func(context.Context, Term)) {
	lease, err := e.coord.Lease(ctx, e.TTL)
	if err != nil {
		return // the coordinator is away; the caller waits and comes again
	}
	defer func() {
		closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), e.TTL)
		defer cancel()
		_ = lease.Close(closing) // else it ends with its TTL
	}()
	for {
		term, err := e.try(ctx, lease)
		switch {
		case errors.Is(err, ErrLeaseLost):
			return
		case err == nil && term.Rev != 0:
			e.hold(ctx, lease, term, lead)
			return
		}
		select {
		case <-lease.Lost():
			return
		case <-ctx.Done():
			return
		case <-time.After(e.Poll):
		}
	}
}

// try takes the key if it is free, already ours, or held by the dead.
func (e *candidate) try(ctx context.Context, lease Lease) (Term, error) {
	value, rev, err := e.coord.Get(ctx, e.Key)
	if err != nil {
		return Term{}, err
	}
	if rev != 0 && !e.mayTakeOver(value) {
		return Term{}, nil
	}
	nonce := make([]byte, 12)
	if _, err := io.ReadFull(e.Rand, nonce); err != nil {
		return Term{}, fmt.Errorf("draw a nonce: %w", err)
	}
	mine := Encode(Holder{Machine: e.Machine, Nonce: hex.EncodeToString(nonce), Since: e.Now()})
	ok, won, err := lease.Txn(ctx, Txn{If: []Compare{{e.Key, rev}}, Then: []Op{Put(e.Key, mine)}})
	if errors.Is(err, ErrUnknown) {
		value, now, gerr := e.coord.Get(ctx, e.Key)
		ok, won, err = gerr == nil && string(value) == string(mine), now, gerr
	}
	if err != nil || !ok {
		return Term{}, err
	}
	if rev != 0 {
		e.tookOver, e.everTaken = e.Now(), true
	}
	return Term{Key: e.Key, Rev: won}, nil
}

func (e *candidate) mayTakeOver(value []byte) bool {
	if e.everTaken && e.Now().Sub(e.tookOver) < TakeoverPause {
		return false
	}
	var holder Holder
	if err := json.Unmarshal(value, &holder); err != nil {
		return false // a newer release's holder
	}
	// A holder of our own name is an earlier run of this machine's process: one
	// machine runs one, so it is dead.
	return holder.Machine == e.Machine || e.Suspect != nil && e.Suspect(holder.Machine)
}

// hold runs lead until the lease is lost, somebody took over, or ctx ends.
func (e *candidate) hold(ctx context.Context, lease Lease, term Term, lead func(context.Context, Term)) {
	leading, stop := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		lead(leading, term)
	}()
	defer func() {
		stop()
		<-done
	}()
	tick := time.NewTicker(e.Poll)
	defer tick.Stop()
	for {
		select {
		case <-lease.Lost():
			return
		case <-ctx.Done():
			return
		case <-done:
			return
		case <-tick.C:
		}
		if _, rev, err := e.coord.Get(leading, e.Key); err == nil && rev != term.Rev {
			return // taken over
		}
	}
}
