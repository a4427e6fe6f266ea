package state

import (
	"encoding/binary"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"golang.org/x/text/unicode/norm"

	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/mail"
	"github.com/tandemail/tandemail/internal/state/operation"
)

// Builder makes operations of requests. What decides identity is drawn or
// computed here, once, and is a field of the operation. Safe for concurrent use
// if Rand and Level are.
type Builder struct {
	Rand  io.Reader
	Now   func() time.Time
	Level func() cluster.Level // the cluster's
	// RecordSize is how many octets of the journal a record with such a payload
	// takes, so that an operation can say how far before it its bodies are.
	RecordSize func(payload int) int
}

// Proposal is an operation ready for the journal: its records are Chunks, in
// order, and directly after them, in the same batch, Encoded.
type Proposal struct {
	Op      *operation.Operation
	Encoded []byte
	Chunks  [][]byte // alias the staged messages, which stay open until it is journalled
}

// Propose makes an operation of a client's request. Bodies that [Ahead] lists
// have been placed. The error is a word of package mail for what no state could
// allow: nothing is to be stored.
func (b *Builder) Propose(account mail.AccountID, req mail.Request) (*Proposal, error) {
	return b.ProposeAs(account, mail.AccountID{}, req)
}

// ProposeAs is Propose for a user who need not be the account's owner (mail.Account.As).
func (b *Builder) ProposeAs(account, user mail.AccountID, req mail.Request) (*Proposal, error) {
	op := b.operation(req.Actor)
	op.Account = account[:]
	if !user.IsZero() && user != account {
		op.User = user[:]
	}
	op.Id = commandID(req.ID)
	p := &proposing{Builder: b, op: op}
	if err := p.kind(req.Op); err != nil {
		return nil, err
	}
	return p.finish()
}

// commandID is nil for none: the operation is not to be remembered.
func commandID(id mail.OpID) *operation.CommandID {
	if id == (mail.OpID{}) {
		return nil
	}
	return &operation.CommandID{Session: id.Session[:], Number: id.Number, Chunk: id.Chunk}
}

func (b *Builder) operation(a mail.Actor) *operation.Operation {
	op := &operation.Operation{Level: uint32(b.Level()), Time: int64(mail.InstantOf(b.Now()))}
	if a != (mail.Actor{}) {
		op.Actor = &operation.Actor{
			User: text(a.User), By: text(a.By), Remote: text(a.Remote), Command: text(a.Command), QueueId: text(a.QueueID),
		}
		if a.Session != (mail.SessionID{}) {
			op.Actor.Session = a.Session[:]
		}
	}
	return op
}

// text keeps odd octets of an actor from spoiling the operation.
func text(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }

// proposing is one operation being built.
type proposing struct {
	*Builder
	op     *operation.Operation
	inline []*Staged // bodies to be brought along, each once
	bodies []*operation.Body
	err    error // of Rand
}

func (p *proposing) kind(op mail.Op) error {
	switch op := op.(type) {
	case mail.Append:
		return p.append(op)
	case mail.Store:
		return p.store(op)
	case mail.Copy:
		p.op.Kind = &operation.Operation_Copy{Copy: copyOf(op.From, op.UIDs, op.To)}
	case mail.Move:
		p.op.Kind = &operation.Operation_Move{Move: copyOf(op.From, op.UIDs, op.To)}
	case mail.Expunge:
		p.op.Kind = &operation.Operation_Expunge{Expunge: &operation.Expunge{Mailbox: op.Mailbox[:], Uids: protoUIDs(op.UIDs), Unmarked: op.Unmarked}}
	case mail.Create:
		p.op.Kind = &operation.Operation_Create{Create: &operation.Create{Id: p.draw(), Name: op.Name, Use: string(op.Use)}}
		if _, ok := useCode(op.Use); !ok {
			return mail.ErrCannot
		}
		return checkName(op.Name)
	case mail.Delete:
		p.op.Kind = &operation.Operation_Delete{Delete: &operation.Delete{Name: op.Name}}
		return checkOldName(op.Name)
	case mail.Rename:
		p.op.Kind = &operation.Operation_Rename{Rename: &operation.Rename{From: op.From, To: op.To, Id: p.draw()}}
		if err := checkOldName(op.From); err != nil {
			return err
		}
		return checkName(op.To)
	case mail.Subscribe:
		p.op.Kind = &operation.Operation_Subscribe{Subscribe: &operation.Subscribe{Name: op.Name, On: op.On}}
		return checkName(op.Name)
	case mail.SetACL:
		acl := &operation.SetACL{Mailbox: op.Mailbox[:], Rights: uint32(op.Rights), Mode: uint32(op.Mode)}
		if !op.User.IsZero() {
			acl.User = op.User[:]
		}
		p.op.Kind = &operation.Operation_SetAcl{SetAcl: acl}
	case mail.SetMetadata:
		return p.setMetadata(op)
	case mail.SetAccess:
		return p.setAccess(op)
	case mail.SetQuota:
		p.op.Kind = &operation.Operation_SetQuota{SetQuota: &operation.SetQuota{LimitMessages: op.LimitMessages, LimitOctets: op.LimitOctets}}
	default:
		return fmt.Errorf("propose %T: %w", op, cluster.ErrNewer)
	}
	return nil
}

