package campaign

import (
	"context"
	"math/rand/v2"
	"path"
	"syscall"
	"time"
)

// Fault is something that happens to a machine.
type Fault struct {
	Name string
	// Lasting: octets are lost. Then the other machines stay whole until the slot is, since
	// two losses at once are more than two copies promise to survive.
	Lasting bool
	do      func(r *run, m *machine)
}

// Faults are all there are. Troubles of a disk last until the round's end, those that
// follow come on top of them.
func Faults() []Fault {
	all := []Fault{
		{"kill", false, func(r *run, m *machine) { r.reboot(m, 100) }},
		{"power-loss", false, func(r *run, m *machine) { r.reboot(m, 50*r.rng.IntN(2)) }},
		{"power-loss-everywhere", false, (*run).blackout},
		{"full-disk", false, func(r *run, m *machine) {
			m.fs.used.Store(100)
			m.fs.add(&trouble{on: write, err: syscall.ENOSPC, left: -1})
			r.wait(2*time.Second, 8*time.Second)
		}},
		{"watermark", false, func(r *run, m *machine) {
			m.fs.used.Store(95)
			r.wait(3*time.Second, 6*time.Second)
		}},
		{"slow-disk", false, func(r *run, m *machine) {
			d := time.Duration(20+r.rng.IntN(400)) * time.Millisecond
			m.fs.add(&trouble{on: sync_, wait: func() { <-time.After(d) }, left: -1})
			r.wait(3*time.Second, 8*time.Second)
		}},
		{"hung-disk", false, func(r *run, m *machine) {
			m.fs.add(&trouble{on: []access{sync_, write | sync_}[r.rng.IntN(2)], hang: make(chan struct{}), left: -1})
			r.wait(3*time.Second, 15*time.Second)
		}},
		{"isolation", false, func(r *run, m *machine) {
			r.w.part(m.name, true)
			r.wait(500*time.Millisecond, 8*time.Second)
			r.w.part(m.name, false)
		}},
		{"switchover", false, func(r *run, m *machine) {
			if s := r.w.master(); s != nil {
				_ = s.SwitchTo(r.ctx, m.ID(), 5*time.Second) // it may be refused
			}
		}},
		{"lost-index", true, func(r *run, m *machine) {
			r.reopen(m, func() { _ = m.fs.mem.RemoveAll(path.Join(r.w.shape.Meta, "index")) })
		}},
		{"lost-packs", true, func(r *run, m *machine) {
			r.reopen(m, func() {
				for _, name := range m.fs.files("/", Packs) {
					_ = m.fs.mem.Remove(name)
				}
			})
		}},
		{"lost-spool", true, func(r *run, m *machine) {
			r.reopen(m, func() { _ = m.fs.mem.RemoveAll(r.w.shape.Spool); _ = m.fs.mem.MkdirAll(r.w.shape.Spool, 0o700) })
		}},
		{"lost-disks", true, func(r *run, m *machine) { r.reopen(m, func() { m.fs = r.w.blank() }); r.gone[m.ID()] = true }},
		{"empty-mount", true, func(r *run, m *machine) {
			right := m.fs
			r.reopen(m, func() { m.fs = r.w.blank() })
			r.wait(time.Second, 5*time.Second)
			r.reopen(m, func() { m.fs = right })
		}},
		{"older-disk", true, func(r *run, m *machine) { r.older(m, r.rng.IntN(2) == 0) }},
		{"cloned-machine", true, (*run).clone},
	}
	for _, p := range []Part{Journal, Table, Manifest, Packs, Snapshots, Identity} {
		all = append(all,
			Fault{"bit-flip in " + string(p), true, func(r *run, m *machine) { r.rot(m, p) }},
			Fault{"failed-sync of " + string(p), false, func(r *run, m *machine) { r.fail(m, p, sync_, syscall.EIO) }},
			Fault{"write-error in " + string(p), false, func(r *run, m *machine) { r.fail(m, p, write, syscall.EIO) }},
			Fault{"full " + string(p), false, func(r *run, m *machine) { r.fail(m, p, write, syscall.ENOSPC) }},
			Fault{"read-error in " + string(p), false, func(r *run, m *machine) { r.fail(m, p, read, syscall.EIO) }},
			Fault{"torn-write in " + string(p), false, func(r *run, m *machine) { r.tear(m, p) }},
		)
	}
	return all
}

// wait lets the clients work for a while.
func (r *run) wait(least, most time.Duration) {
	_ = pause(r.ctx, least+time.Duration(r.rng.Int64N(int64(most-least)+1)))
}

// reboot takes the power, or kills (keep is 100), and starts the machine again.
func (r *run) reboot(m *machine, keep int) {
	m.crash(keep)
	r.wait(0, 4*time.Second)
	m.start()
}

// reopen stops the process in order or not, does something to the disk, and starts it.
func (r *run) reopen(m *machine, change func()) {
	if r.rng.IntN(2) == 0 {
		m.stop()
	} else {
		m.crash(100)
	}
	change()
	m.fs.settle("/")
	m.fs = m.fs.image(r.w.rng) // whose locks nobody has
	m.start()
}

func (r *run) blackout(*machine) {
	keep := 50 * r.rng.IntN(2)
	order := r.rng.Perm(len(r.w.machines))
	for _, i := range order {
		r.w.machines[i].crash(keep)
	}
	for _, i := range r.rng.Perm(len(order)) {
		r.wait(0, 2*time.Second)
		r.w.machines[i].start()
	}
}

// rot flips bits, under the running process or before it opens again.
func (r *run) rot(m *machine, p Part) {
	flips := func() {
		for range 1 + r.rng.IntN(3) {
			if name, at := m.fs.flip(p, r.w.rng); name != "" {
				r.w.log.Info("a bit was flipped", "machine", m.name, "file", name, "lsn", at)
			}
		}
	}
	if flips(); r.rng.IntN(2) == 0 {
		r.reopen(m, flips)
	}
}

// fail makes some accesses fail: the next one, the next few, or all for a while.
func (r *run) fail(m *machine, p Part, on access, err error) {
	m.fs.add(&trouble{part: p, on: on, err: err, left: []int{1, 3, -1}[r.rng.IntN(3)]})
	r.wait(time.Second, 5*time.Second)
}

// tear lets the power go in the middle of a write, if there is one soon.
func (r *run) tear(m *machine, p Part) {
	m.fs.add(&trouble{part: p, on: write, torn: true, left: 1})
	ctx, cancel := context.WithTimeout(r.ctx, 4*time.Second)
	defer cancel()
	select {
	case <-m.fs.dead:
	case <-ctx.Done():
	}
	r.reboot(m, 50*r.rng.IntN(2))
}

// older boots the machine with its disk as it was some seconds ago. Then the right disk
// is found, or never.
func (r *run) older(m *machine, found bool) {
	old := m.fs.image(r.w.rng)
	r.wait(time.Second, 4*time.Second)
	m.stop()
	m.start() // the record has seen a later open than the old disk has
	r.wait(3*time.Second, 4*time.Second)
	right := m.fs
	r.reopen(m, func() { m.fs = old })
	r.wait(time.Second, 5*time.Second)
	if found {
		r.reopen(m, func() { m.fs = right })
	}
}

// clone runs a copy of the machine beside it.
func (r *run) clone(m *machine) {
	ghost := &machine{world: r.w, name: m.name, id: m.ID(), fs: m.fs.image(rand.New(rand.NewPCG(r.seed, 7)))}
	ghost.start()
	r.wait(time.Second, 6*time.Second)
	ghost.crash(100)
}
