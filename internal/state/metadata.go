package state

import (
	"fmt"
	"iter"
	"slices"

	"github.com/tandemail/tandemail/internal/mail"
	"github.com/tandemail/tandemail/internal/state/operation"
)

// Metadata (RFC 5464) is entries of a mailbox or, under the zero id, of the account.
// Those of a hidden mailbox are kept with it and count no more.

func metadataKey(dst key, a mail.AccountID, m mail.MailboxID, name string) key {
	return mailboxKey(dst, a, kindMetadata, m).string(name)
}

// metadataUse is how much metadata there is.
type metadataUse struct {
	entries uint64
	octets  uint64 // of names and values
}

func (u *metadataUse) add(o metadataUse) { u.entries += o.entries; u.octets += o.octets }

func (u *metadataUse) sub(o metadataUse) {
	u.entries -= min(o.entries, u.entries)
	u.octets -= min(o.octets, u.octets)
}

func entryUse(name string, value []byte) metadataUse {
	return metadataUse{1, uint64(len(name) + len(value))}
}

// excess is the refusal of so much, Done if it is within bounds.
func (u metadataUse) excess() Code {
	switch {
	case u.entries > mail.MaxMetadataEntries:
		return Limit
	case u.octets > mail.MaxMetadataOctets:
		return OverQuota
	}
	return Done
}

func encodeMetadata(w *writer, value []byte) {
	w.start()
	w.bytes(value)
}

// decodeMetadata gives the value, not copied and never nil.
func decodeMetadata(b []byte) ([]byte, error) {
	var r reader
	r.start(b)
	v := r.bytes()
	if v == nil {
		v = []byte{}
	}
	return v, r.finish("metadata")
}

func (t *tx) setMetadata(op *operation.SetMetadata) (Code, mail.Result) {
	id, rights, code := t.metadataOwner(op)
	if code != Done {
		return code, mail.Result{}
	}
	use := t.acc.metadata
	var changes []*operation.MetadataEntry
	names := map[string]bool{}
	for _, e := range op.Entries {
		if name, ok := mail.EntryName(e.Name); !ok || name != e.Name || names[name] {
			return BadName, mail.Result{}
		}
		names[e.Name] = true
		switch private := mail.PrivateEntry(e.Name); {
		case private && t.foreign():
			return Cannot, mail.Result{}
		case !private && !rights.Has(mail.MayWrite):
			return NoPerm, mail.Result{}
		case len(e.Value) > mail.MaxMetadataValue:
			return Limit, mail.Result{}
		}
		old := t.metadataAt(id, e.Name)
		if (old == nil) == (e.Value == nil) && slices.Equal(old, e.Value) {
			continue
		}
		changes = append(changes, e)
		if old != nil {
			use.sub(entryUse(e.Name, old))
		}
		if e.Value != nil {
			use.add(entryUse(e.Name, e.Value))
		}
	}
	// What makes it less is let through, however much there is.
	grows := use.entries > t.acc.metadata.entries || use.octets > t.acc.metadata.octets
	if code = use.excess(); len(changes) == 0 || grows && code != Done {
		return code, mail.Result{}
	}
	t.acc.metadata = use
	for _, e := range changes {
		k := metadataKey(t.key, t.id, id, e.Name)
		if e.Value == nil {
			t.delete(k)
			continue
		}
		encodeMetadata(&t.buf, e.Value)
		t.set(k, t.buf)
	}
	t.described = changes
	return Done, mail.Result{ModSeq: t.drawAccount()}
}

// metadataOwner is the mailbox whose entries are to be set, zero for the account, and
// what the user may do there.
func (t *tx) metadataOwner(op *operation.SetMetadata) (id mail.MailboxID, rights mail.Rights, code Code) {
	if len(op.Mailbox) == 0 {
		return id, mail.AllRights, t.own()
	}
	if id = mail.MailboxID(op.Mailbox); id.IsZero() {
		return id, 0, NoMailbox
	}
	b := t.box(id)
	if b == nil {
		return id, 0, NoMailbox
	}
	if rights = t.rights(b); !rights.Annotates() {
		code = t.need(b, mail.AllRights)
	}
	return id, rights, code
}

// metadataAt is the value of an entry, valid until the next read; nil if it is not set.
func (t *tx) metadataAt(id mail.MailboxID, name string) []byte {
	b := t.get(metadataKey(t.key, t.id, id, name))
	if b == nil {
		return nil
	}
	v, err := decodeMetadata(b)
	if err != nil {
		t.fail(storeErr(err, "metadata of", id))
	}
	return v
}

// metadataOf is all entries of a mailbox, and how much they are.
func (t *tx) metadataOf(id mail.MailboxID) (list []mail.Metadata, use metadataUse) {
	from := mailboxKey(nil, t.id, kindMetadata, id)
	t.scan(from, prefixEnd(from), func(k, b []byte) bool {
		v, err := decodeMetadata(b)
		if err != nil {
			t.fail(storeErr(err, "metadata of", id))
			return false
		}
		name := string(k[mailboxPrefix:])
		list = append(list, mail.Metadata{Name: name, Value: slices.Clone(v)})
		use.add(entryUse(name, v))
		return true
	})
	return list, use
}

// copyMetadata gives a new mailbox the entries of another (RFC 5464 4.1).
func (t *tx) copyMetadata(list []mail.Metadata, use metadataUse, to mail.MailboxID) {
	for _, e := range list {
		encodeMetadata(&t.buf, e.Value)
		t.set(metadataKey(t.key, t.id, to, e.Name), t.buf)
	}
	t.acc.metadata.add(use)
	t.dirty = true
}

// Metadata implements mail.View.
func (v *View) Metadata(m mail.MailboxID, prefix string) iter.Seq2[mail.Metadata, error] {
	return func(yield func(mail.Metadata, error) bool) {
		if !m.IsZero() {
			if _, err := v.mailbox(m); err != nil {
				yield(mail.Metadata{}, err)
				return
			}
		} else if v.foreign() {
			return
		}
		from := metadataKey(nil, v.id, m, prefix)
		for k, b := range v.r.Scan(from, prefixEnd(from)) {
			value, err := decodeMetadata(b)
			e := mail.Metadata{Name: string(k[mailboxPrefix:]), Value: slices.Clone(value)}
			if err == nil && v.foreign() && mail.PrivateEntry(e.Name) {
				continue
			}
			if !yield(e, storeErr(err, "metadata of", m)) || err != nil {
				return
			}
		}
		if err := scanErr(v.r); err != nil {
			yield(mail.Metadata{}, err)
		}
	}
}

// metadata counts the entries of an account's mailboxes that are not hidden.
func (a *auditor) metadata(id mail.AccountID, acc account, shown map[mail.MailboxID]mailbox) error {
	var use metadataUse
	from := accountKey(nil, id, kindMetadata)
	for k, b := range a.r.Scan(from, prefixEnd(from)) {
		v, err := decodeMetadata(b)
		if err != nil {
			return storeErr(err, "metadata of", id)
		}
		m := mail.MailboxID(k[accountPrefix:mailboxPrefix])
		if _, there := shown[m]; there || m.IsZero() {
			use.add(entryUse(string(k[mailboxPrefix:]), v))
		}
	}
	if use != acc.metadata {
		a.wrong("account %v: metadata %s by its record, %s by counting", id, acc.metadata, use)
	}
	return scanErr(a.r)
}

func (u metadataUse) String() string {
	return fmt.Sprintf("of %d entries, %d octets", u.entries, u.octets)
}
