package deliver

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/mail"
	"github.com/tandemail/tandemail/internal/state"
)

// Version of the wire form.
const version = 1

// Kinds of requests.
const (
	kindDeliver = 1
	kindSettle  = 2
)

// Bounds of what is accepted.
const (
	maxString     = 4 << 10
	maxPrefix     = 64 << 10
	maxRecipients = 1000
	maxRefs       = 1000
)

// errWire: the octets are not of this protocol.
var errWire = errors.New("malformed delivery request")

// Request is a delivery on the wire.
type Request struct {
	Store       cluster.Store
	Epoch       cluster.Epoch // the highest the router has seen
	Transaction mail.TransactionID
	Remote      string // the MTA's address
	QueueID     string // the MTA's name for the message
	Recipients  []state.Recipient
	// Octets are canonical. They alias what was decoded.
	Octets []byte
}

// Status says what became of a request as a whole.
type Status uint8

// Statuses. Of Moved and Busy nothing happened; Unknown may have.
const (
	Done Status = iota
	Moved
	Busy
	Unknown
	Failed
)

// Response answers a request.
type Response struct {
	Status Status
	// Epoch and Master are what the answering slot knows, for the router's table.
	Epoch   cluster.Epoch
	Master  cluster.Machine
	Text    string // of Failed: for the log
	Results []Result
}

// Result is the outcome for one recipient.
type Result struct {
	Number      uint32
	Code        state.Code
	Duplicate   bool
	UIDValidity mail.UIDValidity
	UID         mail.UID
}

// Settle tells a store what became of replies.
type Settle struct {
	Store              cluster.Store
	Confirmed, InDoubt []state.DeliveryRef
}

// writer appends fields; integers are big-endian, strings have a uint16 length.
type writer struct{ b []byte }

func (w *writer) u8(v uint8)      { w.b = append(w.b, v) }
func (w *writer) u16(v int)       { w.b = binary.BigEndian.AppendUint16(w.b, uint16(v)) }
func (w *writer) u32(v uint32)    { w.b = binary.BigEndian.AppendUint32(w.b, v) }
func (w *writer) u64(v uint64)    { w.b = binary.BigEndian.AppendUint64(w.b, v) }
func (w *writer) octets(p []byte) { w.b = append(w.b, p...) }

// text is cut at the bound: what is longer is only shown to people.
func (w *writer) text(s string) {
	s = s[:min(len(s), maxString)]
	w.u16(len(s))
	w.b = append(w.b, s...)
}

// appendHead appends all of r but its octets, which follow as they are.
func (r *Request) appendHead(b []byte) []byte {
	w := writer{b}
	w.u8(version)
	w.u8(kindDeliver)
	w.text(string(r.Store))
	w.u64(uint64(r.Epoch))
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

func (r *Response) append(b []byte) []byte {
	w := writer{b}
	w.u8(version)
	w.u8(uint8(r.Status))
	w.u64(uint64(r.Epoch))
	w.text(string(r.Master))
	w.text(r.Text)
	w.u16(len(r.Results))
	for _, o := range r.Results {
		w.u32(o.Number)
		w.u8(uint8(o.Code))
		if o.Duplicate {
			w.u8(1)
		} else {
			w.u8(0)
		}
		w.u32(uint32(o.UIDValidity))
		w.u32(uint32(o.UID))
	}
	return w.b
}

// reader takes fields off b; after the first that is not there everything is zero.
type reader struct {
	b   []byte
	bad bool
}

func (r *reader) take(n int) []byte {
	if r.bad || n < 0 || n > len(r.b) {
		r.bad = true
		return nil
	}
	p := r.b[:n:n]
	r.b = r.b[n:]
	return p
}

func (r *reader) u8() uint8 {
	if p := r.take(1); p != nil {
		return p[0]
	}
	return 0
}

func (r *reader) u16() int {
	if p := r.take(2); p != nil {
		return int(binary.BigEndian.Uint16(p))
	}
	return 0
}

func (r *reader) u32() uint32 {
	if p := r.take(4); p != nil {
		return binary.BigEndian.Uint32(p)
	}
	return 0
}

func (r *reader) u64() uint64 {
	if p := r.take(8); p != nil {
		return binary.BigEndian.Uint64(p)
	}
	return 0
}

func (r *reader) id() (id [16]byte) {
	copy(id[:], r.take(16))
	return id
}

func (r *reader) text() string {
	n := r.u16()
	if n > maxString {
		r.bad = true
	}
	return string(r.take(n))
}

// count reads a number of items of at least size octets each, at most limit.
func (r *reader) count(limit, size int) int {
	n := r.u16()
	if n > limit || n*size > len(r.b) {
		r.bad = true
		return 0
	}
	return n
}

func (r *reader) recipient() (o state.Recipient) {
	o.Number = r.u32()
	o.Account = r.id()
	o.Mailbox = r.id()
	o.Use = mail.SpecialUse(r.text())
	n := r.u32()
	if n > maxPrefix {
		r.bad = true
		return o
	}
	o.Prefix = r.take(int(n))
	o.Flags = mail.Flags(r.u8())
	for range r.u8() {
		o.Keywords = append(o.Keywords, r.text())
		if r.bad {
			break
		}
	}
	o.InternalDate = mail.Instant(r.u64())
	copy(o.ContentKey[:], r.take(32))
	return o
}

func (r *reader) request() (q Request) {
	q.Store = cluster.Store(r.text())
	q.Epoch = cluster.Epoch(r.u64())
	q.Transaction = r.id()
	q.Remote = r.text()
	q.QueueID = r.text()
	n := r.count(maxRecipients, 64)
	q.Recipients = make([]state.Recipient, 0, n)
	for range n {
		q.Recipients = append(q.Recipients, r.recipient())
	}
	q.Octets = r.b
	if n == 0 {
		r.bad = true
	}
	return q
}

func (r *reader) refs() []state.DeliveryRef {
	n := r.count(maxRefs, 36)
	refs := make([]state.DeliveryRef, 0, n)
	for range n {
		refs = append(refs, state.DeliveryRef{Account: r.id(), Transaction: r.id(), Number: r.u32()})
	}
	return refs
}

func decodeResponse(b []byte) (resp Response, err error) {
	r := reader{b: b}
	v := r.u8()
	resp.Status = Status(r.u8())
	resp.Epoch = cluster.Epoch(r.u64())
	resp.Master = cluster.Machine(r.text())
	resp.Text = r.text()
	n := r.count(maxRecipients, 14)
	for range n {
		resp.Results = append(resp.Results, Result{
			Number: r.u32(), Code: state.Code(r.u8()), Duplicate: r.u8() == 1,
			UIDValidity: mail.UIDValidity(r.u32()), UID: mail.UID(r.u32()),
		})
	}
	if r.bad || v != version || resp.Status > Failed {
		return Response{}, fmt.Errorf("answer of the master: %w", errWire)
	}
	return resp, nil
}
