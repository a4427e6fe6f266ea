package sim

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/replica"
)

// Script drives one World step by step for readable scenarios: every delay is
// fixed (1 ms on the network, 0.5 ms on the disk) and nothing happens unasked.
// Heartbeats, syncs and acknowledgements without news are left out of what it
// prints.
type Script struct {
	w    *World
	out  strings.Builder
	told map[string]cluster.LSN // by sender and kind: last LSN printed
}

// NewScript returns a script without a store; its first command is "store".
func NewScript() *Script { return &Script{told: map[string]cluster.LSN{}} }

// Do runs one command and returns what happened. Unknown commands and slots
// panic: a scenario is a test.
//
//	store <n> [min]      a store of n slots a, b, ...; min-in-sync
//	controller           one controller from here on
//	open <slot>...       start incarnations
//	nominate <slot>      the controller's nomination
//	force <slot> [off]   a person's: the slot is not in the set; off: the old master is off
//	write <slot> [n]     n operations
//	read <slot>          is a read served, and how far does it see
//	switch <slot> <to>   ask the master to hand over
//	run <duration>       let time pass
//	kill | power-loss | fail-sync | pause | resume <slot>
//	cut | heal <from> <to>
//	coordinator down | up | lose-answer
//	state                one line a slot
func (s *Script) Do(cmd string, args ...string) string {
	s.out.Reset()
	switch cmd {
	case "store":
		s.store(args)
	case "run":
		d, err := time.ParseDuration(args[0])
		if err != nil {
			panic(err)
		}
		if err := s.w.Run(d); err != nil {
			fmt.Fprintln(&s.out, err)
		}
	case "controller":
		s.w.startControllers(1)
	case "coordinator":
		s.coordinator(args[0])
	case "state":
		fmt.Fprintln(&s.out, s.w.summary())
	case "cut":
		s.w.net.Cut(args[0], args[1])
	case "heal":
		s.w.net.Heal(args[0], args[1])
	case "open":
		for _, name := range args {
			s.w.slot(name).open()
		}
	default:
		s.toSlot(cmd, s.w.slot(args[0]), args[1:])
	}
	return s.out.String()
}

func (s *Script) store(args []string) {
	cfg := Config{Seed: 1, Calm: true, MinInSync: 1}
	cfg.Slots = number(args[0])
	if len(args) > 1 {
		cfg.MinInSync = number(args[1])
	}
	cfg.watch = s.print
	s.w = New(cfg)
}

func (s *Script) coordinator(what string) {
	switch what {
	case "down":
		s.w.coord.down = true
	case "up":
		s.w.coordUp()
	case "lose-answer":
		s.w.coord.loseNext = true
	default:
		panic("sim: coordinator " + what)
	}
}

func (s *Script) toSlot(cmd string, slot *Slot, args []string) {
	switch cmd {
	case "nominate":
		slot.step(replica.Nominate{CoordRev: s.w.coord.global})
	case "force":
		s.w.forcing = &forcing{target: slot}
		slot.step(replica.Nominate{Forced: true, OldIsOff: len(args) > 0, CoordRev: s.w.coord.global})
	case "write":
		n := 1
		if len(args) > 0 {
			n = number(args[0])
		}
		for range n {
			s.write(slot)
		}
	case "read":
		s.read(slot)
	case "switch":
		slot.step(replica.SwitchTo{Target: s.w.slot(args[0]).id})
	case "kill":
		slot.stop(false)
		slot.disk.Kill(s.w.rng)
	case "power-loss":
		s.w.powerOff(slot)
	case "fail-sync":
		slot.disk.fs.FailSyncs(1)
	case "pause":
		slot.paused = true
	case "resume":
		slot.resume()
	default:
		panic("sim: command " + cmd)
	}
}

func (s *Script) write(slot *Slot) {
	s.w.lastOp++
	op := s.w.lastOp
	slot.propose(op, func(o outcome) {
		s.line("client", "operation %d: %s", op, [...]string{"unknown", "OK", "refused"}[o])
	})
}

func (s *Script) read(slot *Slot) {
	if slot.core == nil || !slot.serving || slot.now() >= slot.lease {
		fmt.Fprintln(&s.out, "not served")
		return
	}
	s.w.check.read(slot, s.w.check.acknowledged())
	fmt.Fprintf(&s.out, "served at %d\n", slot.machine.applied)
}

func number(s string) int {
	n, err := strconv.Atoi(s)
	if err != nil {
		panic(err)
	}
	return n
}

