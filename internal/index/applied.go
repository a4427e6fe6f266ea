package index

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"

	"github.com/cockroachdb/pebble/v2"
	"github.com/tandemail/tandemail/internal/cluster"
)

// reserved is the first octet of keys that are the index's own. They sort after
// everything that batches may write.
const reserved = 0xff

// The applied key's value, little-endian: format u8, LSN u64, epoch u64, chain 32
// octets, CRC32C of what precedes it.
const (
	appliedKey    = "\xffapplied"
	appliedFormat = 1
	appliedLen    = 1 + 8 + 8 + 32 + 4
)

func encodeApplied(p cluster.Position) []byte {
	b := make([]byte, 0, appliedLen)
	b = append(b, appliedFormat)
	b = binary.LittleEndian.AppendUint64(b, uint64(p.LSN))
	b = binary.LittleEndian.AppendUint64(b, uint64(p.Epoch))
	b = append(b, p.Chain[:]...)
	return binary.LittleEndian.AppendUint32(b, crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)))
}

func decodeApplied(b []byte) (p cluster.Position, err error) {
	switch {
	case len(b) != appliedLen || binary.LittleEndian.Uint32(b[appliedLen-4:]) != crc32.Checksum(b[:appliedLen-4], crc32.MakeTable(crc32.Castagnoli)):
		return p, fmt.Errorf("applied position: %w", cluster.ErrDamaged)
	case b[0] != appliedFormat:
		return p, fmt.Errorf("applied position, format %d: %w", b[0], cluster.ErrNewer)
	}
	p.LSN = cluster.LSN(binary.LittleEndian.Uint64(b[1:]))
	p.Epoch = cluster.Epoch(binary.LittleEndian.Uint64(b[9:]))
	p.Chain = cluster.Chain(b[17:49])
	return p, nil
}

// readApplied returns the position in r, zero if it was never written.
func readApplied(r pebble.Reader) (cluster.Position, error) {
	b, err := get(r, []byte(appliedKey))
	if err != nil || b == nil {
		return cluster.Position{}, err
	}
	return decodeApplied(b)
}

// seek returns copies of the values of keys, nil where there is none. One key is looked up as such; for more an iterator costs less, which
// finds neighbours from where it is.
func seek(r pebble.Reader, keys [][]byte) ([][]byte, error) {
	list := make([][]byte, len(keys))
	if len(keys) == 1 {
		var err error
		list[0], err = get(r, keys[0])
		return list, err
	}
	it, err := r.NewIter(nil)
	if err != nil {
		return nil, classify(err)
	}
	var a arena
	for i, key := range keys {
		if !it.SeekGE(key) || !bytes.Equal(it.Key(), key) {
			continue // also after an error, which Close gives
		}
		v, err := it.ValueAndErr()
		if err != nil {
			return nil, errors.Join(classify(err), it.Close())
		}
		list[i] = a.copy(v)
	}
	if err := it.Close(); err != nil {
		return nil, classify(err)
	}
	return list, nil
}

// get returns a copy of the value, nil if the key is absent.
func get(r pebble.Reader, key []byte) ([]byte, error) {
	v, closer, err := r.Get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("get from index: %w", classify(err))
	}
	out := make([]byte, len(v))
	copy(out, v)
	return out, closer.Close()
}
