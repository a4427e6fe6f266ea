package pack

import (
	"bytes"
	"cmp"
	"fmt"

	"github.com/tandemail/tandemail/internal/mail"
)

// Entry describes a stored body: what a pack says of it, apart from the octets.
type Entry struct {
	Body   mail.BodyID
	Length int64 // plain octets
	SHA256 [32]byte
	// Owners are the messages that had an extent over the body when it was written.
	// A pack is grouped by the first one's account. None: whose it is was not known.
	Owners []Owner
	// Omitted is how many more there were than fit in MaxHeader.
	Omitted int
}

// Owner is one message as it was when the body was written. It serves salvage
// alone: afterwards a message is moved and flagged, and the pack does not change.
type Owner struct {
	Account      mail.AccountID
	Address      string
	Mailbox      mail.MailboxID
	Name         string // of the mailbox
	UID          mail.UID
	InternalDate mail.Instant
	Flags        mail.Flags
	Keywords     []string // at most mail.MaxKeywords
	Prefix       []byte   // header lines of this recipient, before the body
}

// Account is whose group e is in.
func (e *Entry) Account() mail.AccountID {
	if len(e.Owners) == 0 {
		return mail.AccountID{}
	}
	return e.Owners[0].Account
}

// Compare orders entries as they stand in a pack: by account, then by body.
func (e *Entry) Compare(o *Entry) int {
	return compare(e.Account(), e.Body, o.Account(), o.Body)
}

func compare(a mail.AccountID, x mail.BodyID, b mail.AccountID, y mail.BodyID) int {
	return cmp.Or(bytes.Compare(a[:], b[:]), cmp.Compare(x, y))
}

func (e *Entry) check() error {
	switch {
	case e.Body == 0:
		return fmt.Errorf("body 0 cannot be stored")
	case e.Length < 0 || e.Length > MaxLength:
		return fmt.Errorf("body %d of %d octets: %w", e.Body, e.Length, ErrTooLarge)
	case e.Omitted < 0:
		return fmt.Errorf("body %d: %d owners omitted", e.Body, e.Omitted)
	}
	for i := range e.Owners {
		if n := len(e.Owners[i].Keywords); n > mail.MaxKeywords {
			return fmt.Errorf("body %d: owner with %d keywords: %w", e.Body, n, ErrTooLarge)
		}
	}
	if len(e.Owners) > 0 && headerFixed+e.Owners[0].size() > MaxHeader {
		return fmt.Errorf("body %d: owner of %d octets: %w", e.Body, e.Owners[0].size(), ErrTooLarge)
	}
	return nil
}

// ownerFixed: account and mailbox id, UID, date, flags, number of keywords.
const ownerFixed = 16 + 16 + 4 + 8 + 1 + 1

// size is how many octets appendTo appends.
func (o *Owner) size() int {
	n := ownerFixed + 4 + len(o.Address) + 4 + len(o.Name) + 4 + len(o.Prefix)
	for _, k := range o.Keywords {
		n += 4 + len(k)
	}
	return n
}

func (o *Owner) appendTo(b []byte) []byte {
	b = append(b, o.Account[:]...)
	b = append(b, o.Mailbox[:]...)
	b = le.AppendUint32(b, uint32(o.UID))
	b = le.AppendUint64(b, uint64(o.InternalDate))
	b = append(b, byte(o.Flags), byte(len(o.Keywords)))
	b = appendString(b, o.Address)
	b = appendString(b, o.Name)
	b = appendString(b, string(o.Prefix))
	for _, k := range o.Keywords {
		b = appendString(b, k)
	}
	return b
}

func appendString(b []byte, s string) []byte {
	return append(le.AppendUint32(b, uint32(len(s))), s...)
}

// parseOwner returns the owner at the beginning of b and what follows it; false if
// b is not one.
func parseOwner(b []byte) (o Owner, rest []byte, ok bool) {
	if len(b) < ownerFixed {
		return o, nil, false
	}
	o.Account = mail.AccountID(b[:16])
	o.Mailbox = mail.MailboxID(b[16:32])
	o.UID = mail.UID(le.Uint32(b[32:]))
	o.InternalDate = mail.Instant(le.Uint64(b[36:]))
	o.Flags = mail.Flags(b[44])
	keywords := int(b[45])
	b, ok = b[ownerFixed:], true
	next := func() []byte {
		if len(b) < 4 || uint64(le.Uint32(b)) > uint64(len(b)-4) {
			b, ok = nil, false
			return nil
		}
		n := int(le.Uint32(b))
		s := b[4 : 4+n]
		b = b[4+n:]
		return s
	}
	o.Address, o.Name = string(next()), string(next())
	if p := next(); len(p) > 0 {
		o.Prefix = bytes.Clone(p)
	}
	for range keywords {
		o.Keywords = append(o.Keywords, string(next()))
		if !ok {
			break
		}
	}
	return o, b, ok
}
