package remote

import (
	"github.com/tandemail/tandemail/internal/fields"
	"github.com/tandemail/tandemail/internal/mail"
)

// what is a question's octet.
type what byte

// The questions. Those without an answer say so.
const (
	whatView          what = 1
	whatMailboxes     what = 2
	whatSubscriptions what = 3
	whatLookup        what = 4
	whatMailbox       what = 5
	whatFlags         what = 6
	whatMessages      what = 7
	whatMessage       what = 8
	whatExpunged      what = 9
	whatRecent        what = 10
	whatOpen          what = 11
	whatRead          what = 12
	whatStage         what = 13
	whatDo            what = 14
	whatWatch         what = 15
	whatSetRecent     what = 16
	whatDerived       what = 17
	whatSetDerived    what = 18
	whatACL           what = 19
	whatChanged       what = 20
	whatEvents        what = 21
	whatMetadata      what = 22
	whatAccessKey     what = 23
)

// question is one of the types of this file, by value.
type question interface{ what() what }

type (
	// qView asks for a View as a user has it. Answer: AccountInfo.
	qView struct{ As mail.AccountID }
	// qMailboxes and the like ask a View for a sequence, in batches.
	qMailboxes     struct{ View uint64 }
	qSubscriptions struct{ View uint64 }
	qFlags         struct {
		View    uint64
		Mailbox mail.MailboxID
		Lo, Hi  mail.UID
		Since   mail.ModSeq
	}
	qMessages struct {
		View    uint64
		Mailbox mail.MailboxID
		Lo, Hi  mail.UID
	}
	qExpunged struct {
		View    uint64
		Mailbox mail.MailboxID
		Since   mail.ModSeq
	}
	qChanged struct {
		View  uint64
		Since mail.ModSeq
	}
	qEvents struct {
		View  uint64
		Since mail.ModSeq
	}
	qMetadata struct {
		View    uint64
		Mailbox mail.MailboxID
		Prefix  string
	}
	// qACL: Grants.
	qACL struct {
		View    uint64
		Mailbox mail.MailboxID
	}
	// qAccessKey: the key, or nothing.
	qAccessKey struct {
		View    uint64
		Mailbox mail.MailboxID
	}
	// qLookup and qMailbox: MailboxInfo.
	qLookup struct {
		View uint64
		Name string
	}
	qMailbox struct {
		View    uint64
		Mailbox mail.MailboxID
	}
	// qMessage: Message.
	qMessage struct {
		View    uint64
		Mailbox mail.MailboxID
		UID     mail.UID
	}
	// qRecent: UID.
	qRecent struct {
		View    uint64
		Mailbox mail.MailboxID
		User    string
	}
	// qOpen asks for a content. Answer: its size, and its first octets; if these are
	// all, nothing stays open under the id.
	qOpen struct {
		View    uint64
		Message mail.Message
	}
	// qRead: octets of a content.
	qRead struct {
		Content uint64
		Offset  int64
		Length  uint32
	}
	// qStage announces a body of Size octets. It has no answer.
	qStage struct{ Size int64 }
	// qDo: Result. A body in it is the id of a qStage of this stream, which it uses up.
	qDo struct {
		As      mail.AccountID
		Request mail.Request
	}
	// qWatch asks for signals. The answer is empty: from now on they come.
	qWatch struct{ Mailbox mail.MailboxID }
	// qSetRecent has no answer.
	qSetRecent struct {
		Mailbox mail.MailboxID
		User    string
		UpTo    mail.UID
	}
	// qDerived: for each whether it is there, and it.
	qDerived struct {
		Version uint32
		IDs     []mail.EmailID
	}
	// qSetDerived has no answer.
	qSetDerived struct {
		ID      mail.EmailID
		Version uint32
		Data    []byte
	}
)

func (qView) what() what          { return whatView }
func (qMailboxes) what() what     { return whatMailboxes }
func (qSubscriptions) what() what { return whatSubscriptions }
func (qLookup) what() what        { return whatLookup }
func (qMailbox) what() what       { return whatMailbox }
func (qFlags) what() what         { return whatFlags }
func (qMessages) what() what      { return whatMessages }
func (qMessage) what() what       { return whatMessage }
func (qExpunged) what() what      { return whatExpunged }
func (qRecent) what() what        { return whatRecent }
func (qACL) what() what           { return whatACL }
func (qChanged) what() what       { return whatChanged }
func (qEvents) what() what        { return whatEvents }
func (qMetadata) what() what      { return whatMetadata }
func (qAccessKey) what() what     { return whatAccessKey }
func (qOpen) what() what          { return whatOpen }
func (qRead) what() what          { return whatRead }
func (qStage) what() what         { return whatStage }
func (qDo) what() what            { return whatDo }
func (qWatch) what() what         { return whatWatch }
func (qSetRecent) what() what     { return whatSetRecent }
func (qDerived) what() what       { return whatDerived }
func (qSetDerived) what() what    { return whatSetDerived }

