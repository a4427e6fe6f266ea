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
	// unzipAtOnce bounds the memory of a set's decoder: further callers wait for the
	// processor, which they would have to share anyway.
	unzipAtOnce = 2
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

// unzip decompresses frames, for any number of goroutines.
type unzip struct{ dec *zstd.Decoder }

func newUnzip() (*unzip, error) {
	dec, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(unzipAtOnce), zstd.WithDecoderLowmem(true),
		zstd.WithDecoderMaxMemory(FrameSize), zstd.WithDecoderMaxWindow(FrameSize), zstd.WithDecodeAllCapLimit(true))
	if err != nil {
		return nil, fmt.Errorf("prepare zstd: %w", err)
	}
	return &unzip{dec}, nil
}

// decode returns the n plain octets of b, in the room of dst if they fit.
func (z *unzip) decode(b, dst []byte, n int) ([]byte, error) {
	p, err := z.dec.DecodeAll(b, slices.Grow(dst[:0], n)[:0:n])
	if err != nil {
		return nil, fmt.Errorf("decompress: %w", err)
	}
	if len(p) != n {
		return nil, fmt.Errorf("decompress: %d octets, want %d", len(p), n)
	}
	return p, nil
}
