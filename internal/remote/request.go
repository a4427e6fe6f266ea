package remote

import (
	"github.com/tandemail/tandemail/internal/fields"
	"github.com/tandemail/tandemail/internal/mail"
)

// bodyRef stands for a body that was staged under that id on the same stream.
type bodyRef uint64

// Size implements mail.Body; the receiver puts the body itself in its place.
func (bodyRef) Size() int64 { return 0 }

// Close implements mail.Body.
func (bodyRef) Close() error { return nil }

func appendRequest(b []byte, r mail.Request) []byte {
	b = append(b, r.ID.Session[:]...)
	b = fields.AppendUint(fields.AppendUint(b, r.ID.Number), r.ID.Chunk)
	a := r.Actor
	b = fields.AppendString(fields.AppendString(b, a.User), a.By)
	b = append(b, a.Session[:]...)
	b = fields.AppendString(fields.AppendString(fields.AppendString(b, a.Remote), a.Command), a.QueueID)
	return appendOp(b, r.Op)
}

func (d decoder) request() mail.Request {
	return mail.Request{
		ID: mail.OpID{Session: d.ID(), Number: d.U64(), Chunk: d.U32()},
		Actor: mail.Actor{
			User: d.String(maxFrame), By: d.String(maxFrame), Session: d.ID(),
			Remote: d.String(maxFrame), Command: d.String(maxFrame), QueueID: d.String(maxFrame),
		},
		Op: d.op(),
	}
}

// Octets of the kinds of Op.
const (
	opAppend    = 1
	opStore     = 2
	opCopy      = 3
	opMove      = 4
	opExpunge   = 5
	opCreate    = 6
	opDelete    = 7
	opRename    = 8
	opSubscribe = 9
	opSetQuota  = 10
	opSetACL    = 11
	opMetadata  = 12
	opSetAccess = 13
)

func appendOp(b []byte, op mail.Op) []byte {
	switch op := op.(type) {
	case mail.Append:
		return appendAppend(append(b, opAppend), op)
	case mail.Store:
		b = fields.AppendSet(append(append(b, opStore), op.Mailbox[:]...), op.UIDs)
		b = appendStrings(append(b, byte(op.Mode), byte(op.Flags)), op.Keywords)
		if op.UnchangedSince == nil {
			return fields.AppendBool(b, false)
		}
		return fields.AppendUint(fields.AppendBool(b, true), *op.UnchangedSince)
	case mail.Copy:
		return appendCopy(append(b, opCopy), op.From, op.UIDs, op.To)
	case mail.Move:
		return appendCopy(append(b, opMove), op.From, op.UIDs, op.To)
	case mail.Expunge:
		b = fields.AppendSet(append(append(b, opExpunge), op.Mailbox[:]...), op.UIDs)
		return fields.AppendBool(b, op.Unmarked)
	case mail.Create:
		return fields.AppendString(fields.AppendString(append(b, opCreate), op.Name), op.Use)
	case mail.Delete:
		return fields.AppendString(append(b, opDelete), op.Name)
	case mail.Rename:
		return fields.AppendString(fields.AppendString(append(b, opRename), op.From), op.To)
	case mail.Subscribe:
		return fields.AppendBool(fields.AppendString(append(b, opSubscribe), op.Name), op.On)
	case mail.SetACL:
		b = append(append(append(b, opSetACL), op.Mailbox[:]...), op.User[:]...)
		return fields.AppendUint(append(b, byte(op.Mode)), op.Rights)
	case mail.SetMetadata:
		b = fields.AppendUint(append(append(b, opMetadata), op.Mailbox[:]...), uint32(len(op.Entries)))
		for _, e := range op.Entries {
			b = appendMetadata(b, e)
		}
		return b
	case mail.SetAccess:
		return fields.AppendBool(append(append(b, opSetAccess), op.Mailbox[:]...), op.Drop)
	case mail.SetQuota:
		return fields.AppendInt(fields.AppendInt(append(b, opSetQuota), op.LimitMessages), op.LimitOctets)
	}
	return append(b, 0) // an Op that this release has no octet for: a test keeps there from being one
}

