package pack

import (
	"fmt"
	"slices"

	"github.com/klauspost/compress/zstd"
)

const (
	// zipFrom is how large a frame has to be before compressing it is tried.
	zipFrom = 1024
	// zipShare: a compressed frame is kept only if it saves that part of it, so that
	// reading what hardly shrinks costs no decoding.
	zipShare = 8
)

// zip compresses frames, one at a time.
type zip struct{ enc *zstd.Encoder }

func newZip() (*zip, error) {
	// Checksums are the frame's business.
	enc, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(FrameSize),
		zstd.WithEncoderCRC(false), zstd.WithLowerEncoderMem(true))
	if err != nil {
		return nil, fmt.Errorf("prepare zstd: %w", err)
	}
	return &zip{enc}, nil
}

// append appends p to b, compressed if that pays.
func (z *zip) append(b, p []byte) ([]byte, codec) {
	if len(p) >= zipFrom {
		start := len(b)
		b = z.enc.EncodeAll(p, b)
		if len(b)-start <= len(p)-len(p)/zipShare {
			return b, codecZstd
		}
		b = b[:start]
	}
	return append(b, p...), codecPlain
}

// Decoder decompresses frames, for any number of goroutines.
type Decoder struct{ dec *zstd.Decoder }

// NewDecoder returns a Decoder that works on so many frames at once, at least one,
// and takes up to 0.7 MiB for each of them. Further callers wait for the processor,
// which they would have to share anyway.
func NewDecoder(atOnce int) (*Decoder, error) {
	dec, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(max(1, atOnce)), zstd.WithDecoderLowmem(true),
		zstd.WithDecoderMaxMemory(FrameSize), zstd.WithDecoderMaxWindow(FrameSize), zstd.WithDecodeAllCapLimit(true))
	if err != nil {
		return nil, fmt.Errorf("prepare zstd: %w", err)
	}
	return &Decoder{dec}, nil
}

// decode returns the n plain octets of b, in the room of dst if they fit.
func (d *Decoder) decode(b, dst []byte, n int) ([]byte, error) {
	p, err := d.dec.DecodeAll(b, slices.Grow(dst[:0], n)[:0:n])
	if err != nil {
		return nil, fmt.Errorf("decompress: %w", err)
	}
	if len(p) != n {
		return nil, fmt.Errorf("decompress: %d octets, want %d", len(p), n)
	}
	return p, nil
}
