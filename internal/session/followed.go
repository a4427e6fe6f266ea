package session

import (
	"bytes"
	"encoding/binary"

	"github.com/tandemail/tandemail/internal/mail"
)

// Followed is another user's account of which NOTIFY asks to be told: what happened there
// up to Seq, in that history, is told or not asked for.
type Followed struct {
	Owner mail.AccountID
	Fork  uint64
	Seq   mail.ModSeq
}

// MaxFollowed is how many accounts of other users a session may follow.
const MaxFollowed = 32

func appendFollowed(dst []byte, list []Followed) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(list)))
	for _, f := range list {
		dst = binary.AppendUvarint(append(dst, f.Owner[:]...), f.Fork)
		dst = binary.AppendUvarint(dst, uint64(f.Seq))
	}
	return dst
}

// followed reads them; each owner is there once, in their order.
func (d decoder) followed() []Followed {
	var list []Followed
	for i := range d.Uint(MaxFollowed) {
		f := Followed{d.ID(), d.U64(), mail.ModSeq(d.u63())}
		if i > 0 && bytes.Compare(list[i-1].Owner[:], f.Owner[:]) >= 0 {
			d.Fail()
		}
		list = append(list, f)
	}
	return list
}
