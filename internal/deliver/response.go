package deliver

import (
	"fmt"

	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/mail"
	"github.com/tandemail/tandemail/internal/state"
)

// Status says what became of a request as a whole.
type Status uint8

// Statuses. Of Moved, Busy and Full nothing happened; of Unknown and Failed
// something may have.
const (
	Done    Status = iota
	Moved          // another slot is the master
	Busy           // the master takes nothing now, and may soon
	Unknown        // ask again, under the same transaction
	Failed         // asking again is no use; Text says why
	Full           // the master's disk has no space
	lastStatus
)

// Response answers a request.
type Response struct {
	Status Status
	// Epoch and Master are what the answering slot knows, for the router's table.
	Epoch   cluster.Epoch
	Master  cluster.Machine
	Text    string   // of Failed: for the log
	Results []Result // of Done: one a recipient, in the request's order
}

// Result is the outcome for one recipient.
type Result struct {
	Number uint32
	Code   state.Code
	// Duplicate: nothing was stored, since a message stored earlier, of which the
	// MTA may not have seen the reply, was this one.
	Duplicate   bool
	UIDValidity mail.UIDValidity
	UID         mail.UID
}

// lastCode is the highest code that a result may have; a test keeps it so.
const lastCode = state.NoPerm

const resultSize = 4 + 1 + 1 + 4 + 4

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
		w.bool(o.Duplicate)
		w.u32(uint32(o.UIDValidity))
		w.u32(uint32(o.UID))
	}
	return w.b
}

func decodeResponse(b []byte) (resp Response, err error) {
	r := reader{b: b}
	v := r.u8()
	resp.Status = Status(r.u8())
	resp.Epoch = cluster.Epoch(r.u64())
	resp.Master = cluster.Machine(r.text())
	resp.Text = r.text()
	n := r.count(MaxRecipients, resultSize)
	if n > 0 {
		resp.Results = make([]Result, 0, n)
	}
	for range n {
		resp.Results = append(resp.Results, r.result())
	}
	if !r.end() || v != version || resp.Status >= lastStatus {
		return Response{}, fmt.Errorf("answer of %d octets: %w", len(b), errWire)
	}
	return resp, nil
}

func (r *reader) result() (o Result) {
	o.Number = r.u32()
	o.Code = state.Code(r.u8())
	o.Duplicate = r.bool()
	o.UIDValidity = mail.UIDValidity(r.u32())
	o.UID = mail.UID(r.u32())
	r.bad = r.bad || o.Code > lastCode
	return o
}

// answers reports what is wrong with resp as the answer to q.
func (r *Response) answers(q *Request) error {
	if len(r.Results) != len(q.Recipients) {
		return fmt.Errorf("answer for %d of %d recipients: %w", len(r.Results), len(q.Recipients), errWire)
	}
	for i := range q.Recipients {
		if r.Results[i].Number != q.Recipients[i].Number {
			return fmt.Errorf("answer for recipient %d in place of %d: %w", r.Results[i].Number, q.Recipients[i].Number, errWire)
		}
	}
	return nil
}

var statusNames = [lastStatus]string{"done", "moved", "busy", "unknown", "failed", "full"}

// String is the status in one word.
func (s Status) String() string {
	if s < lastStatus {
		return statusNames[s]
	}
	return fmt.Sprintf("status %d", uint8(s))
}

// nothing reports whether s says that nothing has happened.
func (s Status) nothing() bool { return s == Moved || s == Busy || s == Full }
