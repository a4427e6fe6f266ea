package pack

import (
	"fmt"
	"iter"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/tandemail/tandemail/internal/mail"
)

// Stored is an entry of a pack and where it is.
type Stored struct {
	Body    mail.BodyID
	Account mail.AccountID // whose group it is in
	Length  int64          // plain octets
	Location
}

// Entries lists a pack in the order of its octets: account by account, the bodies of
// each by id. It believes the table of contents, and looks for the entries where
// that is damaged. It yields a *Damage for the table, and for each stretch that
// holds no entry, and goes on; any other error is the last.
func (s *Set) Entries(id ID) iter.Seq2[Stored, error] {
	return func(yield func(Stored, error) bool) {
		o, err := s.open(id)
		if err != nil {
			yield(Stored{}, err)
			return
		}
		defer o.close()
		records, damage, holes, err := o.contents()
		if err != nil {
			yield(Stored{}, err)
			return
		}
		if damage != nil && !yield(Stored{}, damage) {
			return
		}
		for _, h := range holes {
			if !yield(Stored{}, h) {
				return
			}
		}
		for _, r := range records {
			if !yield(r.stored(id), nil) {
				return
			}
		}
	}
}

// opened is a pack of the set that is gone through, pinned.
type opened struct {
	*source
	ends error // what is wrong with header and footer
	file vfs.File
	set  *Set
	pack *pinned
}

func (s *Set) open(id ID) (*opened, error) {
	p, f, err := s.openFile(id, vfs.SequentialReadsOption)
	if err != nil {
		return nil, err
	}
	o := &opened{file: f, set: s, pack: p}
	if o.source, o.ends, err = openSource(f, id, s.cfg.Decoder); err != nil {
		o.close()
		return nil, fmt.Errorf("pack %v: %w", id, err)
	}
	return o, nil
}

func (o *opened) close() {
	_ = o.file.Close() // it was only read
	o.set.unpin(o.pack)
}
