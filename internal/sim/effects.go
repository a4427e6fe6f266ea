package sim

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/journal"
	"github.com/tandemail/tandemail/internal/replica"
)

// do carries out one effect and returns its inline answer, if it has one.
func (s *Slot) do(f replica.Effect) replica.Event {
	switch f := f.(type) {
	case replica.AppendRaw:
		return s.appendRaw(f)
	case replica.AppendRecord:
		return s.appendRecord(f)
	case replica.Truncate:
		return s.truncate(f.To)
	case replica.Sync:
		s.sync()
	case replica.Send:
		s.w.check.acts(s, f.Frame)
		s.w.net.Send(uint64(f.Session), s.name, f.Frame)
	case replica.CloseSession:
		s.closeCursor(f.Session)
		s.w.net.Close(uint64(f.Session), s.name)
	case replica.Locate:
		at, err := s.disk.j.PositionAt(f.LSN)
		s.after(s.w.delay(), func() {
			s.step(replica.Located{Session: f.Session, Stream: f.Stream, At: at, Found: err == nil})
		})
	case replica.StartStream:
		s.closeCursor(f.Session)
		s.cursors = append(s.cursors, replica.NewCursor(f))
	case replica.StopStream:
		s.closeCursor(f.Session)
	case replica.StreamAcked:
		for _, c := range s.cursors {
			if c.Session == f.Session {
				c.Acked(f.LSN)
			}
		}
	case replica.ApplyTo:
		s.after(s.w.diskDelay(), func() {
			if s.apply(f.LSN); s.core == nil {
				return
			}
			s.step(replica.Applied{LSN: s.machine.applied})
			s.answer()
		})
	case replica.AdoptEpoch:
		p := Promise(f)
		s.after(s.w.diskDelay(), func() {
			s.promise(p)
			s.step(replica.EpochDurable{Epoch: p.Epoch})
		})
	case replica.KeepRecord:
		s.promise(Promise{Record: f.Record, Rev: f.Rev, CoordRev: f.CoordRev})
	case replica.KeepCounter:
		s.after(s.w.diskDelay(), func() {
			s.disk.counter = f.Counter
			s.step(replica.CounterKept(f))
		})
	case replica.ProposeRecord:
		s.w.coord.cas(s, f)
	case replica.ReadRecord:
		s.w.coord.read(s, f.Read)
	case replica.AskController:
		s.w.askController(s)
	default:
		s.doServing(f)
	}
	return nil
}

func (s *Slot) doServing(f replica.Effect) {
	switch f := f.(type) {
	case replica.Serve:
		s.serving, s.held = true, false
		s.w.check.serves(s, f.Epoch)
	case replica.ReadLease:
		s.lease = f.Until
	case replica.Hold:
		s.held = true
	case replica.StopServing:
		s.serving = false
		s.drop()
	case replica.EndIncarnation:
		s.stop(false)
		if s.disk.fs.Off() {
			return // and the machine with it: see step
		}
		s.disk.Kill(s.w.rng)
		s.w.loop.After(s.w.delay()+100*time.Millisecond, s.open)
	case replica.FailSlot:
		s.problem = f.Problem.String()
		s.stop(false)
	case replica.Freeze, replica.Thaw, replica.Told:
	default:
		panic(fmt.Sprintf("sim: effect %T", f))
	}
}

func (s *Slot) promise(p Promise) {
	p.Epoch = max(p.Epoch, s.disk.promise.Epoch)
	if p.Rev < s.disk.promise.Rev && p.Record.Generation <= s.disk.promise.Record.Generation {
		s.disk.promise.Epoch = p.Epoch
		return
	}
	s.disk.promise = p
}

func (s *Slot) closeCursor(id replica.Session) {
	s.cursors = slices.DeleteFunc(s.cursors, func(c *replica.Cursor) bool { return c.Session == id })
}

// append writes a batch of our own.
func (s *Slot) append(e cluster.Epoch, recs []journal.Record) (*Batch, error) {
	b, err := s.disk.Append(journal.Head{Epoch: e, Commit: s.core.Commit()}, recs)
	if err == nil {
		s.w.check.appended(s, b)
	}
	return b, err
}

