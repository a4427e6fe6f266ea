package remote

import (
	"bytes"
	"context"
	"slices"
	"sync"

	"github.com/tandemail/tandemail/internal/mail"
)

// derived is what is known here of derived data: whoever asks for that of one message
// will ask for the next ones' in the listing.
type derived struct {
	mu     sync.Mutex
	have   map[derivedKey][]byte // nil: there was none
	octets int
	listed [][]mail.EmailID // the newest batches of listings
}

type derivedKey struct {
	id      mail.EmailID
	version uint32
}

const (
	maxDerived      = 4 << 20 // octets kept; past it all is forgotten
	derivedOverhead = 128     // octets that an entry takes beside its data
)

// note remembers a batch of a listing.
func (d *derived) note(list []mail.Message) {
	ids := make([]mail.EmailID, len(list))
	for i := range list {
		ids[i] = list[i].EmailID
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.listed = append(d.listed, ids); len(d.listed) > aheadBatches {
		d.listed = slices.Delete(d.listed, 0, 1)
	}
}

// get returns what is known; known is false if that is nothing.
func (d *derived) get(k derivedKey) (data []byte, known bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	data, known = d.have[k]
	return data, known
}

func (d *derived) set(k derivedKey, data []byte) {
	d.mu.Lock()
	defer d.mu.Unlock()
	n := len(data) + derivedOverhead
	if d.have == nil || d.octets+n > maxDerived {
		d.have, d.octets = map[derivedKey][]byte{}, 0
	}
	d.have[k] = data
	d.octets += n
}

// wanted lists e and what follows it in the listings and is not known.
func (d *derived) wanted(e mail.EmailID, version uint32) []mail.EmailID {
	ids := []mail.EmailID{e}
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, list := range slices.Backward(d.listed) {
		i := slices.Index(list, e)
		if i < 0 {
			continue
		}
		for _, id := range list[i+1:] {
			if _, known := d.have[derivedKey{id, version}]; !known && id != e {
				ids = append(ids, id)
			}
			if len(ids) == maxDerivedID {
				break
			}
		}
		break
	}
	return ids
}

// Derived implements mail.Account. Without a connection, or an answer soon, there is none.
func (a *Account) Derived(version uint32, contents ...mail.EmailID) [][]byte {
	list := make([][]byte, len(contents))
	for i, e := range contents {
		list[i] = a.derivedOf(e, version)
	}
	return list
}

func (a *Account) derivedOf(e mail.EmailID, version uint32) []byte {
	if data, known := a.derived.get(derivedKey{e, version}); known {
		return data
	}
	c := a.connected()
	if c == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), derivedWait)
	defer cancel()
	ids := a.derived.wanted(e, version)
	octets, _, _, err := c.call(ctx, qDerived{version, ids})
	if err != nil {
		return nil
	}
	list, err := decoded(c, octets, func(d decoder) (list [][]byte) {
		for range ids {
			var data []byte
			if there := d.Bool(); there {
				data = bytes.Clone(d.Octets(maxFrame))
			} else {
				d.Octets(0)
			}
			list = append(list, data)
		}
		return list
	})
	if err != nil {
		return nil
	}
	for i, data := range list {
		a.derived.set(derivedKey{ids[i], version}, data)
	}
	return list[0]
}

// SetDerived implements mail.Account: here, and where the account is.
func (a *Account) SetDerived(e mail.EmailID, version uint32, data []byte) {
	data = append([]byte{}, data...)
	a.derived.set(derivedKey{e, version}, data)
	if c := a.connected(); c != nil {
		ctx, cancel := context.WithCancel(context.Background())
		cancel() // it waits for nothing
		_ = send(ctx, c.f, ask{0, qSetDerived{e, version, data}})
	}
}
