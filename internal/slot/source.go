package slot

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"

	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/pack"
	"github.com/tandemail/tandemail/internal/seed"
	saved "github.com/tandemail/tandemail/internal/snapshot"
)

// source is a master that another slot becomes a copy of. What it sends it pins: the
// packs of a round while that lasts, the journal only in the last one. So a copy of a
// large store takes as long as it takes, and the journal goes on being trimmed.
type source struct {
	*incarnation
	peer cluster.SlotID
	conn *seed.Conn
	pace *pace
}

const (
	// seedLast is how much may be missing for a round to be the last.
	seedLast = 1 << 30
	// seedRounds is how many there are at most: a copy that never gets close, since mail
	// comes as fast, is finished with the journal pinned for longer.
	seedRounds = 8
)

// AcceptSeed makes slot peer, at the other end of nc, a copy of this one, until that is
// done or fails. It closes nc. Only a serving master does, one copy at a time.
func (s *Slot) AcceptSeed(ctx context.Context, peer cluster.SlotID, nc net.Conn) error {
	conn := seed.NewConn(nc)
	defer func() { _ = conn.Close() }() // what was said is said
	inc := s.current()
	if inc == nil || !inc.sessions.enter() {
		return errNotOpen
	}
	defer inc.sessions.leave()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(inc.sessionCtx, cancel)()
	defer context.AfterFunc(ctx, func() { _ = nc.Close() })()
	var h seed.Hello
	if err := conn.Expect(seed.KindHello, &h); err != nil {
		return fmt.Errorf("be copied: %w", err)
	}
	if why := inc.notCopied(peer, h); why != "" {
		return conn.Send(seed.KindAnswer, seed.Answer{Reason: why})
	}
	if !s.source.CompareAndSwap(false, true) {
		return conn.Send(seed.KindAnswer, seed.Answer{Reason: "another copy is being made"})
	}
	defer s.source.Store(false)
	src := &source{incarnation: inc, peer: peer, conn: conn, pace: newPace(inc.cfg, seedRate)}
	inc.log.Info("a copy is being made of this slot", "remote", peer.String())
	err := src.run(ctx)
	if err != nil {
		_ = conn.Send(seed.KindSorry, seed.Sorry{Reason: err.Error()}) // the connection may be what failed
		return fmt.Errorf("be copied to %v: %w", peer, err)
	}
	inc.log.Info("a copy was made of this slot", "remote", peer.String())
	return nil
}

// notCopied is why a Hello is refused.
func (inc *incarnation) notCopied(peer cluster.SlotID, h seed.Hello) string {
	rec := inc.Status().Record
	switch {
	case inc.serving.master() == 0:
		return "this slot is not the serving master"
	case h.Cluster != inc.cfg.Cluster || h.Store != inc.cfg.Store || h.Slot != peer || !rec.Has(peer):
		return fmt.Sprintf("slot %v is none of store %s in cluster %s", h.Slot, inc.cfg.Store, inc.cfg.Cluster)
	case rec.IsInSync(peer):
		return "that slot is in the in-sync set still"
	}
	return ""
}

func (s *source) run(ctx context.Context) error {
	st := s.Status()
	a := seed.Answer{Record: &st.Record, Rev: st.Rev, CoordRev: st.CoordRev}
	for _, p := range s.packs.Packs() {
		a.Octets += p.Size
	}
	if err := s.conn.Send(seed.KindAnswer, a); err != nil {
		return err
	}
	for round := 1; ; round++ {
		var have seed.Have
		if err := s.conn.Expect(seed.KindHave, &have); err != nil {
			return err
		}
		if round >= seedRounds || missing(s.packs.Packs(), have) <= seedLast {
			return s.last(ctx, have)
		}
		if err := s.sendPacks(ctx, have, false); err != nil {
			return err
		}
	}
}

// missing is how many octets of packs somebody lacks.
func missing(packs []pack.Pack, have seed.Have) (octets int64) {
	for _, p := range packs {
		if !slices.Contains(have.Packs, p.ID.String()) {
			octets += p.Size
		}
	}
	return octets
}