// wrote answers an append that the protocol asked for.
func wrote(b *Batch, err error) replica.Event {
	switch {
	case errors.Is(err, journal.ErrMismatch):
		return replica.AppendRefused{Reason: err.Error()}
	case err != nil:
		return replica.DiskFailed{Reason: err.Error()}
	}
	return replica.Appended{Base: b.Base, End: b.End}
}

func (s *Slot) appendRecord(f replica.AppendRecord) replica.Event {
	var recs []journal.Record
	if f.Start {
		recs = append(recs, journal.Record{Kind: journal.KindEpochStart, Payload: binary.BigEndian.AppendUint64(nil, uint64(f.Epoch))})
		if f.Record.Forced != 0 {
			count := uint64(len(f.Record.Forks))
			if s.w.cfg.Mutate&replica.ForkUncounted != 0 {
				count = s.machine.forks + 1
			}
			recs = append(recs, journal.Record{Kind: journal.KindFork, Payload: binary.BigEndian.AppendUint64(nil, count)})
		}
	}
	recs = append(recs, journal.Record{Kind: journal.KindStoreRecord, Payload: f.Record.Encode()})
	return wrote(s.append(f.Epoch, recs))
}

func (s *Slot) appendRaw(f replica.AppendRaw) replica.Event {
	b, err := s.disk.AppendRaw(f.Raw)
	if errors.Is(err, journal.ErrMismatch) && s.w.cfg.Mutate&replica.SkipTruncate != 0 {
		b, err = s.graft(f.Raw) // a journal that does not check its chain either
	}
	if err == nil {
		s.w.check.appended(s, b)
	}
	return wrote(b, err)
}

// graft appends the records of a batch that does not belong here.
func (s *Slot) graft(raw []byte) (*Batch, error) {
	b := s.w.wire[&raw[0]]
	var recs []journal.Record
	for _, rec := range b.Records() {
		recs = append(recs, rec)
	}
	return s.disk.Append(journal.Head{Epoch: b.Epoch, Commit: b.Commit}, recs)
}

func (s *Slot) truncate(to cluster.LSN) replica.Event {
	s.w.check.truncate(s, to)
	tail := s.disk.log[s.disk.index(to):]
	if err := s.disk.Truncate(to); err != nil {
		return replica.DiskFailed{Reason: err.Error()}
	}
	s.w.check.kept(s, to, tail)
	return replica.Truncated{End: s.disk.j.End()}
}

func (s *Slot) sync() {
	s.after(s.w.diskDelay(), func() {
		lsn, err := s.disk.Sync()
		if err != nil {
			s.step(replica.DiskFailed{Reason: err.Error()})
			return
		}
		s.step(replica.Durable{LSN: lsn})
	})
}

// pump sends batches as far as the cursors have room.
func (s *Slot) pump() {
	for _, c := range slices.Clone(s.cursors) {
		for c.Room() && c.Next < s.disk.j.End().LSN {
			b, err := s.disk.Read(c.Next)
			if err != nil {
				s.unreadable(c.Session, err)
				break
			}
			if s.w.cfg.Mutate&replica.SkipTruncate != 0 {
				s.w.wire[&b.Raw[0]] = b
			}
			f := replica.Batch{Stream: c.Stream, Epoch: c.Epoch, Base: b.Base, End: b.End, Commit: s.core.Commit(), Raw: b.Raw}
			s.w.note(s.name, "=>", replica.Send{Session: c.Session, Frame: f})
			s.w.net.Send(uint64(c.Session), s.name, f)
			c.Sent(b.End)
		}
	}
}

// unreadable ends a session whose next batch cannot be read back.
func (s *Slot) unreadable(id replica.Session, err error) {
	s.w.note(s.name, "!!", err.Error())
	s.closeCursor(id)
	s.w.net.Close(uint64(id), s.name)
	s.inbox = append(s.inbox, replica.SessionDown{Session: id})
}
