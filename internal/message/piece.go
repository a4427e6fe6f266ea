package message

import (
	"encoding/binary"
	"fmt"
)

// Piece names a part of the encoding of [Derived] that can be decoded by itself.
type Piece uint8

// The pieces, in their order.
const (
	EnvelopePiece  Piece = iota // DecodeEnvelope
	FieldsPiece                 // DecodeKept
	StructurePiece              // DecodeSent, DecodeStructure

	Pieces // how many there are
)

// Cut gives a piece of what [Derived.Append] wrote, in the same memory; nil of fields that
// were not kept. Errors are those of [Decode].
func Cut(b []byte, want Piece) ([]byte, error) {
	p, err := pieces(b)
	if err != nil {
		return nil, err
	}
	return p[want], nil
}

// pieces cuts an encoding.
func pieces(b []byte) (p [Pieces][]byte, err error) {
	v, n := binary.Uvarint(b)
	if n > 0 && v != Version {
		return p, fmt.Errorf("decode derived data of version %d, not %d: %w", v, Version, ErrVersion)
	}
	whole := n > 0
	rest := b[max(n, 0):]
	cut := func(less uint64) []byte {
		v, n := binary.Uvarint(rest)
		if n <= 0 || v > less+uint64(len(rest)-n) {
			whole = false
			return nil
		}
		rest = rest[n:]
		if v < less {
			return nil
		}
		n = int(v - less)
		piece := rest[:n:n]
		rest = rest[n:]
		return piece
	}
	p[EnvelopePiece] = cut(0)
	p[FieldsPiece] = cut(1)
	p[StructurePiece] = rest
	if !whole {
		return p, fmt.Errorf("decode derived data of %d octets: %w", len(b), errDerived)
	}
	return p, nil
}

// DecodeEnvelope reads an envelope's piece.
func DecodeEnvelope(b []byte) (*Envelope, error) {
	e := new(Envelope)
	c := decoder{s: string(b)}
	c.envelope(e)
	if c.bad || c.s != "" {
		return nil, fmt.Errorf("decode envelope of %d octets: %w", len(b), errDerived)
	}
	return e, nil
}

// DecodeKept reads the piece of the kept fields.
func DecodeKept(b []byte) (Kept, error) { return Kept{Header(b), b != nil}, nil }

// DecodeSent reads from a structure's piece when the message was sent.
func DecodeSent(b []byte) (Date, error) {
	c := decoder{s: string(b[:min(len(b), 3*binary.MaxVarintLen64)])}
	d := c.date()
	if c.bad {
		return d, fmt.Errorf("decode date of %d octets: %w", len(b), errDerived)
	}
	return d, nil
}

// DecodeStructure reads the root part from a structure's piece.
func DecodeStructure(b []byte) (*Part, error) {
	root := new(Part)
	c := decoder{s: string(b)}
	c.date()
	c.part(root, 0, 0)
	if c.bad || c.s != "" {
		return nil, fmt.Errorf("decode structure of %d octets: %w", len(b), errDerived)
	}
	return root, nil
}
