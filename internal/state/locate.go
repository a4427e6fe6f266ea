package state

import (
	"fmt"
	"iter"

	"github.com/tandemail/tandemail/internal/mail"
)

// Located is a body that something refers to, and where this copy keeps it.
type Located struct {
	Body mail.BodyID
	Location
}

// Kept is a body's record and where this copy keeps it, or why that is not known;
// mail.ErrNoMessage: nothing refers to it.
type Kept struct {
	BodyRecord
	Location
	Err error
}

// Batcher is a Reader that looks up many keys at once.
type Batcher interface {
	// GetAll returns the value of each key, nil where there is none. It may be kept.
	// Keys in ascending order cost least.
	GetAll(keys [][]byte) ([][]byte, error)
}

// Bodies looks bodies up, ids ascending. The error is the database's.
func Bodies(r Batcher, ids []mail.BodyID) ([]Kept, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	keys := make([][]byte, 0, 2*len(ids))
	for _, space := range [...]byte{spaceBody, spaceLocation} {
		for _, id := range ids {
			keys = append(keys, bodyKey(nil, space, id))
		}
	}
	values, err := r.GetAll(keys)
	if err != nil {
		return nil, fmt.Errorf("look up %d bodies: %w", len(ids), err)
	}
	list := make([]Kept, len(ids))
	for i := range list {
		list[i].decode(ids[i], values[i], values[len(ids)+i])
	}
	return list, nil
}

func (k *Kept) decode(id mail.BodyID, record, location []byte) {
	if record == nil || location == nil {
		k.Err = bodyErr(mail.ErrNoMessage, id)
		return
	}
	if k.BodyRecord, k.Err = decodeBody(record); k.Err == nil {
		k.Location, k.Err = decodeLocation(location)
	}
	k.Err = bodyErr(k.Err, id)
}

// Locations yields the bodies with lo <= id < hi in the order of their ids; a hi of
// 0 is no bound.
func Locations(r Reader, lo, hi mail.BodyID) iter.Seq2[Located, error] {
	return func(yield func(Located, error) bool) {
		end := []byte{spaceLocation + 1}
		if hi != 0 {
			end = bodyKey(nil, spaceLocation, hi)
		}
		for k, v := range r.Scan(bodyKey(nil, spaceLocation, lo), end) {
			id := reader{b: k[1:]}
			at := Located{Body: mail.BodyID(id.fixed())}
			err := id.finish("location key")
			if err == nil {
				at.Location, err = decodeLocation(v)
			}
			if !yield(at, bodyErr(err, at.Body)) || err != nil {
				return
			}
		}
		if err := scanErr(r); err != nil {
			yield(Located{}, err)
		}
	}
}

// Relocate notes that this copy keeps a body at to, if something refers to the body
// still and it is where from wants it; moved tells. It is for whoever copied the
// octets there, in the applier's own batch, and no replicated change.
func Relocate(kv KV, id mail.BodyID, from func(Location) bool, to Location) (moved bool, err error) {
	now, ok, err := ReadLocation(kv, id)
	if err != nil || !ok || !from(now) {
		return false, err
	}
	var w writer
	to.encode(&w)
	return true, bodyErr(kv.Set(bodyKey(nil, spaceLocation, id), w), id)
}