func (p *proposing) append(op mail.Append) error {
	if n := len(op.Messages); n == 0 || n > operation.MaxMessages {
		return mail.ErrLimit
	}
	out := &operation.Append{Mailbox: op.Mailbox[:], Messages: make([]*operation.NewMessage, 0, len(op.Messages))}
	p.op.Kind = &operation.Operation_Append{Append: out}
	if r := op.Replaces; r != nil {
		out.ReplacedIn, out.Replaced = r.Mailbox[:], uint32(r.UID)
	}
	for _, m := range op.Messages {
		st, err := staged(m.Body)
		if err != nil {
			return err
		}
		if st.size > mail.MaxMessageSize {
			return mail.ErrLimit
		}
		if err := checkKeywords(m.Keywords); err != nil {
			return err
		}
		if m.UIDL != "" && !mail.ValidUIDL(m.UIDL) {
			return mail.ErrCannot
		}
		out.Messages = append(out.Messages, &operation.NewMessage{
			Body:         p.body(st),
			Flags:        uint32(m.Flags),
			Keywords:     m.Keywords,
			InternalDate: p.dateOr(m.InternalDate),
			EmailId:      p.emailID(m.EmailID),
			ThreadId:     p.drawUnless(m.ThreadID),
			References:   st.references(),
			Uidl:         m.UIDL,
		})
	}
	return nil
}

func (p *proposing) store(op mail.Store) error {
	out := &operation.Store{
		Mailbox: op.Mailbox[:], Uids: protoUIDs(op.UIDs), Mode: uint32(op.Mode),
		Flags: uint32(op.Flags), Keywords: op.Keywords,
	}
	if op.UnchangedSince != nil {
		since := uint64(*op.UnchangedSince)
		out.UnchangedSince = &since
	}
	p.op.Kind = &operation.Operation_Store{Store: out}
	return checkKeywords(op.Keywords)
}

func (p *proposing) setMetadata(op mail.SetMetadata) error {
	out := new(operation.SetMetadata)
	if !op.Mailbox.IsZero() {
		out.Mailbox = op.Mailbox[:]
	}
	p.op.Kind = &operation.Operation_SetMetadata{SetMetadata: out}
	if n := len(op.Entries); n == 0 || n > mail.MaxMetadataChanges {
		return mail.ErrLimit
	}
	for _, e := range op.Entries {
		name, ok := mail.EntryName(e.Name)
		switch {
		case !ok:
			return mail.ErrBadName
		case len(e.Value) > mail.MaxMetadataValue:
			return mail.ErrTooLarge
		}
		out.Entries = append(out.Entries, &operation.MetadataEntry{Name: name, Value: e.Value})
	}
	return nil
}

func (p *proposing) setAccess(op mail.SetAccess) error {
	out := new(operation.SetAccess)
	if !op.Mailbox.IsZero() {
		out.Mailbox = op.Mailbox[:]
	}
	if !op.Drop {
		out.Key = append(p.draw(), p.draw()...)
	}
	p.op.Kind = &operation.Operation_SetAccess{SetAccess: out}
	if op.Mailbox.IsZero() && !op.Drop {
		return mail.ErrNoMailbox
	}
	return nil
}

// dateOr is i, or the operation's time for none.
func (p *proposing) dateOr(i mail.Instant) int64 {
	if i == 0 {
		return p.op.Time
	}
	return int64(i)
}

