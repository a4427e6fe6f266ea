package snapshot

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"

	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/compress"
)

// blockSize is how many plain octets are encoded and checked together at most,
// unless a single pair has more.
const blockSize = compress.MaxPlain

// Header of a block, little-endian. The stored octets follow.
const (
	blockMagic = "TMSNBLOK"
	blockHead  = 48

	blkID     = 8  // u64, the file's
	blkNumber = 16 // u64, from 0
	blkCRC    = 24 // u32, over the other octets of this header
	blkSum    = 28 // u32, over the stored octets
	blkCodec  = 32 // u8
	blkZero   = 33 // 3 octets
	blkStored = 36 // u32, octets that follow
	blkPlain  = 40 // u32
	blkPairs  = 44 // u32
)

// The codecs.
const (
	codecPlain = 0
	codecZstd  = 1
)

// maxBlock is the largest that one pair can make a block.
const maxBlock = MaxKey + MaxValue + 2*binary.MaxVarintLen32

// block is the header of one.
type block struct {
	number  uint64
	payload uint32 // checksum of the stored octets
	codec   byte
	stored  int
	plain   int
	pairs   int
}

// put writes the header into the first octets of b.
func (k block) put(b []byte, id uint64) {
	copy(b, blockMagic)
	le.PutUint64(b[blkID:], id)
	le.PutUint64(b[blkNumber:], k.number)
	le.PutUint32(b[blkSum:], k.payload)
	b[blkCodec] = k.codec
	le.PutUint32(b[blkStored:], uint32(k.stored))
	le.PutUint32(b[blkPlain:], uint32(k.plain))
	le.PutUint32(b[blkPairs:], uint32(k.pairs))
	le.PutUint32(b[blkCRC:], checksum(b[:blockHead], blkCRC))
}

// parseBlock verifies the header b of the numbered block of file id.
func parseBlock(b []byte, id, number uint64) (k block, err error) {
	if string(b[:len(blockMagic)]) != blockMagic || le.Uint32(b[blkCRC:]) != checksum(b, blkCRC) {
		return k, errors.New("no block begins here")
	}
	k = block{
		number: le.Uint64(b[blkNumber:]), payload: le.Uint32(b[blkSum:]), codec: b[blkCodec],
		stored: int(le.Uint32(b[blkStored:])), plain: int(le.Uint32(b[blkPlain:])), pairs: int(le.Uint32(b[blkPairs:])),
	}
	switch {
	case le.Uint64(b[blkID:]) != id || k.number != number:
		return k, fmt.Errorf("block %d of another place", k.number)
	case k.codec > codecZstd || b[blkZero]|b[blkZero+1]|b[blkZero+2] != 0:
		return k, fmt.Errorf("codec %d: %w", k.codec, cluster.ErrNewer)
	case k.plain > maxBlock || k.codec == codecZstd && k.plain > blockSize || k.stored > k.plain || k.codec == codecPlain && k.stored != k.plain:
		return k, fmt.Errorf("block of %d octets for %d", k.stored, k.plain)
	}
	return k, nil
}

// decode verifies the stored octets and returns the plain ones: stored itself, or
// decoded into dst's room if that suffices.
func (k block) decode(d *compress.Decoder, stored, dst []byte) ([]byte, error) {
	if crc32.Checksum(stored, castagnoli) != k.payload {
		return nil, errors.New("block checksum mismatch")
	}
	if k.codec == codecPlain {
		return stored, nil
	}
	return d.Decode(stored, dst, k.plain)
}

// Pair is one key with its value.
type Pair struct{ Key, Value []byte }

func (p Pair) size() int {
	return len(p.Key) + len(p.Value) + 2*binary.MaxVarintLen32 // at most
}

func (p Pair) appendTo(b []byte) []byte {
	b = append(binary.AppendUvarint(b, uint64(len(p.Key))), p.Key...)
	return append(binary.AppendUvarint(b, uint64(len(p.Value))), p.Value...)
}

var errPairs = errors.New("pairs do not fit their block")

// nextPair takes the first pair off b. It aliases b.
func nextPair(b []byte) (p Pair, rest []byte, err error) {
	for _, part := range []*[]byte{&p.Key, &p.Value} {
		n, head := binary.Uvarint(b)
		if head <= 0 || n > uint64(len(b)-head) {
			return p, nil, errPairs
		}
		*part, b = b[head:head+int(n):head+int(n)], b[head+int(n):]
	}
	return p, b, nil
}

// errOrder: keys ascend.
var errOrder = errors.New("keys out of order")

func inOrder(last, key []byte, first bool) error {
	if !first && bytes.Compare(last, key) >= 0 {
		return errOrder
	}
	return nil
}
