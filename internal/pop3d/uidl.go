package pop3d

import (
	"bytes"
	"strconv"
)

// appendUIDL appends a message's unique-id (RFC 1939 7): that of the server which it was
// imported from, if it is its own.
//
// Else it is UIDVALIDITY and UID. A UID never names another message of the mailbox, and a
// mailbox made anew has another UIDVALIDITY: both together are an id for ever, at every master.
func (d *maildrop) appendUIDL(dst []byte, e entry) []byte {
	if e.uidl != "" {
		return append(dst, e.uidl...)
	}
	dst = strconv.AppendUint(dst, uint64(d.validity), 10)
	return strconv.AppendUint(append(dst, '.'), uint64(e.uid), 10)
}

// settleUIDLs takes imported ids away that another message has too: of several, the first
// one keeps it, since the others came later, as copies mostly. Nor may one look like an id that
// this server makes.
func (d *maildrop) settleUIDLs() {
	ours := append(strconv.AppendUint(nil, uint64(d.validity), 10), '.')
	var taken map[string]bool
	for i := range d.messages {
		e := &d.messages[i]
		switch {
		case e.uidl == "":
		case taken[e.uidl], bytes.HasPrefix([]byte(e.uidl), ours):
			e.uidl = ""
		default:
			if taken == nil {
				taken = map[string]bool{}
			}
			taken[e.uidl] = true
		}
	}
}