// appendQuestion appends a question's octet and its fields, in their order.
func appendQuestion(b []byte, q question) []byte {
	b = append(b, byte(q.what()))
	switch q := q.(type) {
	case qView:
		return append(b, q.As[:]...)
	case qMailboxes:
		return fields.AppendUint(b, q.View)
	case qSubscriptions:
		return fields.AppendUint(b, q.View)
	case qLookup:
		return fields.AppendString(fields.AppendUint(b, q.View), q.Name)
	case qMailbox:
		return appendIn(b, q.View, q.Mailbox)
	case qFlags:
		b = appendRange(appendIn(b, q.View, q.Mailbox), q.Lo, q.Hi)
		return fields.AppendUint(b, q.Since)
	case qMessages:
		return appendRange(appendIn(b, q.View, q.Mailbox), q.Lo, q.Hi)
	case qMessage:
		return fields.AppendUint(appendIn(b, q.View, q.Mailbox), q.UID)
	case qExpunged:
		return fields.AppendUint(appendIn(b, q.View, q.Mailbox), q.Since)
	case qAccessKey:
		return appendIn(b, q.View, q.Mailbox)
	case qACL:
		return appendIn(b, q.View, q.Mailbox)
	case qChanged:
		return fields.AppendUint(fields.AppendUint(b, q.View), q.Since)
	case qEvents:
		return fields.AppendUint(fields.AppendUint(b, q.View), q.Since)
	case qMetadata:
		return fields.AppendString(appendIn(b, q.View, q.Mailbox), q.Prefix)
	case qRecent:
		return fields.AppendString(appendIn(b, q.View, q.Mailbox), q.User)
	case qOpen:
		return appendMessage(appendIn(b, q.View, q.Message.Mailbox), q.Message)
	case qRead:
		b = fields.AppendUint(fields.AppendUint(b, q.Content), uint64(q.Offset))
		return fields.AppendUint(b, q.Length)
	case qStage:
		return fields.AppendUint(b, uint64(q.Size))
	case qDo:
		return appendRequest(append(b, q.As[:]...), q.Request)
	case qWatch:
		return append(b, q.Mailbox[:]...)
	case qSetRecent:
		b = fields.AppendString(append(b, q.Mailbox[:]...), q.User)
		return fields.AppendUint(b, q.UpTo)
	case qDerived:
		b = fields.AppendUint(fields.AppendUint(b, q.Version), uint32(len(q.IDs)))
		for _, id := range q.IDs {
			b = append(b, id[:]...)
		}
		return b
	case qSetDerived:
		b = fields.AppendUint(append(b, q.ID[:]...), q.Version)
		return append(b, q.Data...)
	}
	return b
}

func appendIn(b []byte, view uint64, m mail.MailboxID) []byte {
	return append(fields.AppendUint(b, view), m[:]...)
}

func appendRange(b []byte, lo, hi mail.UID) []byte {
	return fields.AppendUint(fields.AppendUint(b, lo), hi)
}

// question takes one, nil if there is no such question.
func (d decoder) question() question {
	switch what(d.Uint(127)) {
	case whatView:
		return qView{d.ID()}
	case whatMailboxes:
		return qMailboxes{d.U64()}
	case whatSubscriptions:
		return qSubscriptions{d.U64()}
	case whatLookup:
		return qLookup{d.U64(), d.String(maxFrame)}
	case whatMailbox:
		return qMailbox{d.U64(), d.ID()}
	case whatFlags:
		return qFlags{d.U64(), d.ID(), d.uid(), d.uid(), d.modSeq()}
	case whatMessages:
		return qMessages{d.U64(), d.ID(), d.uid(), d.uid()}
	case whatMessage:
		return qMessage{d.U64(), d.ID(), d.uid()}
	case whatExpunged:
		return qExpunged{d.U64(), d.ID(), d.modSeq()}
	case whatRecent:
		return qRecent{d.U64(), d.ID(), d.String(maxFrame)}
	case whatACL:
		return qACL{d.U64(), d.ID()}
	case whatChanged:
		return qChanged{d.U64(), d.modSeq()}
	case whatEvents:
		return qEvents{d.U64(), d.modSeq()}
	case whatMetadata:
		return qMetadata{d.U64(), d.ID(), d.String(maxFrame)}
	case whatAccessKey:
		return qAccessKey{d.U64(), d.ID()}
	case whatOpen:
		q := qOpen{View: d.U64()}
		q.Message = d.message(d.ID())
		return q
	case whatRead:
		return qRead{d.U64(), d.Size(), uint32(d.Uint(rangeOctets))}
	case whatStage:
		return qStage{int64(d.Uint(mail.MaxMessageSize))}
	case whatDo:
		return qDo{d.ID(), d.request()}
	case whatWatch:
		return qWatch{d.ID()}
	case whatSetRecent:
		return qSetRecent{d.ID(), d.String(maxFrame), d.uid()}
	case whatDerived:
		q := qDerived{Version: d.U32()}
		for range d.Count(maxDerivedID, 16) {
			q.IDs = append(q.IDs, d.ID())
		}
		return q
	case whatSetDerived:
		return qSetDerived{d.ID(), d.U32(), d.Rest()}
	}
	d.Fail()
	return nil
}

func (d decoder) uid() mail.UID       { return mail.UID(d.U32()) }
func (d decoder) modSeq() mail.ModSeq { return mail.ModSeq(d.U64()) }
