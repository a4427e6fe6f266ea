package remote

import (
	"context"
	"errors"
	"fmt"

	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/fields"
	"github.com/tandemail/tandemail/internal/link"
	"github.com/tandemail/tandemail/internal/mail"
)

// errProtocol: the peer sent what the protocol does not have.
var errProtocol = errors.New("account protocol broken")

// kind is a frame's type octet.
type kind byte

// Frames from the caller.
const (
	kindAsk  kind = 0x01
	kindMore kind = 0x02
	kindStop kind = 0x03
	kindData kind = 0x04
)

// Frames from the master.
const (
	kindOpened  kind = 0x11
	kindRefused kind = 0x12
	kindAnswer  kind = 0x13
	kindBatch   kind = 0x14
	kindFailed  kind = 0x15
	kindSignal  kind = 0x16
	kindCredit  kind = 0x17
	kindAlive   kind = 0x18
)

// frame is one of the types of this file, by value.
type frame interface{ kind() kind }

type (
	// ask asks question under an id, which rises and then names what it began.
	ask struct {
		ID       uint64
		Question question
	}
	// more lets the master send N batches more of a sequence.
	more struct {
		ID uint64
		N  uint32
	}
	// stop gives up what an id names.
	stop struct{ ID uint64 }
	// data is octets of the body that is being staged under ID; none: its end.
	data struct {
		ID     uint64
		Octets []byte
	}

	// opened begins the conversation.
	opened struct{ Epoch cluster.Epoch }
	// refused ends it.
	refused struct {
		Code  code
		Epoch cluster.Epoch // the highest known
		Text  string
	}
	// answer is the answer to an ask, in the form of its question.
	answer struct {
		ID     uint64
		Octets []byte
	}
	// batch is items of a sequence.
	batch struct {
		ID     uint64
		Last   bool
		Octets []byte
	}
	// failed is the answer to an ask, or the end of what it began.
	failed struct {
		ID   uint64
		Code code
		Text string
	}
	// signal says "look again" to a watch.
	signal struct{ ID uint64 }
	// credit lets the caller send N pieces more of a body.
	credit struct {
		ID uint64
		N  uint32
	}
	// alive says that the master is there.
	alive struct{}
)

func (ask) kind() kind     { return kindAsk }
func (more) kind() kind    { return kindMore }
func (stop) kind() kind    { return kindStop }
func (data) kind() kind    { return kindData }
func (opened) kind() kind  { return kindOpened }
func (refused) kind() kind { return kindRefused }
func (answer) kind() kind  { return kindAnswer }
func (batch) kind() kind   { return kindBatch }
func (failed) kind() kind  { return kindFailed }
func (signal) kind() kind  { return kindSignal }
func (credit) kind() kind  { return kindCredit }
func (alive) kind() kind   { return kindAlive }

// maxText bounds what is told to people, in octets.
const maxText = 1 << 10

// encode returns a payload in two parts: the head, and the octets that the frame
// refers to, not copied.
func encode(f frame) (head, octets []byte) {
	switch f := f.(type) {
	case ask:
		return appendQuestion(fields.AppendUint(nil, f.ID), f.Question), nil
	case more:
		return fields.AppendUint(fields.AppendUint(nil, f.ID), f.N), nil
	case stop:
		return fields.AppendUint(nil, f.ID), nil
	case data:
		return fields.AppendUint(nil, f.ID), f.Octets
	case opened:
		return fields.AppendUint(nil, f.Epoch), nil
	case refused:
		b := fields.AppendUint(fields.AppendUint(nil, f.Code), f.Epoch)
		return fields.AppendString(b, f.Text[:min(len(f.Text), maxText)]), nil
	case answer:
		return fields.AppendUint(nil, f.ID), f.Octets
	case batch:
		return fields.AppendBool(fields.AppendUint(nil, f.ID), f.Last), f.Octets
	case failed:
		b := fields.AppendUint(fields.AppendUint(nil, f.ID), f.Code)
		return fields.AppendString(b, f.Text[:min(len(f.Text), maxText)]), nil
	case signal:
		return fields.AppendUint(nil, f.ID), nil
	case credit:
		return fields.AppendUint(fields.AppendUint(nil, f.ID), f.N), nil
	}
	return nil, nil // alive
}

// decode reads a frame. Its octets are those of payload, not copied. errProtocol.
func decode(k kind, payload []byte) (frame, error) {
	d := decoder{fields.NewDecoder(payload)}
	f := d.frame(k)
	if f == nil {
		return nil, fmt.Errorf("frame of kind %#x: %w", byte(k), errProtocol)
	}
	if err := d.End(fmt.Sprintf("frame of kind %#x", byte(k))); err != nil {
		return nil, fmt.Errorf("%w: %w", errProtocol, err)
	}
	return f, nil
}

// decoder takes the words of package mail off octets.
type decoder struct{ *fields.Decoder }

func (d decoder) frame(k kind) frame {
	switch k {
	case kindAsk:
		return ask{d.U64(), d.question()}
	case kindMore:
		return more{d.U64(), d.U32()}
	case kindStop:
		return stop{d.U64()}
	case kindData:
		return data{d.U64(), d.Rest()}
	case kindOpened:
		return opened{cluster.Epoch(d.U64())}
	case kindRefused:
		return refused{d.code(), cluster.Epoch(d.U64()), d.String(maxText)}
	case kindAnswer:
		return answer{d.U64(), d.Rest()}
	case kindBatch:
		return batch{d.U64(), d.Bool(), d.Rest()}
	case kindFailed:
		return failed{d.U64(), d.code(), d.String(maxText)}
	case kindSignal:
		return signal{d.U64()}
	case kindCredit:
		return credit{d.U64(), d.U32()}
	case kindAlive:
		return alive{}
	}
	return nil
}

func (d decoder) code() code { return code(d.Uint(1<<16 - 1)) }

// send queues one frame.
func send(ctx context.Context, f *link.Frames, fr frame) error {
	head, octets := encode(fr)
	if len(head)+len(octets) > maxFrame {
		return fmt.Errorf("frame of kind %#x with %d octets: %w", byte(fr.kind()), len(head)+len(octets), mail.ErrLimit)
	}
	return f.Write(ctx, byte(fr.kind()), head, octets)
}

// receive reads one frame, whose octets are good until the next.
func receive(f *link.Frames) (frame, error) {
	k, payload, err := f.Read()
	if err != nil {
		return nil, err
	}
	return decode(kind(k), payload)
}

// hello is the metadata of a stream.
type hello struct {
	Store   cluster.Store
	Account mail.AccountID
	Epoch   cluster.Epoch // the highest seen of the store: a slot behind it refuses
}

func (h hello) append(b []byte) []byte {
	b = fields.AppendUint(b, uint32(Version))
	b = fields.AppendString(b, h.Store)
	b = append(b, h.Account[:]...)
	return fields.AppendUint(b, h.Epoch)
}

// decodeHello reads the metadata of a stream. A later version may have more in it, and
// is not spoken here.
func decodeHello(b []byte) (h hello, err error) {
	d := fields.NewDecoder(b)
	if v := d.U32(); v != Version {
		return h, fmt.Errorf("version %d is not spoken here: %w", v, errProtocol)
	}
	h = hello{cluster.Store(d.String(maxText)), d.ID(), cluster.Epoch(d.U64())}
	if err := d.End("stream's metadata"); err != nil {
		return h, fmt.Errorf("%w: %w", errProtocol, err)
	}
	return h, nil
}