// sendPacks sends a round of packs, all that there are at one moment.
func (s *source) sendPacks(ctx context.Context, have seed.Have, last bool) error {
	packs, release, err := s.pinPacks()
	if err != nil {
		return err
	}
	defer release()
	r := seed.Round{Last: last, Packs: []string{}}
	for _, p := range packs {
		r.Packs = append(r.Packs, p.ID.String())
	}
	if err := s.conn.Send(seed.KindRound, r); err != nil {
		return err
	}
	for _, p := range packs {
		if slices.Contains(have.Packs, p.ID.String()) {
			continue
		}
		name := p.ID.String() + ".pack"
		if err := s.sendFile(ctx, seed.FilePack, s.cfg.FS.PathJoin(s.cfg.Spool, packsDir, name), name); err != nil {
			return err
		}
	}
	return nil
}

func (s *source) pinPacks() (packs []pack.Pack, release func(), err error) {
	for range bodyTries {
		packs = s.packs.Packs()
		ids := make([]pack.ID, 0, len(packs))
		for _, p := range packs {
			ids = append(ids, p.ID)
		}
		if release, err = s.packs.Pin(ids...); !errors.Is(err, pack.ErrNoPack) {
			break
		}
	}
	return packs, release, err
}

func (s *source) sendFile(ctx context.Context, what, path, name string) error {
	f, err := s.cfg.FS.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	in := io.NewSectionReader(f, 0, info.Size())
	return s.conn.SendFile(seed.File{What: what, Name: name, Size: info.Size()}, in, func(n int) error { return s.pace.take(ctx, n) })
}

// last sends what makes the copy whole. Bodies that are below what is settled now are in
// packs that the round has; the others are in the journal that goes with it.
func (s *source) last(ctx context.Context, have seed.Have) error {
	release, err := s.journal.Pin(s.journal.Low().LSN)
	if err != nil {
		return err // it was trimmed this very moment: the next attempt fares better
	}
	defer release()
	settled := cluster.LSN(s.settled.Load())
	file, err := s.fresh(ctx)
	if err != nil {
		return fmt.Errorf("snapshot for the copy: %w", err)
	}
	if err := s.sendPacks(ctx, have, true); err != nil {
		return err
	}
	if file.Path == "" {
		if err := s.conn.Send(seed.KindFile, seed.File{What: seed.FileSnapshot}); err != nil {
			return err
		}
	} else if err := s.sendFile(ctx, seed.FileSnapshot, file.Path, s.cfg.FS.PathBase(file.Path)); err != nil {
		return err
	}
	from := min(settled, file.LSN)
	return s.sendJournal(ctx, from-min(from, s.cfg.reach()))
}

// fresh has a snapshot written and returns the newest there is, none with an empty path:
// then the journal has everything.
func (s *source) fresh(ctx context.Context) (f saved.File, err error) {
	stop := s.conn.Alive(ctx)
	failed := s.saver.fresh(ctx)
	stop()
	files, err := saved.List(s.cfg.FS, s.savedDir())
	switch {
	case err != nil:
		return f, err
	case len(files) > 0:
		return files[0], ctx.Err()
	case s.journal.Low().LSN > 0 || ctx.Err() != nil:
		return f, errors.Join(failed, ctx.Err(), errNoSnapshot)
	}
	return f, nil
}

// sendJournal sends what is committed, from a segment's begin at or before from on.
func (s *source) sendJournal(ctx context.Context, from cluster.LSN) error {
	start, err := s.journal.PositionAt(s.journal.Sealed(from))
	if err != nil {
		return err
	}
	doc := seed.Journal{LSN: start.LSN, Epoch: start.Epoch, Chain: hex.EncodeToString(start.Chain[:])}
	if err := s.conn.Send(seed.KindJournal, doc); err != nil {
		return err
	}
	commit, at := cluster.LSN(s.commit.Load()), start.LSN
	for b, err := range s.journal.Batches(start.LSN, 0) {
		if err != nil {
			return err
		}
		if b.End > commit {
			break
		}
		if err := s.pace.take(ctx, len(b.Raw)); err != nil {
			return err
		}
		if err := s.conn.Octets(seed.KindBatch, b.Raw); err != nil {
			return err
		}
		at = b.End
	}
	s.sessions.follows(s.peer, at)
	return s.conn.Send(seed.KindDone, seed.Done{LSN: at})
}
