package message

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"math/bits"
	"sync"
)

// SignatureVersion names the rules of [Sign], which reads text as [Version] has it.
const SignatureVersion = Version<<8 | 0x40

// Signature tells of most texts that they are not in a message, without reading it: which
// sequences of three octets its folded text has, in a table too small to hold all apart.
// None is for a message of which it tells nothing.
type Signature []byte

const (
	// MaxSignature is the most octets of a signature. Larger mail gets one as well, since
	// attachments that are no text do not count: of text it takes some 100 KiB to fill it.
	MaxSignature = 2 << 10
	minSignature = 8
	// signedText is how many octets of text are looked at before it is given up.
	signedText = 1 << 20
	gram       = 3
	tableBits  = 1 << 16
)

// Sign reads all that [Contains] searches, whatever the scope.
func Sign(ctx context.Context, r io.ReaderAt, root *Part) (Signature, error) {
	s := signers.Get().(*signer)
	defer signers.Put(s)
	*s = signer{}
	room := takeRoom()
	defer room.give()
	feed := func(b []byte) bool {
		s.feed(b)
		return s.octets <= signedText && ctx.Err() == nil
	}
	var err error
	root.Walk(func(p *Part) bool {
		if err = headerText(r, p, room, feed); err == nil {
			err = searchText(r, p, room, feed)
		}
		return err == nil && s.octets <= signedText && ctx.Err() == nil
	})
	if err == nil && ctx.Err() != nil {
		err = fmt.Errorf("sign message: %w", ctx.Err())
	}
	if err != nil || s.octets > signedText {
		return nil, err
	}
	return s.signature(), nil
}

// May reports whether a text that has n may have this signature.
func (s Signature) May(n Needle) bool {
	if len(s) < minSignature || len(s)&(len(s)-1) != 0 {
		return true
	}
	mask := uint32(8*len(s) - 1)
	for i := gram; i <= len(n.folded); i++ {
		b := n.folded[i-gram : i]
		h := hashGram(uint32(b[0])|uint32(b[1])<<8|uint32(b[2])<<16) & mask
		if s[h/8]&(1<<(h%8)) == 0 {
			return false
		}
	}
	return true
}

// hashGram spreads a sequence over the 16 bits of a table.
func hashGram(g uint32) uint32 { return g * 0x9e3779b1 >> 16 }

// signer gathers the sequences of a text that comes in pieces.
type signer struct {
	table  [tableBits / 64]uint64
	last   uint32 // the last two octets, where a sequence has them
	octets int64
}

var signers = sync.Pool{New: func() any { return new(signer) }}

func (s *signer) feed(b []byte) {
	last := s.last
	for i, c := range b {
		last |= uint32(c) << 16
		if s.octets+int64(i) >= gram-1 {
			h := hashGram(last)
			s.table[h/64] |= 1 << (h % 64)
		}
		last >>= 8
	}
	s.last = last
	s.octets += int64(len(b))
}

// signature is the table, folded until half of it is in use; nothing if it is too full.
func (s *signer) signature() Signature {
	n := 0
	for _, w := range s.table {
		n += bits.OnesCount64(w)
	}
	size := max(minSignature, 1<<bits.Len(uint(max(n, 1)-1))*2/8) // in octets: two bits for each, or more
	if size > 2*MaxSignature {
		return nil
	}
	words := min(size, MaxSignature) / 8
	out := make([]byte, 8*words)
	for i, w := range s.table {
		at := out[8*(i%words):]
		binary.LittleEndian.PutUint64(at, binary.LittleEndian.Uint64(at)|w)
	}
	return out
}