// draw gives 16 random octets.
func (p *proposing) draw() []byte {
	id := make([]byte, 16)
	if _, err := io.ReadFull(p.Rand, id); err != nil && p.err == nil {
		p.err = fmt.Errorf("draw an id: %w", err)
	}
	return id
}

// drawUnless gives the id that there is, or draws one.
func (p *proposing) drawUnless(id [16]byte) []byte {
	if id == [16]byte{} {
		return p.draw()
	}
	return id[:]
}

// emailID gives the id that there is, or draws one for a new content. It begins with the
// time in milliseconds, in 48 bits, so that what is derived of messages that came after one another
// stands together.
func (p *proposing) emailID(id mail.EmailID) []byte {
	if id != (mail.EmailID{}) {
		return id[:]
	}
	drawn := p.draw()
	var at [8]byte
	binary.BigEndian.PutUint64(at[:], uint64(mail.Instant(p.op.Time).Time().UnixMilli()))
	copy(drawn, at[2:])
	return drawn
}

// body refers to a staged message: to where it is, or to the chunk that is to
// come before the operation. How far before, finish knows.
func (p *proposing) body(st *Staged) *operation.Body {
	for i, known := range p.inline {
		if known == st {
			return p.bodies[i]
		}
	}
	b := &operation.Body{Size: st.size, Sha256: st.sum[:]}
	for _, c := range st.placed {
		b.Chunks = append(b.Chunks, &operation.Chunk{Lsn: uint64(c.LSN), Length: c.Length})
	}
	if len(st.placed) == 0 {
		p.inline = append(p.inline, st)
		p.bodies = append(p.bodies, b)
	}
	return b
}

// finish lays the chunks out before the operation and encodes it.
func (p *proposing) finish() (*Proposal, error) {
	out := &Proposal{Op: p.op}
	if p.err != nil {
		return nil, p.err
	}
	total := int64(0)
	for i, st := range p.inline {
		if total += st.size; total > MaxInline {
			return nil, fmt.Errorf("propose %d octets of bodies with the operation: at most %d", total, MaxInline)
		}
		for chunk, err := range st.Chunks() {
			if err != nil {
				return nil, err
			}
			p.bodies[i].Chunks = append(p.bodies[i].Chunks, &operation.Chunk{Length: uint32(len(chunk))})
			out.Chunks = append(out.Chunks, chunk)
		}
	}
	back := uint64(0)
	for i := len(p.bodies) - 1; i >= 0; i-- {
		chunks := p.bodies[i].Chunks
		for j := len(chunks) - 1; j >= 0; j-- {
			back += uint64(p.RecordSize(int(chunks[j].Length)))
			chunks[j].Back = back
		}
	}
	var err error
	out.Encoded, err = operation.Encode(p.op)
	return out, err
}

func staged(b mail.Body) (*Staged, error) {
	st, ok := b.(*Staged)
	if !ok {
		return nil, fmt.Errorf("propose a body of type %T: it was not staged here", b)
	}
	return st, nil
}

func copyOf(from mail.MailboxID, uids mail.UIDSet, to mail.MailboxID) *operation.Copy {
	return &operation.Copy{From: from[:], Uids: protoUIDs(uids), To: to[:]}
}

func protoUIDs(s mail.UIDSet) *operation.UIDSet {
	out := &operation.UIDSet{Bounds: make([]uint32, 0, 2*len(s))}
	for _, r := range s {
		out.Bounds = append(out.Bounds, uint32(r.Lo), uint32(r.Hi))
	}
	return out
}

// checkKeywords refuses what no keyword table takes.
func checkKeywords(words []string) error {
	if len(words) > mail.MaxKeywords || slices.ContainsFunc(words, func(w string) bool { return !validKeyword(w) }) {
		return mail.ErrLimit
	}
	return nil
}

// checkName refuses a name that may not be made. NFC is asked for here, once,
// because what is NFC grows with Unicode (RFC 5198).
func checkName(name string) error {
	if !validName(canonicalName(name)) || !norm.NFC.IsNormalString(name) {
		return mail.ErrBadName
	}
	return nil
}

// checkOldName refuses names that no mailbox can have.
func checkOldName(name string) error {
	if !validName(canonicalName(name)) {
		return mail.ErrNoMailbox
	}
	return nil
}
