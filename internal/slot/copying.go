package slot

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/disk"
	"github.com/tandemail/tandemail/internal/journal"
	"github.com/tandemail/tandemail/internal/pack"
	"github.com/tandemail/tandemail/internal/seed"
	saved "github.com/tandemail/tandemail/internal/snapshot"
)

// copying is one conversation in which this slot becomes a copy of another. A
// conversation that breaks leaves the packs that came whole for the next.
type copying struct {
	*Slot
	conn    *seed.Conn
	from    cluster.Machine
	meta    string // the seed directories
	spool   string
	packs   *pack.Set
	damaged damaged // of the copy
	pace    *pace
}

// seedRate bounds what a copy costs each of the two machines, in octets a second.
const seedRate = 64 << 20

// copyFrom asks the master in rec for everything and returns when the copy is whole.
func (s *Slot) copyFrom(ctx context.Context, rec cluster.StoreRecord, begun bool) (w whole, err error) {
	m := rec.MachineOf(rec.Master)
	dialCtx, cancel := context.WithTimeout(ctx, dialTime)
	nc, err := s.cfg.Peers.DialSeed(dialCtx, m, s.cfg.Store, s.cfg.Slot, rec.Master)
	cancel()
	if err != nil {
		return w, fmt.Errorf("call the master on %s: %w", m, err)
	}
	stop := context.AfterFunc(ctx, func() { _ = nc.Close() })
	defer stop()
	c := &copying{
		Slot: s, conn: seed.NewConn(nc), from: m, pace: newPace(&s.cfg, seedRate),
		meta: s.cfg.FS.PathJoin(s.cfg.Meta, seedDir), spool: s.cfg.FS.PathJoin(s.cfg.Spool, seedDir),
	}
	defer func() { _ = c.conn.Close() }() // what was said is said
	if err := c.ask(begun); err != nil {
		return w, fmt.Errorf("ask the master on %s for a copy: %w", m, err)
	}
	if w, err = c.receive(ctx); err != nil {
		return w, fmt.Errorf("copy from the master on %s: %w", m, err)
	}
	return w, nil
}

// ask says who wants a copy, and makes ready for it when the master agrees.
func (c *copying) ask(begun bool) error {
	if err := c.conn.Send(seed.KindHello, seed.Hello{Cluster: c.cfg.Cluster, Store: c.cfg.Store, Slot: c.cfg.Slot}); err != nil {
		return err
	}
	var a seed.Answer
	if err := c.conn.Expect(seed.KindAnswer, &a); err != nil {
		return err
	}
	if a.Reason != "" || a.Record == nil {
		return fmt.Errorf("it refuses: %s", a.Reason)
	}
	if err := c.heed(&a); err != nil {
		return err
	}
	if !begun {
		if err := c.begin(); err != nil {
			return err
		}
	}
	c.showSeeding(fmt.Errorf("copies %d octets from %s", a.Octets, c.from))
	return c.makeRoom(a.Octets)
}

// heed takes the master's record in as the protocol would: before any octet that was
// written under it, and before anything is applied that it gives up.
func (c *copying) heed(a *seed.Answer) error {
	old, err := readAdopted(c.cfg.FS, c.cfg.Meta)
	if err != nil {
		return err
	}
	next := adopted{Epoch: a.Record.Epoch, Record: a.Record, Rev: a.Rev, CoordRev: a.CoordRev}
	if err := old.allows(&next, c.cfg.Slot); err != nil {
		return fmt.Errorf("its record cannot be believed: %w", err)
	}
	c.learn(a.Record)
	return writeSealed(c.cfg.FS, c.cfg.Meta, adoptedFile, next)
}

// allows reports why a slot that promised a may not go on with next.
func (a *adopted) allows(next *adopted, id cluster.SlotID) error {
	rec := next.Record
	switch {
	case !rec.Has(id) || rec.Master == id || rec.IsInSync(id):
		return errors.New("it does not have this slot as one to be filled")
	case rec.Epoch < a.Epoch:
		return fmt.Errorf("epoch %d is over: %d was adopted", rec.Epoch, a.Epoch)
	case a.Record == nil:
		return nil
	case rec.Generation == a.Record.Generation && next.Rev < a.Rev:
		return fmt.Errorf("revision %d is older than %d", next.Rev, a.Rev)
	}
	old := a.Record.Clone()
	old.InSync = append(old.InSync, rec.Master) // revisions in between may have been missed
	return old.LegalStep(*rec)
}