func appendCopy(b []byte, from mail.MailboxID, uids mail.UIDSet, to mail.MailboxID) []byte {
	return append(fields.AppendSet(append(b, from[:]...), uids), to[:]...)
}

func appendAppend(b []byte, op mail.Append) []byte {
	b = fields.AppendUint(append(b, op.Mailbox[:]...), uint32(len(op.Messages)))
	for _, m := range op.Messages {
		ref, _ := m.Body.(bodyRef)
		b = append(fields.AppendUint(b, ref), byte(m.Flags))
		b = fields.AppendInt(appendStrings(b, m.Keywords), m.InternalDate)
		b = append(append(b, m.EmailID[:]...), m.ThreadID[:]...)
		b = fields.AppendString(b, m.UIDL)
	}
	if op.Replaces == nil {
		return fields.AppendBool(b, false)
	}
	b = append(fields.AppendBool(b, true), op.Replaces.Mailbox[:]...)
	return fields.AppendUint(b, op.Replaces.UID)
}

func (d decoder) op() mail.Op {
	switch d.Uint(127) {
	case opAppend:
		return d.append()
	case opStore:
		op := mail.Store{
			Mailbox: d.ID(), UIDs: d.set(), Mode: mail.StoreMode(d.Uint(uint64(mail.RemoveFlags))),
			Flags: d.systemFlags(), Keywords: d.strings(),
		}
		if d.Bool() {
			since := d.modSeq()
			op.UnchangedSince = &since
		}
		return op
	case opCopy:
		return mail.Copy{From: d.ID(), UIDs: d.set(), To: d.ID()}
	case opMove:
		return mail.Move{From: d.ID(), UIDs: d.set(), To: d.ID()}
	case opExpunge:
		return mail.Expunge{Mailbox: d.ID(), UIDs: d.set(), Unmarked: d.Bool()}
	case opCreate:
		return mail.Create{Name: d.String(maxFrame), Use: mail.SpecialUse(d.String(maxFrame))}
	case opDelete:
		return mail.Delete{Name: d.String(maxFrame)}
	case opRename:
		return mail.Rename{From: d.String(maxFrame), To: d.String(maxFrame)}
	case opSubscribe:
		return mail.Subscribe{Name: d.String(maxFrame), On: d.Bool()}
	case opSetACL:
		return mail.SetACL{
			Mailbox: d.ID(), User: d.ID(), Mode: mail.ACLMode(d.Uint(uint64(mail.DeleteGrant))), Rights: d.rights(),
		}
	case opMetadata:
		op := mail.SetMetadata{Mailbox: d.ID()}
		for range d.Count(maxFrame, 2) {
			op.Entries = append(op.Entries, d.metadata())
		}
		return op
	case opSetAccess:
		return mail.SetAccess{Mailbox: d.ID(), Drop: d.Bool()}
	case opSetQuota:
		return mail.SetQuota{LimitMessages: d.Int(), LimitOctets: d.Int()}
	}
	d.Fail()
	return nil
}

func (d decoder) append() mail.Op {
	op := mail.Append{Mailbox: d.ID()}
	for range d.Count(maxBodies, 5+2*16) {
		op.Messages = append(op.Messages, mail.NewMessage{
			Body: bodyRef(d.U64()), Flags: d.systemFlags(), Keywords: d.strings(), InternalDate: mail.Instant(d.Int()),
			EmailID: d.ID(), ThreadID: d.ID(), UIDL: d.String(maxFrame),
		})
	}
	if d.Bool() {
		op.Replaces = &mail.Replaced{Mailbox: d.ID(), UID: d.uid()}
	}
	return op
}

func appendResult(b []byte, r mail.Result) []byte {
	b = append(fields.AppendUint(b, r.ModSeq), r.Mailbox[:]...)
	b = fields.AppendUint(b, r.UIDValidity)
	b = fields.AppendSet(fields.AppendSet(fields.AppendSet(b, r.UIDs), r.Source), r.Modified)
	return fields.AppendBool(b, r.More)
}

func (d decoder) result() mail.Result {
	return mail.Result{
		ModSeq: d.modSeq(), Mailbox: d.ID(), UIDValidity: mail.UIDValidity(d.U32()),
		UIDs: d.set(), Source: d.set(), Modified: d.set(), More: d.Bool(),
	}
}
