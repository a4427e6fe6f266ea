package journal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/tandemail/tandemail/internal/cluster"
)

// The mark is a small file that holds an LSN known to be durable, written after
// each sync and itself not synced: after a kill it is exact, after a loss of power
// it is a moment old, it is never too high. It tells a torn tail from a rotten one.
const (
	markName  = "durable"
	markMagic = "TMJM"
	markLen   = 24  // magic, CRC32C of the rest, sequence u64, LSN u64
	markStep  = 512 // two places, each in a sector of its own, written in turn
	markSize  = 2 * markStep
)

// known is what a mark file says.
type known struct {
	lsn   cluster.LSN
	seq   uint64
	found bool
}

type mark struct {
	file vfs.File
	seq  uint64
	lsn  cluster.LSN
}

// readMark returns what the mark file says, 0 if it cannot be made out: it is
// evidence, and its loss loses only that.
func readMark(cfg Config) (k known, err error) {
	f, err := cfg.FS.Open(cfg.FS.PathJoin(cfg.Dir, markName))
	if notExist(err) {
		return k, nil
	}
	if err != nil {
		return k, fmt.Errorf("open durable mark: %w", err)
	}
	b := make([]byte, markSize)
	n, err := f.ReadAt(b, 0)
	if errors.Is(err, io.EOF) {
		err = nil
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return k, fmt.Errorf("read durable mark: %w", err)
	}
	for b = b[:n]; len(b) >= markLen; b = b[min(markStep, len(b)):] {
		le := binary.LittleEndian
		if string(b[:4]) != markMagic || le.Uint32(b[4:]) != crc32.Checksum(b[8:markLen], castagnoli) {
			continue
		}
		if s := le.Uint64(b[8:]); s >= k.seq {
			k.seq, k.lsn = s, cluster.LSN(le.Uint64(b[16:]))
		}
	}
	k.found = true
	return k, nil
}

// openMark opens or creates the mark file and makes k.lsn durable in it. The caller
// syncs the directory.
func openMark(cfg Config, k known) (*mark, error) {
	f, err := cfg.FS.OpenReadWrite(cfg.FS.PathJoin(cfg.Dir, markName), writeCategory)
	if err != nil {
		return nil, fmt.Errorf("open durable mark: %w", err)
	}
	m := &mark{file: f, seq: k.seq}
	// Both places, so that an old and higher one cannot win when the other is lost.
	for range 2 {
		if err == nil {
			err = m.write(k.lsn)
		}
	}
	if err == nil {
		err = cfg.Disk.File(f, markName).Sync()
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("write durable mark: %w", err), f.Close())
	}
	return m, nil
}

// write puts lsn in the older of the two places.
func (m *mark) write(lsn cluster.LSN) error {
	m.seq++
	m.lsn = lsn
	b := make([]byte, markLen)
	copy(b, markMagic)
	le := binary.LittleEndian
	le.PutUint64(b[8:], m.seq)
	le.PutUint64(b[16:], uint64(lsn))
	le.PutUint32(b[4:], crc32.Checksum(b[8:], castagnoli))
	_, err := m.file.WriteAt(b, int64(m.seq%2)*markStep)
	return err
}

func (m *mark) close() error { return m.file.Close() }