// receive takes round after round, and makes the copy whole.
func (c *copying) receive(ctx context.Context) (w whole, err error) {
	fs := c.cfg.FS
	for _, dir := range []string{c.meta, c.spool, c.snapshots()} {
		if err := fs.MkdirAll(dir, 0o700); err != nil {
			return w, err
		}
	}
	if err := c.damaged.load(fs, c.spool); err != nil {
		return w, err
	}
	if err := c.openPacks(); err != nil {
		return w, err
	}
	defer func() { c.packs.Close() }()
	for {
		r, err := c.round(ctx)
		if err != nil {
			return w, err
		}
		if r.Last {
			return c.finish(ctx, r)
		}
		if err := c.openPacks(); err != nil {
			return w, err
		}
	}
}

// openPacks opens the packs that have come so far.
func (c *copying) openPacks() error {
	set, err := pack.Open(pack.Config{
		FS: c.cfg.FS, Dir: c.cfg.FS.PathJoin(c.spool, packsDir), Disk: c.cfg.spoolDisk(), Random: c.cfg.Rand, Decoder: c.cfg.Decoder,
	})
	if err == nil {
		c.packs = set
	}
	return err
}

func (c *copying) snapshots() string { return c.cfg.FS.PathJoin(c.spool, snapshotsDir) }

// round asks for the packs that are missing and takes them.
func (c *copying) round(ctx context.Context) (r seed.Round, err error) {
	have := seed.Have{Packs: []string{}}
	for _, p := range c.packs.Packs() {
		have.Packs = append(have.Packs, p.ID.String())
	}
	if err := c.conn.Send(seed.KindHave, have); err != nil {
		return r, err
	}
	if err := c.conn.Expect(seed.KindRound, &r); err != nil {
		return r, err
	}
	var missing []string
	for _, id := range r.Packs {
		if !slices.Contains(have.Packs, id) {
			missing = append(missing, id)
		}
	}
	for i, id := range missing {
		c.showSeeding(fmt.Errorf("copies from %s, pack %d of %d", c.from, len(have.Packs)+i+1, len(r.Packs)))
		if err := c.pack(ctx, id); err != nil {
			return r, fmt.Errorf("pack %s: %w", id, err)
		}
	}
	return r, nil
}

// file takes a file under a temporary name.
func (c *copying) file(ctx context.Context, f seed.File, path string) (*disk.Output, error) {
	out, err := c.cfg.spoolDisk().Create(c.cfg.FS, path, "seed")
	if err != nil {
		return nil, err
	}
	err = c.conn.ReceiveFile(f, func(octets []byte) error {
		out.Buf = append(out.Buf, octets...)
		if err := c.pace.take(ctx, len(octets)); err != nil {
			return err
		}
		return out.Flow()
	})
	if err == nil {
		err = out.Finish()
	}
	if err != nil {
		return nil, errors.Join(err, out.Remove())
	}
	return out, nil
}

// pack takes one pack, reads it back, and gives it its name. A body that is damaged at
// the source already, or on its way to the disk here, is listed and costs no other.
func (c *copying) pack(ctx context.Context, want string) error {
	var f seed.File
	if err := c.conn.Expect(seed.KindFile, &f); err != nil {
		return err
	}
	id, ok := pack.ParseName(f.Name)
	if !ok || f.What != seed.FilePack || id.String() != want || f.Size < 0 {
		return fmt.Errorf("announced as %s %q: %w", f.What, f.Name, seed.ErrFrame)
	}
	path := c.cfg.FS.PathJoin(c.spool, packsDir, f.Name)
	tmp := path[:len(path)-len(".pack")] + ".tmp"
	out, err := c.file(ctx, f, tmp)
	if err != nil {
		return err
	}
	if err = c.verify(ctx, tmp, id, f.Size); err == nil {
		err = c.damaged.save(c.cfg.FS, c.spool)
	}
	if err != nil {
		return errors.Join(err, out.Remove())
	}
	return out.Name(path)
}

