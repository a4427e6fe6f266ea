package session

import (
	"encoding/binary"
	"fmt"

	"github.com/tandemail/tandemail/internal/cluster"
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
		b, octets = appendBool(b, f.Last), f.Octets
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
		b = appendString(b, f.Delta.Append(nil))
		octets = f.Line
	case Failed:
		b = binary.AppendUvarint(nil, f.Command)
		b = binary.AppendUvarint(b, uint64(f.Reason))
		b = binary.AppendUvarint(b, uint64(f.Epoch))
		b = appendString(b, f.Text[:min(len(f.Text), maxName)])
	}
	return f.kind(), b, octets
}

func appendOpen(b []byte, f Open) []byte {
	b = binary.AppendUvarint(b, uint64(f.Version))
	b = append(b, f.Session[:]...)
	b = append(b, byte(f.Protocol))
	b = append(b, f.Account[:]...)
	b = appendString(b, f.User)
	b = appendString(b, f.By)
	b = appendString(b, f.Remote)
	b = binary.AppendUvarint(b, uint64(f.Epoch))
	return appendString(b, f.Token)
}

func appendUnit(b []byte, f Unit) []byte {
	b = binary.AppendUvarint(b, f.Command)
	b = binary.AppendUvarint(b, uint64(f.N))
	b = appendBool(b, f.Last)
	if f.Last {
		b = appendString(b, f.Delta.Append(nil))
	}
	return b
}

// Decode reads a frame. Its octets are those of payload, not copied.
// ErrMalformed.
func Decode(kind Kind, payload []byte) (Frame, error) {
	if len(payload) > MaxFrame {
		return nil, fmt.Errorf("decode frame of %d octets: %w", len(payload), ErrMalformed)
	}
	d := decoder{b: payload}
	f := d.frame(kind)
	if f == nil {
		return nil, fmt.Errorf("decode frame of kind %#x: %w", byte(kind), ErrMalformed)
	}
	if err := d.err(fmt.Sprintf("frame of kind %#x", byte(kind))); err != nil {
		return nil, err
	}
	return f, nil
}

func (d *decoder) frame(kind Kind) Frame {
	switch kind {
	case KindOpen:
		return d.open()
	case KindCommand:
		return Command{Number: d.u64(), Last: d.bool(), Octets: d.rest()}
	case KindEndIdle:
		return EndIdle{d.u64()}
	case KindClose:
		return Close{}
	case KindWatch:
		return Watch{d.u64()}
	case KindOpened:
		return Opened{Version: d.u32(), Epoch: cluster.Epoch(d.u64()), Fork: d.u64()}
	case KindUnit:
		return d.unit()
	case KindStream:
		return Stream{
			Command: d.u64(), UID: mail.UID(d.u32()), Item: d.u32(),
			Offset: int64(d.u63()), Length: int64(d.u63()),
		}
	case KindData:
		return Data{d.rest()}
	case KindDone:
		return Done{Command: d.u64(), Delta: d.delta(), Line: d.rest()}
	case KindFailed:
		return Failed{
			Command: d.u64(), Reason: Reason(d.uint(255)), Epoch: cluster.Epoch(d.u64()), Text: d.string(maxName),
		}
	}
	return nil
}

func (d *decoder) open() Frame {
	return Open{
		Version: d.u32(), Session: d.id(), Protocol: Protocol(d.uint(127)), Account: d.id(),
		User: d.string(maxName), By: d.string(maxName), Remote: d.string(maxName),
		Epoch: cluster.Epoch(d.u64()), Token: d.octets(MaxToken),
	}
}

func (d *decoder) unit() Frame {
	u := Unit{Command: d.u64(), N: d.u32(), Last: d.bool()}
	if u.Last {
		u.Delta = d.delta()
	}
	u.Octets = d.rest()
	return u
}

// delta takes a Delta with its length before it.
func (d *decoder) delta() Delta {
	delta, err := DecodeDelta(d.octets(MaxToken))
	if err != nil {
		d.fail()
	}
	return delta
}
