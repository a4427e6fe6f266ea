package remote

import (
	"bytes"

	"github.com/tandemail/tandemail/internal/fields"
	"github.com/tandemail/tandemail/internal/mail"
)

// What a mailbox's octet of bits says.
const (
	bitSubscribed = 1 << iota
	bitNonExistent
	bitShared
	allBits = 1<<iota - 1
)

func appendAccount(b []byte, a mail.AccountInfo) []byte {
	b = append(b, a.ID[:]...)
	b = fields.AppendUint(fields.AppendUint(b, a.ModSeq), a.Fork)
	b = fields.AppendBool(b, a.Frozen)
	for _, n := range []int64{a.Quota.LimitMessages, a.Quota.LimitOctets, a.Quota.UsedMessages, a.Quota.UsedOctets} {
		b = fields.AppendInt(b, n)
	}
	return b
}

func (d decoder) account() mail.AccountInfo {
	return mail.AccountInfo{
		ID: d.ID(), ModSeq: d.modSeq(), Fork: d.U64(), Frozen: d.Bool(),
		Quota: mail.Quota{LimitMessages: d.Int(), LimitOctets: d.Int(), UsedMessages: d.Int(), UsedOctets: d.Int()},
	}
}

func appendMailbox(b []byte, m mail.MailboxInfo) []byte {
	b = fields.AppendString(append(b, m.ID[:]...), m.Name)
	b = fields.AppendUint(fields.AppendUint(b, m.UIDValidity), m.UIDNext)
	b = fields.AppendUint(fields.AppendUint(b, m.HighestModSeq), m.TombstoneFloor)
	b = fields.AppendUint(fields.AppendUint(fields.AppendUint(b, m.Messages), m.Unseen), m.Deleted)
	b = fields.AppendString(fields.AppendInt(b, m.Size), m.Use)
	b = appendStrings(b, m.Keywords)
	bits := byte(0)
	if m.Subscribed {
		bits |= bitSubscribed
	}
	if m.NonExistent {
		bits |= bitNonExistent
	}
	if m.Shared {
		bits |= bitShared
	}
	return fields.AppendUint(append(b, bits), m.Rights)
}

func (d decoder) mailbox() mail.MailboxInfo {
	m := mail.MailboxInfo{
		ID: d.ID(), Name: d.String(maxFrame), UIDValidity: mail.UIDValidity(d.U32()), UIDNext: d.uid(),
		HighestModSeq: d.modSeq(), TombstoneFloor: d.modSeq(), Messages: d.U32(), Unseen: d.U32(), Deleted: d.U32(),
		Size: d.Int(), Use: mail.SpecialUse(d.String(maxFrame)), Keywords: d.strings(),
	}
	bits := d.Uint(allBits)
	m.Subscribed, m.NonExistent, m.Shared = bits&bitSubscribed != 0, bits&bitNonExistent != 0, bits&bitShared != 0
	m.Rights = d.rights()
	return m
}

func appendGrant(b []byte, g mail.Grant) []byte {
	return fields.AppendUint(append(b, g.User[:]...), g.Rights)
}

func (d decoder) grant() mail.Grant { return mail.Grant{User: d.ID(), Rights: d.rights()} }

func (d decoder) rights() mail.Rights { return mail.Rights(d.Uint(uint64(mail.AllRights))) }

func appendStrings(b []byte, list []string) []byte {
	b = fields.AppendUint(b, uint32(len(list)))
	for _, s := range list {
		b = fields.AppendString(b, s)
	}
	return b
}

func (d decoder) strings() (list []string) {
	for range d.Count(maxFrame, 1) {
		list = append(list, d.String(maxFrame))
	}
	return list
}

// appendMessage leaves the mailbox out: whoever asked named it.
func appendMessage(b []byte, m mail.Message) []byte {
	b = fields.AppendInt(fields.AppendUint(b, m.UID), m.Size)
	b = fields.AppendInt(fields.AppendInt(b, m.InternalDate), m.SaveDate)
	b = append(append(b, m.EmailID[:]...), m.ThreadID[:]...)
	b = fields.AppendString(fields.AppendUint(b, m.Created), m.Prefix)
	b = fields.AppendUint(b, uint32(len(m.Extents)))
	for _, e := range m.Extents {
		b = fields.AppendUint(b, e.Body)
		b = fields.AppendInt(fields.AppendInt(b, e.Offset), e.Length)
	}
	return fields.AppendString(b, m.UIDL)
}

func (d decoder) message(in mail.MailboxID) mail.Message {
	m := mail.Message{
		Mailbox: in, UID: d.uid(), Size: d.Int(), InternalDate: mail.Instant(d.Int()), SaveDate: mail.Instant(d.Int()),
		EmailID: d.ID(), ThreadID: d.ID(), Created: d.modSeq(),
	}
	if p := d.Octets(maxFrame); len(p) > 0 {
		m.Prefix = bytes.Clone(p)
	}
	for range d.Count(maxFrame, 3) {
		m.Extents = append(m.Extents, mail.Extent{Body: mail.BodyID(d.U64()), Offset: d.Int(), Length: d.Int()})
	}
	m.UIDL = d.String(mail.MaxUIDL)
	return m
}

func appendFlags(b []byte, f mail.MessageFlags) []byte {
	b = append(fields.AppendUint(b, f.UID), byte(f.Flags))
	b = appendKeywords(b, f.Keywords)
	return fields.AppendUint(b, f.ModSeq)
}

// appendKeywords: mostly there are none.
func appendKeywords(b []byte, k mail.Keywords) []byte {
	for _, word := range k {
		b = fields.AppendUint(b, word)
	}
	return b
}

func (d decoder) flags() mail.MessageFlags {
	f := mail.MessageFlags{UID: d.uid(), Flags: d.systemFlags()}
	for i := range f.Keywords {
		f.Keywords[i] = d.U64()
	}
	f.ModSeq = d.modSeq()
	return f
}

func (d decoder) systemFlags() mail.Flags { return mail.Flags(d.Uint(uint64(mail.AllFlags))) }

func appendTombstone(b []byte, t mail.Tombstone) []byte {
	return fields.AppendSet(fields.AppendUint(b, t.ModSeq), t.UIDs)
}

func (d decoder) tombstone() mail.Tombstone { return mail.Tombstone{ModSeq: d.modSeq(), UIDs: d.set()} }

func appendEvent(b []byte, e mail.Event) []byte {
	b = append(append(fields.AppendUint(b, e.ModSeq), byte(e.Kind)), e.Mailbox[:]...)
	b = appendStrings(fields.AppendString(fields.AppendString(b, e.Name), e.NewName), e.Entries)
	return fields.AppendUint(b, e.Was)
}

func (d decoder) event() mail.Event {
	return mail.Event{
		ModSeq: d.modSeq(), Kind: mail.EventKind(d.Uint(uint64(mail.RightsChanged))), Mailbox: d.ID(),
		Name: d.String(maxFrame), NewName: d.String(maxFrame), Entries: d.strings(), Was: d.rights(),
	}
}

// appendMetadata tells no value from one that is empty.
func appendMetadata(b []byte, m mail.Metadata) []byte {
	b = fields.AppendBool(fields.AppendString(b, m.Name), m.Value != nil)
	if m.Value == nil {
		return b
	}
	return fields.AppendString(b, m.Value)
}

func (d decoder) metadata() mail.Metadata {
	m := mail.Metadata{Name: d.String(maxFrame)}
	if d.Bool() {
		m.Value = append([]byte{}, d.Octets(maxFrame)...)
	}
	return m
}

func (d decoder) set() mail.UIDSet { return d.Set(maxFrame) }
