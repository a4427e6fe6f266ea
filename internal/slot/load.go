package slot

import (
	"fmt"
	"iter"
	"slices"

	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/journal"
	"github.com/tandemail/tandemail/internal/mail"
	"github.com/tandemail/tandemail/internal/pack"
	"github.com/tandemail/tandemail/internal/state"
	"github.com/tandemail/tandemail/internal/state/operation"
)

// load is what moves into packs at once: bodies of one stretch of the journal, and
// whose they are. It decides; the mover reads and writes.
type load struct {
	cargo []*cargo                        // by id; in the order of a pack once stowed
	by    map[mail.BodyID]*cargo          // all of cargo
	users map[mail.AccountID][]*cargo     // for whom they were brought
	since map[mail.AccountID]mail.Instant // when the first of them was
	open  int                             // cargo that no operation was seen for
}

// cargo is one body of a load.
type cargo struct {
	pack.Entry // of owners only account, mailbox and UID, until it is written
	at         state.Location
	brought    int // for so many accounts
}

// Bounds of a load: what it takes of memory, 15 MiB at most. The first limit is met by
// messages of less than 4 KiB in full segments, the second by those to many users.
const (
	loadBodies = 1 << 14
	loadOwners = 1 << 16
)

// newLoad takes the first bodies with lo <= id < hi that the journal has, without
// those to be passed over. rest is the lowest of these, hi if there is none.
func newLoad(r state.Reader, lo, hi cluster.LSN, pass map[mail.BodyID]bool) (l *load, rest cluster.LSN, err error) {
	l = &load{
		by: map[mail.BodyID]*cargo{}, users: map[mail.AccountID][]*cargo{}, since: map[mail.AccountID]mail.Instant{},
	}
	rest = hi
	for b, err := range state.Locations(r, mail.BodyID(lo), mail.BodyID(hi)) {
		switch {
		case err != nil:
			return nil, 0, err
		case b.InPack():
			continue
		case pass[b.Body]:
			rest = min(rest, cluster.LSN(b.Body))
			continue
		}
		c := &cargo{Entry: pack.Entry{Body: b.Body}, at: b.Location}
		l.cargo = append(l.cargo, c)
		l.by[c.Body] = c
		if len(l.cargo) == loadBodies {
			break
		}
	}
	l.open = len(l.cargo)
	return l, rest, nil
}

// end is where the journal need not be read any further for operations, as long as
// none is open.
func (l *load) end() cluster.LSN { return cluster.LSN(l.cargo[len(l.cargo)-1].Body) }

// batch notes what the operations of a batch say of bodies of the load. Operations
// that cannot be read, as in a damaged batch, say nothing.
func (l *load) batch(b journal.Batch) {
	for lsn, rec := range b.Records() {
		if rec.Kind != journal.KindOperation {
			continue
		}
		if op, err := operation.Decode(rec.Payload); err == nil {
			l.brought(mail.Instant(op.Time), state.Brought(lsn, op))
		}
	}
}

func (l *load) brought(at mail.Instant, bodies iter.Seq2[mail.BodyID, mail.AccountID]) {
	for id, user := range bodies {
		c := l.by[id]
		if c == nil {
			continue
		}
		if c.brought++; c.brought == 1 {
			l.open--
		}
		if known, ok := l.since[user]; !ok || at < known {
			l.since[user] = at
		}
		if list := l.users[user]; len(list) == 0 || list[len(list)-1] != c {
			l.users[user] = append(list, c)
		}
	}
}

// cut leaves bodies for the next load if this one has too many owners, never all.
func (l *load) cut(most int) {
	n := 0
	for i, c := range l.cargo {
		if n += c.brought; n > most && i > 0 {
			for _, c := range l.cargo[i:] {
				delete(l.by, c.Body)
			}
			l.cargo = l.cargo[:i]
			return
		}
	}
}

// find looks up the messages that refer to the bodies.
func (l *load) find(r state.Reader) error {
	users := make([]mail.AccountID, 0, len(l.users))
	for user := range l.users {
		users = append(users, user)
	}
	slices.SortFunc(users, func(a, b mail.AccountID) int { return slices.Compare(a[:], b[:]) })
	for _, user := range users {
		wanted := map[mail.BodyID]bool{}
		for _, c := range l.users[user] {
			wanted[c.Body] = l.by[c.Body] != nil
		}
		for m, err := range state.Inserted(r, user, l.since[user]) {
			if err != nil {
				return fmt.Errorf("find owners of bodies: %w", err)
			}
			for _, e := range m.Extents {
				if wanted[e.Body] {
					l.by[e.Body].owned(user, m)
				}
			}
		}
	}
	return nil
}

// owned notes a message over the body. Those of one message come in a row.
func (c *cargo) owned(user mail.AccountID, m mail.Message) {
	o := pack.Owner{Account: user, Mailbox: m.Mailbox, UID: m.UID}
	if n := len(c.Owners); n > 0 {
		if last := &c.Owners[n-1]; last.Account == o.Account && last.Mailbox == o.Mailbox && last.UID == o.UID {
			return
		}
	}
	c.Owners = append(c.Owners, o)
}

// stow puts the cargo into the order of a pack.
func (l *load) stow() {
	slices.SortFunc(l.cargo, func(a, b *cargo) int { return a.Compare(&b.Entry) })
}

// maxPrefix is the longest prefix that a pack repeats; real ones are some lines.
const maxPrefix = 64 << 10

// describe fills in what the state says of the body and its owners; false if nothing
// refers to it any more.
func (c *cargo) describe(r state.Reader) (bool, error) {
	rec, ok, err := state.ReadBody(r, c.Body)
	if err != nil || !ok {
		return false, err
	}
	c.Length, c.SHA256 = rec.Length, rec.SHA256
	for i := range c.Owners {
		o := &c.Owners[i]
		s, ok, err := state.Stands(r, o.Account, o.Mailbox, o.UID)
		if err != nil {
			return false, fmt.Errorf("describe body %d: %w", c.Body, err)
		}
		if !ok {
			continue // the state is a snapshot: not possible
		}
		o.Name, o.InternalDate, o.Flags, o.Keywords = s.Name, s.InternalDate, s.Flags, s.Keywords
		if len(s.Prefix) <= maxPrefix {
			o.Prefix = s.Prefix
		}
	}
	return true, nil
}

// inJournal wants a body to be in the journal still: what relocations of the mover are from.
func inJournal(at state.Location) bool { return !at.InPack() }

// relocationTo is a body's new place.
func relocationTo(id mail.BodyID, at pack.Location) relocation {
	return relocation{id, state.Location{Pack: state.Packed{ID: uint64(at.Pack), Offset: at.Offset, Size: at.Size}}}
}
