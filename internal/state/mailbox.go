package state

import (
	"slices"

	"github.com/tandemail/tandemail/internal/mail"
)

// mailbox is a mailbox's record, rewritten by every change in it; the keyword
// table, which hardly ever changes, is a record of its own.
type mailbox struct {
	hidden   bool         // deleted, kept for the retention time
	hiddenAt mail.Instant // when; 0 if it was under an older release
	hiddenBy mail.ModSeq  // the operation's
	purging  bool         // hidden, and parts of it are gone
	shared   bool         // it has grants
	private  bool         // users other than the owner have seen messages of it

	uidvalidity    mail.UIDValidity
	uidnext        mail.UID
	highest        mail.ModSeq
	modseqFloor    mail.ModSeq // no message counts as changed before it
	tombstoneFloor mail.ModSeq
	messages       uint32
	unseen         uint32
	deleted        uint32
	size           int64
	use            mail.SpecialUse
	name           string
}

const (
	mailboxHidden = 1 << iota
	mailboxPurging
	mailboxShared
	mailboxPrivate
)

// specialUses: a use is stored as its place here. Append only.
var specialUses = []mail.SpecialUse{
	"", mail.UseAll, mail.UseArchive, mail.UseDrafts, mail.UseFlagged, mail.UseJunk, mail.UseSent, mail.UseTrash,
}

func useCode(u mail.SpecialUse) (byte, bool) {
	i := slices.Index(specialUses, u)
	return byte(max(i, 0)), i >= 0
}

func (m *mailbox) encode(w *writer) {
	version, flags := byte(recordVersion), byte(0)
	for _, f := range []struct {
		on      bool
		version byte
		flag    byte
	}{
		{m.hidden, secondVersion, mailboxHidden},
		{m.hidden && m.purging, secondVersion, mailboxPurging},
		{m.shared, thirdVersion, mailboxShared},
		{m.private, thirdVersion, mailboxPrivate},
	} {
		if f.on {
			version, flags = max(version, f.version), flags|f.flag
		}
	}
	w.startAs(version)
	w.octet(flags)
	if m.hidden {
		w.int(int64(m.hiddenAt))
		w.uint(uint64(m.hiddenBy))
	}
	w.uint(uint64(m.uidvalidity))
	w.uint(uint64(m.uidnext))
	w.uint(uint64(m.highest))
	w.uint(uint64(m.modseqFloor))
	w.uint(uint64(m.tombstoneFloor))
	w.uint(uint64(m.messages))
	w.uint(uint64(m.unseen))
	w.uint(uint64(m.deleted))
	w.int(m.size)
	use, _ := useCode(m.use)
	w.octet(use)
	w.string(m.name)
}

func decodeMailbox(b []byte) (m mailbox, err error) {
	var r reader
	version := r.startUpTo(b, thirdVersion)
	flags, known := r.octet(), byte(mailboxHidden|mailboxPurging)
	if version >= thirdVersion {
		known |= mailboxShared | mailboxPrivate
	}
	m.hidden, m.purging = flags&mailboxHidden != 0, flags&mailboxPurging != 0
	m.shared, m.private = flags&mailboxShared != 0, flags&mailboxPrivate != 0
	if m.hidden && version >= secondVersion {
		m.hiddenAt, m.hiddenBy = mail.Instant(r.int()), mail.ModSeq(r.uint())
	}
	m.uidvalidity = mail.UIDValidity(r.uint32())
	m.uidnext = mail.UID(r.uint32())
	m.highest = mail.ModSeq(r.uint())
	m.modseqFloor = mail.ModSeq(r.uint())
	m.tombstoneFloor = mail.ModSeq(r.uint())
	m.messages = r.uint32()
	m.unseen = r.uint32()
	m.deleted = r.uint32()
	m.size = r.int()
	use := int(r.octet())
	if flags&^known != 0 || m.purging && !m.hidden || use >= len(specialUses) {
		r.fail()
		use = 0
	}
	m.use = specialUses[use]
	m.name = r.string()
	return m, r.finish("mailbox")
}

// readMailbox returns a mailbox's record; false when there is none, or it is hidden.
func readMailbox(r Reader, a mail.AccountID, id mail.MailboxID) (m mailbox, ok bool, err error) {
	b, err := r.Get(mailboxKey(nil, a, kindMailbox, id))
	if err != nil || b == nil {
		return m, false, storeErr(err, "read mailbox", id)
	}
	m, err = decodeMailbox(b)
	return m, err == nil && !m.hidden, storeErr(err, "read mailbox", id)
}

func encodeKeywords(w *writer, table []string) {
	w.start()
	w.uint(uint64(len(table)))
	for _, k := range table {
		w.string(k)
	}
}

func decodeKeywords(b []byte) ([]string, error) {
	var r reader
	r.start(b)
	n := r.count(1)
	if n > mail.MaxKeywords {
		r.fail()
		n = 0
	}
	table := make([]string, 0, n)
	for range n {
		table = append(table, r.string())
	}
	return table, r.finish("keyword")
}

// readKeywords returns a mailbox's keyword table, empty when none was ever set.
func readKeywords(r Reader, a mail.AccountID, id mail.MailboxID) ([]string, error) {
	b, err := r.Get(mailboxKey(nil, a, kindKeywords, id))
	if err != nil || b == nil {
		return nil, storeErr(err, "read keywords of", id)
	}
	table, err := decodeKeywords(b)
	return table, storeErr(err, "read keywords of", id)
}
