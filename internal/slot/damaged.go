package slot

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/mail"
	"github.com/tandemail/tandemail/internal/state"
)

// Damaged is a stored body that this copy cannot give as it was written, or, with
// body 0, octets of a pack of which nobody knows whose they are, or of the journal.
// Another copy has it.
type Damaged struct {
	Body mail.BodyID `json:"body,omitempty"`
	Pack string      `json:"pack,omitempty"` // 16 hexadecimal digits; none: in the journal
	Why  string      `json:"why"`
}

func (d *Damaged) same(o *Damaged) bool { return d.Body == o.Body && d.Pack == o.Pack }

// maxDamaged bounds the list. What is beyond it is found again when some were mended.
const maxDamaged = 1000

// careFile keeps in the spool directory what must outlive the process: where the
// scrub is and what was found damaged.
const careFile = "care"

// care is its document.
type care struct {
	// Scrubbed is when the last scrub was complete, or when the slot would have been
	// scrubbed if it had been there.
	Scrubbed time.Time `json:"scrubbed"`
	// Next is the pack that the present scrub goes on with.
	Next string `json:"next,omitempty"`
	// Recheck: the index was made of a snapshot. Once it is so far, whatever it names
	// has to be here.
	Recheck cluster.LSN `json:"recheck,omitempty"`
	Damaged []Damaged   `json:"damaged,omitempty"`
}

// damaged is what is known to be damaged, for everybody; the scrub's place is the
// scrubber's.
type damaged struct {
	mu    sync.Mutex
	doc   care
	dirty bool // the file is older
}

// load reads the file. What cannot be read is found anew.
func (d *damaged) load(fs vfs.FS, dir string) error {
	var doc care
	err := readSealed(fs, dir, careFile, &doc)
	if errors.Is(err, errAbsent) || errors.Is(err, cluster.ErrDamaged) {
		err = nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.doc, d.dirty = doc, false
	return err
}

// save writes the file if something has changed.
func (d *damaged) save(fs vfs.FS, dir string) error {
	d.mu.Lock()
	doc, dirty := d.doc, d.dirty
	doc.Damaged = slices.Clone(doc.Damaged)
	d.dirty = false
	d.mu.Unlock()
	if !dirty {
		return nil
	}
	err := writeSealed(fs, dir, careFile, doc)
	if err != nil {
		d.mu.Lock()
		d.dirty = true
		d.mu.Unlock()
	}
	return err
}

// note adds x unless it is known, and reports whether it did.
func (d *damaged) note(x Damaged) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.doc.Damaged) == maxDamaged || slices.ContainsFunc(d.doc.Damaged, func(o Damaged) bool { return o.same(&x) }) {
		return false
	}
	d.doc.Damaged = append(d.doc.Damaged, x)
	d.dirty = true
	return true
}

// list returns what is damaged.
func (d *damaged) list() []Damaged {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.doc.Damaged)
}

// scrub returns where the scrub is.
func (d *damaged) scrub() (scrubbed time.Time, next string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.doc.Scrubbed, d.doc.Next
}

func (d *damaged) setScrub(scrubbed time.Time, next string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.doc.Scrubbed, d.doc.Next, d.dirty = scrubbed, next, true
}

// recheck returns when it is to be looked for bodies that are nowhere; 0: not.
func (d *damaged) recheck() cluster.LSN {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.doc.Recheck
}

func (d *damaged) setRecheck(lsn cluster.LSN) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.doc.Recheck, d.dirty = lsn, true
}

// forgetJournal drops what is said of the journal's octets.
func (d *damaged) forgetJournal() {
	d.mu.Lock()
	defer d.mu.Unlock()
	n := len(d.doc.Damaged)
	d.doc.Damaged = slices.DeleteFunc(d.doc.Damaged, func(x Damaged) bool { return x.Body == 0 && x.Pack == "" })
	d.dirty = d.dirty || len(d.doc.Damaged) != n
}

// forget drops what gone says is no loss any more.
func (d *damaged) forget(gone func(Damaged) (bool, error)) error {
	var dropped []Damaged
	for _, x := range d.list() {
		ok, err := gone(x)
		if err != nil {
			return err
		}
		if ok {
			dropped = append(dropped, x)
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, x := range dropped {
		d.doc.Damaged = slices.DeleteFunc(d.doc.Damaged, func(o Damaged) bool { return o.same(&x) })
		d.dirty = true
	}
	return nil
}

// review forgets damage of what nothing refers to any more, or what was mended by
// being written elsewhere.
func (inc *incarnation) review() error {
	snap, err := inc.snapshot()
	if err != nil {
		return err
	}
	defer snap.release()
	there := map[string]bool{}
	for _, p := range inc.packs.Packs() {
		there[p.ID.String()] = true
	}
	return inc.damaged.forget(func(x Damaged) (bool, error) {
		if x.Body == 0 {
			return x.Pack != "" && !there[x.Pack], nil // the journal's, the next scrub of it forgets
		}
		at, ok, err := state.ReadLocation(snap, x.Body)
		if err != nil {
			return false, fmt.Errorf("review damage: %w", err)
		}
		return !ok || packName(at) != x.Pack, nil
	})
}
