package state

import (
	"iter"

	"github.com/tandemail/tandemail/internal/mail"
)

// Located is a body that something refers to, and where this copy keeps it.
type Located struct {
	Body mail.BodyID
	Location
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
