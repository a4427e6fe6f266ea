package state

import (
	"slices"

	"github.com/tandemail/tandemail/internal/mail"
)

// A message record is mail.Message without what its key says. The second version, of a
// message with a UIDL, ends with that.

func encodeMessage(w *writer, m *mail.Message) {
	version := byte(recordVersion)
	if m.UIDL != "" {
		version = secondVersion
	}
	w.startAs(version)
	w.int(m.Size)
	w.int(int64(m.InternalDate))
	w.int(int64(m.SaveDate))
	w.raw(m.EmailID[:])
	w.raw(m.ThreadID[:])
	w.uint(uint64(m.Created))
	w.bytes(m.Prefix)
	w.uint(uint64(len(m.Extents)))
	for _, e := range m.Extents {
		w.uint(uint64(e.Body))
		w.uint(uint64(e.Offset))
		w.uint(uint64(e.Length))
	}
	if m.UIDL != "" {
		w.string(m.UIDL)
	}
}

// decodeMessage fills all but Mailbox and UID. Prefix aliases b.
func decodeMessage(b []byte) (m mail.Message, err error) {
	var r reader
	version := r.startUpTo(b, secondVersion)
	m.Size = r.int()
	m.InternalDate = mail.Instant(r.int())
	m.SaveDate = mail.Instant(r.int())
	m.EmailID = r.id()
	m.ThreadID = r.id()
	m.Created = mail.ModSeq(r.uint())
	m.Prefix = r.bytes()
	n := r.count(3)
	if n > 0 {
		m.Extents = make([]mail.Extent, 0, n)
	}
	for range n {
		m.Extents = append(m.Extents, mail.Extent{
			Body: mail.BodyID(r.uint()), Offset: int64(r.uint()), Length: int64(r.uint()),
		})
	}
	if version == secondVersion {
		if m.UIDL = r.string(); m.UIDL == "" {
			r.fail()
		}
	}
	return m, r.finish("message")
}

// ownMessage is decodeMessage sharing nothing with b.
func ownMessage(b []byte, box mail.MailboxID, uid mail.UID) (mail.Message, error) {
	m, err := decodeMessage(b)
	m.Mailbox, m.UID, m.Prefix = box, uid, slices.Clone(m.Prefix)
	return m, err
}
