package session

import (
	"encoding/binary"

	"github.com/tandemail/tandemail/internal/fields"
	"github.com/tandemail/tandemail/internal/mail"
)

// Progress is how much of a FETCH that has no Done the client has. The zero value
// is nothing.
type Progress struct {
	Whole  mail.UID // the responses of its messages up to here
	Inside *Place   // not nil: the next one up to here
}

// Place is inside the response of a message: behind Octet octets of the streamed
// literal Item, which has Length.
type Place struct {
	UID           mail.UID
	Item          uint32
	Octet, Length int64
}

// Complete says that the Done of a command has been forwarded.
func (t *Token) Complete(command uint64) { t.LastCommand, t.Fetch = command, Progress{} }

func (p *Progress) append(dst []byte) []byte {
	dst = binary.AppendUvarint(dst, uint64(p.Whole))
	dst = fields.AppendBool(dst, p.Inside != nil)
	if p.Inside != nil {
		dst = binary.AppendUvarint(dst, uint64(p.Inside.UID))
		dst = binary.AppendUvarint(dst, uint64(p.Inside.Item))
		dst = binary.AppendUvarint(dst, uint64(p.Inside.Octet))
		dst = binary.AppendUvarint(dst, uint64(p.Inside.Length))
	}
	return dst
}

func (d decoder) progress() Progress {
	p := Progress{Whole: mail.UID(d.U32())}
	if d.Bool() {
		p.Inside = &Place{UID: mail.UID(d.U32()), Item: d.U32(), Octet: int64(d.u63()), Length: int64(d.u63())}
	}
	return p
}