func (s *Script) line(who, format string, args ...any) {
	fmt.Fprintf(&s.out, "%8.1fms %s: %s\n", float64(s.w.loop.Now())/float64(time.Millisecond), who, fmt.Sprintf(format, args...))
}

// print writes the lines of a trace that tell the story.
func (s *Script) print(l traceLine) {
	switch f := l.what.(type) {
	case replica.Send:
		s.sent(l.who, f)
	case replica.AppendRecord:
		s.line(l.who, "append %s", s.record(f.Record, map[bool]string{true: "epoch start, ", false: ""}[f.Start]))
	case replica.Truncate:
		s.line(l.who, "truncate to %d", f.To)
	case replica.AdoptEpoch:
		s.line(l.who, "adopt epoch %d", f.Epoch)
	case replica.ProposeRecord:
		s.line(l.who, "propose at rev %d: %s", f.Rev, s.record(f.Record, ""))
	case replica.CASAnswered:
		s.line(l.who, "proposal answered: %s", [...]string{"unknown", "ok", "conflict"}[f.Outcome])
	case replica.ReadRecord:
		s.line(l.who, "read the record")
	case replica.RecordSeen:
		if f.Read != 0 {
			s.line(l.who, "record read: rev %d, %s", f.Rev, s.record(f.Record, ""))
		}
	case replica.ApplyTo:
		s.line(l.who, "commit %d", f.LSN)
	case replica.AskController:
		s.line(l.who, "ask the controller: go on without %s?", s.w.nameOf(f.Peer))
	case replica.ControllerAnswered:
		s.line(l.who, "controller: %s", [...]string{"no answer", "go alone", "hand over"}[f.Verdict])
	case replica.Serve:
		s.line(l.who, "SERVE epoch %d", f.Epoch)
	case replica.Hold:
		s.line(l.who, "HOLD: %s", f.Reason)
	case replica.StopServing:
		s.line(l.who, "STOP: %s", f.Reason)
	case replica.EndIncarnation:
		s.line(l.who, "end of incarnation: %s", f.Reason)
	case replica.FailSlot:
		s.line(l.who, "FAILED: %v", f.Problem)
	case replica.Freeze:
		s.line(l.who, "FROZEN: %v", f.Problem)
	case replica.Told:
		s.line(l.who, "note: %s", f.Text)
	case replica.SessionUp:
		s.line(l.who, "session with %s", s.w.nameOf(f.Peer))
	case replica.SessionDown:
		s.line(l.who, "session lost")
	}
}

func (s *Script) record(r cluster.StoreRecord, prefix string) string {
	if r.Epoch == 0 {
		return prefix + "no master yet"
	}
	var set []string
	for _, id := range r.InSync {
		set = append(set, s.w.nameOf(id))
	}
	return fmt.Sprintf("%se%d master %s set {%s}", prefix, r.Epoch, s.w.nameOf(r.Master), strings.Join(set, " "))
}

// news reports whether lsn is more than was printed for key before.
func (s *Script) news(key string, lsn cluster.LSN) bool {
	if lsn <= s.told[key] {
		return false
	}
	s.told[key] = lsn
	return true
}

func (s *Script) sent(who string, e replica.Send) {
	switch f := e.Frame.(type) {
	case replica.Hello:
		s.line(who, "Hello e%d end=%d commit=%d", f.Epoch, f.End.LSN, f.Commit)
	case replica.Welcome:
		switch f.Answer {
		case replica.Accept:
			s.line(who, "Welcome e%d from %d", f.Epoch, f.Start.LSN)
		case replica.Reseed:
			s.line(who, "Welcome: reseed, %s", f.Reason)
		case replica.Apart:
			s.line(who, "Welcome: apart, %s", f.Reason)
		case replica.Refuse:
			s.line(who, "Welcome: refused, %s", f.Reason)
		}
	case replica.Batch:
		s.line(who, "Batch %d..%d", f.Base, f.End)
	case replica.Ack:
		if s.news(fmt.Sprint(who, "ack", f.Epoch, f.Stream), f.Durable) {
			s.line(who, "Ack durable=%d", f.Durable)
		}
	case replica.Heartbeat:
		if s.news(fmt.Sprint(who, "commit", e.Session), f.Commit) {
			s.line(who, "Heartbeat commit=%d", f.Commit)
		}
	case replica.Record:
		s.line(who, "Record rev %d: %s", f.Rev, s.record(f.Record, ""))
	}
}
