package pack

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"hash/crc32"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/tandemail/tandemail/internal/cluster"
)

// reseal makes checksums right again, of whatever looks like a part of a pack, so
// that the fuzzer gets past them.
func reseal(b []byte) {
	if len(b) >= fileHeaderLen {
		le.PutUint32(b[filCRC:], checksum(b[:fileHeaderLen], filCRC))
	}
	if n := len(b) - footerLen; n >= 0 {
		le.PutUint32(b[n+ftrCRC:], checksum(b[n:], ftrCRC))
		table := le.Uint64(b[n+ftrTable:])
		if table <= uint64(n) && uint64(n)-table >= tableHeadLen {
			le.PutUint32(b[table+tblCRC:], checksum(b[table:n], tblCRC))
		}
	}
	for at := fileHeaderLen; at+headerFixed <= len(b); {
		size, err := headerSize(b[at:])
		if err != nil || at+size > len(b) {
			at++
			continue
		}
		head := b[at : at+size]
		le.PutUint32(head[entCRC:], headerChecksum(head))
		h, err := parseHeader(head)
		at += size
		for n := 0; err == nil && n < h.frames() && at+frameHeaderLen <= len(b); n++ {
			f := b[at:]
			stored := min(int(le.Uint32(f[frmStored:])), len(f)-frameHeaderLen)
			le.PutUint32(f[frmPayload:], crc32.Checksum(f[frameHeaderLen:][:stored], castagnoli))
			le.PutUint32(f[frmCRC:], frameChecksum(f, h.Body, n))
			at += frameHeaderLen + stored
		}
	}
}

// FuzzPack: whatever is in a file, neither the set nor Scan panics or takes much
// memory, and what they call whole has the hash that it says.
func FuzzPack(f *testing.F) {
	for _, messages := range [][]message{small(), small()[1:2], {made(1, 5, prose(1, FrameSize+100))}, {made(1, 1, nil)}} {
		s := specimenOf(f, messages)
		for _, seal := range []bool{false, true} {
			f.Add(s.octets, seal)
			f.Add(s.octets[:len(s.octets)-footerLen], seal)
			f.Add(s.octets[fileHeaderLen:], seal)
		}
	}
	f.Add([]byte(fileMagic), true)
	f.Fuzz(func(t *testing.T, octets []byte, seal bool) {
		octets = bytes.Clone(octets)
		if seal {
			reseal(octets)
		}
		for _, got := range scan(bytes.NewReader(octets), int64(len(octets)), 0) {
			if got.err == nil && (sha256.Sum256(got.octets) != got.SHA256 || int64(len(got.octets)) != got.Length) {
				t.Fatalf("body %d of %d octets is not what it says", got.Entry.Body, got.Length)
			}
		}
		fs := vfs.NewMem()
		if err := errors.Join(fs.MkdirAll("slot", 0o700), fs.MkdirAll(testDir, 0o700), put(fs, fuzzID, octets)); err != nil {
			t.Fatal(err)
		}
		s, err := Open(config(fs))
		if err != nil {
			if !errors.Is(err, cluster.ErrNewer) {
				t.Fatal(err)
			}
			return
		}
		for e, err := range s.Scrub(t.Context(), 0, nil) {
			if err != nil {
				continue
			}
			if _, got, err := read(s, e.Body, e.Location); err != nil || int64(len(got)) != e.Length {
				t.Fatalf("scrub passes body %d at %+v, reading it says: %v", e.Body, e.Location, err)
			}
		}
	})
}

// fuzzID is the pack that specimenOf makes with the random numbers of config.
const fuzzID = 0x1be9bd4f3f78e66a
