package deliver

import (
	"math"
	"time"

	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/mail"
	"github.com/tandemail/tandemail/internal/state"
)

// Kinds of requests, the second octet.
const (
	kindDeliver = 1
	kindSettle  = 2
	kindProbe   = 3
)

// Bounds of one request. MaxRecipients and MaxPrefixes are the caller's to keep:
// a transaction with more is sent in parts.
const (
	MaxRecipients = 500
	MaxPrefix     = 16 << 10  // octets of one recipient's prefix
	MaxPrefixes   = 512 << 10 // octets of all prefixes together
	MaxRefs       = 1000      // references in one Settle, both kinds together
)

// Sizes of the smallest items, by which announced numbers are checked.
const (
	recipientSize = 4 + 16 + 16 + 2 + 4 + 1 + 1 + 8 + 32 + 2 + 16 + 16
	refSize       = 16 + 16 + 4
)

// Request is a delivery.
type Request struct {
	Store       cluster.Store
	Epoch       cluster.Epoch // the highest the router has seen; set by Client
	Transaction mail.TransactionID
	Remote      string // the MTA's address
	QueueID     string // the MTA's name for the message
	Recipients  []state.Recipient
	Octets      []byte // canonical; never changed
	// wait is how long the router waits for the answer; 0 is without end.
	wait time.Duration
}

// Settle tells a store what became of replies. Of references it does not know a
// store takes no notice.
type Settle struct {
	Store cluster.Store
	// Confirmed: the MTA has the reply. InDoubt: it may not have it.
	Confirmed, InDoubt []state.DeliveryRef
}

// probe asks whether a large delivery would be taken.
type probe struct {
	store cluster.Store
	epoch cluster.Epoch
}

// appendHead appends all of r but its octets, which follow as they are.
func (r *Request) appendHead(b []byte) []byte {
	w := writer{b}
	w.u8(version)
	w.u8(kindDeliver)
	w.text(string(r.Store))
	w.u64(uint64(r.Epoch))
	w.u32(uint32(min(max(r.wait.Milliseconds(), 0), math.MaxUint32)))
	w.octets(r.Transaction[:])
	w.text(r.Remote)
	w.text(r.QueueID)
	w.u16(len(r.Recipients))
	for i := range r.Recipients {
		w.recipient(&r.Recipients[i])
	}
	return w.b
}

func (w *writer) recipient(r *state.Recipient) {
	w.u32(r.Number)
	w.octets(r.Account[:])
	w.octets(r.Mailbox[:])
	w.text(string(r.Use))
	w.u32(uint32(len(r.Prefix)))
	w.octets(r.Prefix)
	w.u8(uint8(r.Flags))
	w.u8(uint8(min(len(r.Keywords), mail.MaxKeywords)))
	for _, k := range r.Keywords[:min(len(r.Keywords), mail.MaxKeywords)] {
		w.text(k)
	}
	w.u64(uint64(r.InternalDate))
	w.octets(r.ContentKey[:])
	w.text(r.Name)
	w.octets(r.EmailID[:])
	w.octets(r.ThreadID[:])
}

// request reads what follows the kind. Only Octets alias the input: the rest
// goes into an operation, which may outlive it.
func (r *reader) request() (q Request) {
	q.Store = r.store()
	q.Epoch = cluster.Epoch(r.u64())
	q.wait = time.Duration(r.u32()) * time.Millisecond
	q.Transaction = r.id()
	q.Remote = r.text()
	q.QueueID = r.text()
	n := r.count(MaxRecipients, recipientSize)
	q.Recipients = make([]state.Recipient, 0, n)
	for range n {
		q.Recipients = append(q.Recipients, r.recipient())
	}
	q.Octets = r.b
	r.bad = r.bad || n == 0
	return q
}

func (r *reader) recipient() (o state.Recipient) {
	o.Number = r.u32()
	o.Account = r.id()
	o.Mailbox = r.id()
	o.Use = mail.SpecialUse(r.text())
	o.Prefix = r.copied(r.u32(), MaxPrefix)
	o.Flags = mail.Flags(r.u8())
	words := r.u8()
	r.bad = r.bad || words > mail.MaxKeywords
	for i := uint8(0); i < words && !r.bad; i++ {
		o.Keywords = append(o.Keywords, r.text())
	}
	o.InternalDate = mail.Instant(r.u64())
	copy(o.ContentKey[:], r.take(32))
	o.Name = r.text()
	o.EmailID, o.ThreadID = r.id(), r.id()
	return o
}

func (s *Settle) append(b []byte) []byte {
	w := writer{b}
	w.u8(version)
	w.u8(kindSettle)
	w.text(string(s.Store))
	for _, refs := range [][]state.DeliveryRef{s.Confirmed, s.InDoubt} {
		w.u16(len(refs))
		for i := range refs {
			w.octets(refs[i].Account[:])
			w.octets(refs[i].Transaction[:])
			w.u32(refs[i].Number)
		}
	}
	return w.b
}

func (r *reader) settle() (s Settle) {
	s.Store = r.store()
	s.Confirmed = r.refs(MaxRefs)
	s.InDoubt = r.refs(MaxRefs - len(s.Confirmed))
	return s
}

func (r *reader) refs(limit int) []state.DeliveryRef {
	n := r.count(limit, refSize)
	refs := make([]state.DeliveryRef, 0, n)
	for range n {
		refs = append(refs, state.DeliveryRef{Account: r.id(), Transaction: r.id(), Number: r.u32()})
	}
	return refs
}

func (p *probe) append(b []byte) []byte {
	w := writer{b}
	w.u8(version)
	w.u8(kindProbe)
	w.text(string(p.store))
	w.u64(uint64(p.epoch))
	return w.b
}

func (r *reader) probe() (p probe) {
	p.store = r.store()
	p.epoch = cluster.Epoch(r.u64())
	return p
}
