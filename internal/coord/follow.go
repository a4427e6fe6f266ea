package coord

import (
	"context"
	"errors"
	"time"

	"github.com/tandemail/tandemail/internal/cluster"
)

// Following says what Follow mirrors.
type Following struct {
	// Prefix is watched.
	Prefix string
	// Lists are the prefixes that are listed; together they cover Prefix. Empty
	// means Prefix itself.
	Lists []string
}

// Update is one step of a mirror.
type Update struct {
	// Listed, if not empty, is a prefix whose whole content is now All: what is
	// below it and not in All is gone.
	Listed string
	All    []KV
	// Changes come after the lists, in the order of their revisions.
	Changes []Change
	// Rev: the mirror of Listed, or of everything, is as of this revision.
	Rev cluster.Rev
	// Live turns true with the update that completes the lists, and false, with
	// Err, when the coordinator cannot be followed for now: the mirror is as old
	// as the last update.
	Live bool
	Err  error // why the mirror is not live; ErrRewound is worth a person's look
}

// Follow keeps a mirror of a prefix: it lists, then watches, and calls apply
// with every step, one at a time, until ctx ends, whose error it returns. After
// a failure it goes on where it was, or lists anew if the history is gone or the
// coordinator went back. Attempts are 20 ms to 1 s apart.
func Follow(ctx context.Context, c Coord, f Following, apply func(Update)) error {
	m := mirror{coord: c, following: f, apply: apply, listed: map[string]cluster.Rev{}}
	if len(f.Lists) == 0 {
		m.following.Lists = []string{f.Prefix}
	}
	pause := minFollowPause
	for ctx.Err() == nil {
		progress, err := m.round(ctx)
		if ctx.Err() != nil {
			break
		}
		if progress {
			pause = minFollowPause
		}
		if errors.Is(err, ErrCompacted) || errors.Is(err, ErrRewound) {
			m.complete, m.seen = false, 0
			clear(m.listed)
		}
		m.tell(Update{Err: err, Rev: m.rev})
		if wait(ctx, pause) != nil {
			break
		}
		pause = min(2*pause, maxFollowPause)
	}
	return ctx.Err()
}

const (
	minFollowPause = 20 * time.Millisecond
	maxFollowPause = time.Second
	// followBeat is the time between two looks whether the coordinator answers.
	followBeat = 2 * time.Second
)

type mirror struct {
	coord     Coord
	following Following
	apply     func(Update)
	complete  bool                   // everything has been listed
	live      bool                   // the last update said so
	rev       cluster.Rev            // watched up to here, once complete
	seen      cluster.Rev            // the coordinator's revision, as far as it was seen
	listed    map[string]cluster.Rev // of each list: older changes are in it already
}

// round lists if need be and watches until something fails.
func (m *mirror) round(ctx context.Context) (progress bool, err error) {
	if !m.complete {
		err = m.list(ctx)
	} else {
		err = m.reach(ctx)
	}
	if err != nil {
		return false, err
	}
	ctx, stop := context.WithCancel(ctx)
	batches := make(chan batch)
	done := make(chan struct{})
	go func() {
		defer close(done)
		m.watch(ctx, m.rev, batches)
	}()
	defer func() {
		stop()
		<-done
	}()
	beat := time.NewTicker(followBeat)
	defer beat.Stop()
	for {
		select {
		case b := <-batches:
			if b.err != nil {
				return true, b.err
			}
			m.take(b.changes)
		case <-beat.C:
			// A watch may go silent instead of failing, and then everything
			// known would look fresh.
			err := m.reach(ctx)
			if errors.Is(err, ErrRewound) {
				return true, err
			}
			if err != nil {
				m.tell(Update{Err: err, Rev: m.rev})
			}
		case <-ctx.Done():
			return true, ctx.Err()
		}
	}
}

type batch struct {
	changes []Change
	err     error
}

// watch sends what it sees; the last batch has an error.
func (m *mirror) watch(ctx context.Context, after cluster.Rev, out chan<- batch) {
	for changes, err := range m.coord.Watch(ctx, m.following.Prefix, after) {
		select {
		case out <- batch{changes, err}:
		case <-ctx.Done():
			return
		}
	}
}

func (m *mirror) take(changes []Change) {
	m.rev = changes[len(changes)-1].Rev
	m.seen = max(m.seen, m.rev)
	if changes = m.fresh(changes); len(changes) > 0 {
		m.tell(Update{Changes: changes, Rev: m.rev, Live: true})
	}
}

// nothing, after a prefix, is in no key: a list of it has the revision alone.
const nothing = "\x00"

// reach asks the coordinator for its revision, and says when the mirror is live again.
// A watch that a client takes up by itself at a coordinator which was wiped meanwhile
// waits for the next revision that it has not seen, and misses all before.
func (m *mirror) reach(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, followBeat)
	defer cancel()
	_, rev, err := m.coord.List(ctx, m.following.Prefix+nothing)
	if err == nil && rev < m.seen {
		err = ErrRewound
	}
	m.seen = max(m.seen, rev)
	if err == nil && !m.live {
		m.tell(Update{Rev: m.rev, Live: true})
	}
	return err
}

func (m *mirror) tell(u Update) {
	m.live = u.Live
	m.apply(u)
}

// list lists what has not been listed yet: hundreds of lists in a row may not all
// succeed while the coordinator has much to do.
func (m *mirror) list(ctx context.Context) error {
	for i, prefix := range m.following.Lists {
		if _, done := m.listed[prefix]; done {
			continue
		}
		all, rev, err := m.coord.List(ctx, prefix)
		if err != nil {
			return err
		}
		if rev < m.seen {
			return ErrRewound
		}
		m.seen = rev
		m.listed[prefix] = rev
		last := i == len(m.following.Lists)-1
		m.tell(Update{Listed: prefix, All: all, Rev: rev, Live: last})
	}
	m.rev, m.complete = m.listed[m.following.Lists[0]], true // the oldest
	return nil
}

// fresh leaves out what the lists had already, so that a key deleted between two
// lists does not come back for a moment.
func (m *mirror) fresh(changes []Change) []Change {
	out := changes[:0:0]
	for _, c := range changes {
		if c.Rev > m.listedAt(c.Key) {
			out = append(out, c)
		}
	}
	return out
}

func (m *mirror) listedAt(key string) cluster.Rev {
	if len(m.following.Lists) == 1 {
		return m.listed[m.following.Lists[0]]
	}
	for n := len(m.following.Prefix); n <= len(key); n++ {
		if rev, ok := m.listed[key[:n]]; ok {
			return rev
		}
	}
	return 0
}

func wait(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
