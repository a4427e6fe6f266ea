package session

import (
	"encoding/binary"
	"fmt"

	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/fields"
	"github.com/tandemail/tandemail/internal/mail"
)

// Encode returns a frame's kind and its payload in two parts, to be sent one after
// the other: the head, and the octets that the frame refers to, not copied.
func Encode(f Frame) (kind Kind, head, octets []byte) {
	var b []byte
	switch f := f.(type) {
	case Open:
		b = appendOpen(nil, f)
	case Command:
		b = binary.AppendUvarint(nil, f.Number)
		b, octets = fields.AppendBool(b, f.Last), f.Octets
	case Watch:
		b = binary.AppendUvarint(nil, f.Number)
	case EndIdle:
		b = binary.AppendUvarint(nil, f.Number)
	case Opened:
		b = binary.AppendUvarint(nil, uint64(f.Version))
		b = binary.AppendUvarint(b, uint64(f.Epoch))
		b = binary.AppendUvarint(b, f.Fork)
	case Unit:
		b = appendUnit(nil, f)
		octets = f.Octets
	case Stream:
		b = binary.AppendUvarint(nil, f.Command)
		b = binary.AppendUvarint(b, uint64(f.UID))
		b = binary.AppendUvarint(b, uint64(f.Item))
		b = binary.AppendUvarint(b, uint64(f.Offset))
		b = binary.AppendUvarint(b, uint64(f.Length))
	case Data:
		octets = f.Octets
	case Done:
		b = binary.AppendUvarint(nil, f.Command)
		b = fields.AppendString(b, f.Delta.Append(nil))
		octets = f.Line
	case Failed:
		b = binary.AppendUvarint(nil, f.Command)
		b = binary.AppendUvarint(b, uint64(f.Reason))
		b = binary.AppendUvarint(b, uint64(f.Epoch))
		b = fields.AppendString(b, f.Text[:min(len(f.Text), maxName)])
	}
	return f.kind(), b, octets
}

func appendOpen(b []byte, f Open) []byte {
	b = binary.AppendUvarint(b, uint64(f.Version))
	b = append(b, f.Session[:]...)
	b = append(b, byte(f.Protocol))
	b = append(b, f.Account[:]...)
	b = fields.AppendString(b, f.User)
	b = fields.AppendString(b, f.By)
	b = fields.AppendString(b, f.Remote)
	b = binary.AppendUvarint(b, uint64(f.Epoch))
	return fields.AppendString(b, f.Token)
}

func appendUnit(b []byte, f Unit) []byte {
	b = binary.AppendUvarint(b, f.Command)
	b = binary.AppendUvarint(b, uint64(f.N))
	b = fields.AppendBool(b, f.Last)
	if f.Last {
		b = fields.AppendString(b, f.Delta.Append(nil))
	}
	return b
}

// Decode reads a frame. Its octets are those of payload, not copied.
// ErrMalformed.
func Decode(kind Kind, payload []byte) (Frame, error) {
	if len(payload) > MaxFrame {
		return nil, fmt.Errorf("decode frame of %d octets: %w", len(payload), ErrMalformed)
	}
	d := newDecoder(payload)
	f := d.frame(kind)
	if f == nil {
		return nil, fmt.Errorf("decode frame of kind %#x: %w", byte(kind), ErrMalformed)
	}
	if err := d.End(fmt.Sprintf("frame of kind %#x", byte(kind))); err != nil {
		return nil, err
	}
	return f, nil
}

func (d decoder) frame(kind Kind) Frame {
	switch kind {
	case KindOpen:
		return d.open()
	case KindCommand:
		return Command{Number: d.U64(), Last: d.Bool(), Octets: d.Rest()}
	case KindEndIdle:
		return EndIdle{d.U64()}
	case KindClose:
		return Close{}
	case KindWatch:
		return Watch{d.U64()}
	case KindOpened:
		return Opened{Version: d.U32(), Epoch: cluster.Epoch(d.U64()), Fork: d.U64()}
	case KindUnit:
		return d.unit()
	case KindStream:
		return Stream{
			Command: d.U64(), UID: mail.UID(d.U32()), Item: d.U32(),
			Offset: int64(d.u63()), Length: int64(d.u63()),
		}
	case KindData:
		return Data{d.Rest()}
	case KindDone:
		return Done{Command: d.U64(), Delta: d.delta(), Line: d.Rest()}
	case KindFailed:
		return Failed{
			Command: d.U64(), Reason: Reason(d.Uint(255)), Epoch: cluster.Epoch(d.U64()), Text: d.String(maxName),
		}
	}
	return nil
}

func (d decoder) open() Frame {
	return Open{
		Version: d.U32(), Session: d.ID(), Protocol: Protocol(d.Uint(127)), Account: d.ID(),
		User: d.String(maxName), By: d.String(maxName), Remote: d.String(maxName),
		Epoch: cluster.Epoch(d.U64()), Token: d.Octets(MaxToken),
	}
}

func (d decoder) unit() Frame {
	u := Unit{Command: d.U64(), N: d.U32(), Last: d.Bool()}
	if u.Last {
		u.Delta = d.delta()
	}
	u.Octets = d.Rest()
	return u
}

// delta takes a Delta with its length before it.
func (d decoder) delta() Delta {
	delta, err := DecodeDelta(d.Octets(MaxToken))
	if err != nil {
		d.Fail()
	}
	return delta
}