func (c *copying) verify(ctx context.Context, path string, id pack.ID, size int64) error {
	f, err := c.cfg.FS.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	for item, err := range pack.Scan(f, size, id) {
		if err == nil {
			_, err = io.Copy(io.Discard, item.Octets)
		}
		var d *pack.Damage
		switch {
		case errors.As(err, &d):
			c.damaged.note(Damaged{Body: d.Body, Pack: id.String(), Why: d.Why.Error()})
			c.log.Error("a body is damaged in the copy", "lsn", d.Body, "err", err)
		case err != nil:
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	return nil
}

// finish takes what comes after the last pack, and makes the index. Then the copy is whole.
func (c *copying) finish(ctx context.Context, r seed.Round) (w whole, err error) {
	if err := c.prune(r.Packs); err != nil {
		return w, err
	}
	if w.Saved, err = c.snapshot(ctx); err != nil {
		return w, fmt.Errorf("snapshot: %w", err)
	}
	j, err := c.journal(ctx)
	if err != nil {
		return w, fmt.Errorf("journal: %w", err)
	}
	w.End = j.End().LSN
	err = c.index(j, w.Saved)
	if err = errors.Join(err, j.Close()); err != nil {
		return w, err
	}
	c.damaged.setRecheck(w.End)
	if err := c.damaged.save(c.cfg.FS, c.spool); err != nil {
		return w, err
	}
	for _, dir := range []string{c.spool, c.meta, c.cfg.Spool, c.cfg.Meta} {
		if err := syncDir(c.cfg.FS, dir); err != nil {
			return w, err
		}
	}
	w.From, w.Aside = string(c.from), c.cfg.Now().UTC().Format(asideFormat)
	return w, writeSealed(c.cfg.FS, c.meta, wholeFile, w)
}

// prune removes packs that the source has given up since they were copied, and what an
// earlier conversation left of the rest.
func (c *copying) prune(wanted []string) error {
	if err := c.openPacks(); err != nil {
		return err
	}
	var gone []pack.ID
	for _, p := range c.packs.Packs() {
		if !slices.Contains(wanted, p.ID.String()) {
			gone = append(gone, p.ID)
		}
	}
	if err := c.packs.Retire(gone...); err != nil {
		return err
	}
	fs := c.cfg.FS
	for _, dir := range []string{c.snapshots(), fs.PathJoin(c.meta, "journal"), fs.PathJoin(c.meta, "index")} {
		if err := fs.RemoveAll(dir); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	return fs.MkdirAll(c.snapshots(), 0o700)
}

// snapshot takes the snapshot if the source has one, and returns its position.
func (c *copying) snapshot(ctx context.Context) (cluster.LSN, error) {
	var f seed.File
	if err := c.conn.Expect(seed.KindFile, &f); err != nil {
		return 0, err
	}
	if f == (seed.File{What: seed.FileSnapshot}) {
		return 0, nil // there is none: everything is in the journal
	}
	lsn, ok := saved.ParseName(f.Name)
	if !ok || f.What != seed.FileSnapshot || f.Size < 0 {
		return 0, fmt.Errorf("announced as %s %q: %w", f.What, f.Name, seed.ErrFrame)
	}
	path := c.cfg.FS.PathJoin(c.snapshots(), f.Name)
	out, err := c.file(ctx, f, path+".tmp")
	if err != nil {
		return 0, err
	}
	return lsn, out.Name(path)
}

// journal takes batches into a new journal, which is durable then.
func (c *copying) journal(ctx context.Context) (*journal.Journal, error) {
	var at seed.Journal
	if err := c.conn.Expect(seed.KindJournal, &at); err != nil {
		return nil, err
	}
	start := cluster.Position{LSN: at.LSN, Epoch: at.Epoch}
	if n, err := hex.Decode(start.Chain[:], []byte(at.Chain)); err != nil || n != len(start.Chain) {
		return nil, fmt.Errorf("chain %q: %w", at.Chain, seed.ErrFrame)
	}
	cfg := journalConfig(&c.cfg)
	cfg.Dir = c.cfg.FS.PathJoin(c.meta, "journal")
	j, err := journal.Create(cfg, start)
	if err != nil {
		return nil, err
	}
	if err = c.batches(ctx, j); err == nil {
		_, err = j.Sync()
	}
	if err != nil {
		return nil, errors.Join(err, j.Close())
	}
	return j, nil
}

func (c *copying) batches(ctx context.Context, j *journal.Journal) error {
	for {
		k, payload, err := c.conn.Next()
		switch {
		case err != nil:
			return err
		case k == seed.KindBatch:
			if _, err := j.AppendRaw(payload); err != nil {
				return err
			}
			if err := c.pace.take(ctx, len(payload)); err != nil {
				return err
			}
		case k == seed.KindDone:
			var d seed.Done
			if err := seed.Decode(payload, &d); err != nil {
				return err
			}
			if end := j.End().LSN; d.LSN != end {
				return fmt.Errorf("it ends at %d, not %d: %w", end, d.LSN, seed.ErrFrame)
			}
			return nil
		default:
			return fmt.Errorf("frame of kind %d: %w", k, seed.ErrFrame)
		}
	}
}

// index makes the index of the snapshot, which is verified by that.
func (c *copying) index(j *journal.Journal, snapshot cluster.LSN) error {
	if snapshot == 0 {
		if low := j.Low().LSN; low > 0 {
			return fmt.Errorf("journal begins at %d, and there is no snapshot: %w", low, seed.ErrFrame)
		}
		return nil
	}
	r := &restorer{cfg: &c.cfg, log: c.log, skips: c.given(), saved: c.snapshots(), packs: c.packs, journal: j}
	_, err := r.make(c.cfg.FS.PathJoin(c.meta, "index"))
	return err
}
