// Package compress makes octets fewer for files that stay: zstd frames (RFC 8878)
// of at most [MaxPlain] plain octets each, so that a reader's memory is bounded
// whatever a file claims. It has no format of its own: length, codec and checksum
// are the caller's to keep.
package compress

import (
	"fmt"
	"slices"

	"github.com/klauspost/compress/zstd"
)

// MaxPlain is how many octets are compressed together at most.
const MaxPlain = 256 << 10

const (
	// worthTrying is how many octets compressing is tried with.
	worthTrying = 1024
	// share: the compressed form is kept only if it saves that part, so that reading
	// what hardly shrinks costs no decoding.
	share = 8
)

// Encoder compresses, for one goroutine.
type Encoder struct{ enc *zstd.Encoder }

// NewEncoder returns an Encoder, which holds about a MiB.
func NewEncoder() (*Encoder, error) {
	// Checksums are the caller's business.
	enc, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(MaxPlain),
		zstd.WithEncoderCRC(false), zstd.WithLowerEncoderMem(true))
	if err != nil {
		return nil, fmt.Errorf("prepare zstd: %w", err)
	}
	return &Encoder{enc}, nil
}

// Append appends p, at most MaxPlain octets, to b; compressed if that pays.
func (e *Encoder) Append(b, p []byte) (out []byte, compressed bool) {
	if len(p) >= worthTrying && len(p) <= MaxPlain {
		start := len(b)
		b = e.enc.EncodeAll(p, b)
		if len(b)-start <= len(p)-len(p)/share {
			return b, true
		}
		b = b[:start]
	}
	return append(b, p...), false
}

// Decoder decompresses, for any number of goroutines.
type Decoder struct{ dec *zstd.Decoder }

// NewDecoder returns a Decoder that works on so many frames at once, at least one,
// and takes up to 0.7 MiB for each of them. Further callers wait for the processor,
// which they would have to share anyway.
func NewDecoder(atOnce int) (*Decoder, error) {
	dec, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(max(1, atOnce)), zstd.WithDecoderLowmem(true),
		zstd.WithDecoderMaxMemory(MaxPlain), zstd.WithDecoderMaxWindow(MaxPlain), zstd.WithDecodeAllCapLimit(true))
	if err != nil {
		return nil, fmt.Errorf("prepare zstd: %w", err)
	}
	return &Decoder{dec}, nil
}

// Decode returns the n plain octets of b, in the room of dst if they fit.
func (d *Decoder) Decode(b, dst []byte, n int) ([]byte, error) {
	p, err := d.dec.DecodeAll(b, slices.Grow(dst[:0], n)[:0:n])
	if err != nil {
		return nil, fmt.Errorf("decompress: %w", err)
	}
	if len(p) != n {
		return nil, fmt.Errorf("decompress: %d octets, want %d", len(p), n)
	}
	return p, nil
}
