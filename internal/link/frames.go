package link

import (
	"bufio"
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"time"
)

// ErrProtocol: the peer sent what the protocol does not allow. The connection it
// came on is of no more use.
var ErrProtocol = errors.New("protocol error")

// FramesConfig bounds a stream of frames. The zero value is useful. Both ends of
// a service use the same MaxFrame.
type FramesConfig struct {
	MaxFrame     int           // octets of payload; 4 MiB
	WriteQueue   int           // octets waiting to be written; 1 MiB. Up to four times that is kept as memory
	ReadBuffer   int           // octets; 64 KiB. Less for services with many idle streams
	WriteTimeout time.Duration // for one write of the queue; 30 seconds
}

const (
	frameHeader = 5        // length, type
	firstBuffer = 64 << 10 // of a frame larger than the read buffer
	keptBuffer  = 1 << 20  // a larger frame's buffer is not kept
)

func (c FramesConfig) withDefaults() FramesConfig {
	c.MaxFrame = cmp.Or(c.MaxFrame, 4<<20)
	c.WriteQueue = cmp.Or(c.WriteQueue, 1<<20)
	c.ReadBuffer = cmp.Or(c.ReadBuffer, 64<<10)
	c.WriteTimeout = cmp.Or(c.WriteTimeout, 30*time.Second)
	return c
}

// Frames sends and receives frames on a stream, which it owns: a length, a type
// of the service's choosing, a payload. Any goroutine may write; one reads.
type Frames struct {
	cfg FramesConfig
	nc  net.Conn
	out batcher
	in  *bufio.Reader
	big []byte // payload of a frame larger than in's buffer
	use int    // octets of in that the last frame occupies
}

// NewFrames takes over nc.
func NewFrames(nc net.Conn, cfg FramesConfig) *Frames {
	cfg = cfg.withDefaults()
	return &Frames{
		cfg: cfg, nc: nc,
		out: batcher{nc: nc, limit: cfg.WriteQueue, timeout: cfg.WriteTimeout},
		in:  bufio.NewReaderSize(nc, cfg.ReadBuffer),
	}
}

// Write queues a frame whose payload is the parts in order; they are copied. It
// blocks while the queue is full. An error means that nothing was queued; nil does
// not mean that the peer got it.
func (f *Frames) Write(ctx context.Context, kind byte, parts ...[]byte) error {
	_, err := f.write(ctx, kind, parts...)
	return err
}

func (f *Frames) write(ctx context.Context, kind byte, parts ...[]byte) (at int64, err error) {
	n := 0
	for _, p := range parts {
		n += len(p)
	}
	if n > f.cfg.MaxFrame {
		return 0, fmt.Errorf("write frame of %d octets: limit is %d", n, f.cfg.MaxFrame)
	}
	var h [frameHeader]byte
	putFrameHeader(&h, kind, n)
	all := make([][]byte, 0, 8)
	all = append(append(all, h[:]), parts...)
	return f.out.append(ctx, all...)
}

func putFrameHeader(h *[frameHeader]byte, kind byte, payload int) {
	binary.BigEndian.PutUint32(h[:4], uint32(payload)+1)
	h[4] = kind
}

// Read returns the next frame. The payload is valid until the next Read. io.EOF
// means that the peer closed between two frames.
func (f *Frames) Read() (kind byte, payload []byte, err error) {
	if _, err := f.in.Discard(f.use); err != nil {
		return 0, nil, err
	}
	f.use = 0
	h, err := f.in.Peek(frameHeader)
	if err != nil {
		if len(h) > 0 && errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return 0, nil, err
	}
	n := int64(binary.BigEndian.Uint32(h)) - 1
	kind = h[4]
	if n < 0 || n > int64(f.cfg.MaxFrame) {
		return 0, nil, fmt.Errorf("read frame of %d octets, limit is %d: %w", n, f.cfg.MaxFrame, ErrProtocol)
	}
	payload, err = f.payload(int(n))
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return kind, payload, err
}

func (f *Frames) payload(n int) ([]byte, error) {
	if frameHeader+n <= f.in.Size() {
		b, err := f.in.Peek(frameHeader + n)
		if err != nil {
			return nil, err
		}
		f.use = frameHeader + n
		return b[frameHeader:], nil
	}
	if _, err := f.in.Discard(frameHeader); err != nil {
		return nil, err
	}
	if cap(f.big) > keptBuffer {
		f.big = nil
	}
	return f.bigPayload(n)
}

// bigPayload lets memory grow with what has come, not with what was announced.
func (f *Frames) bigPayload(n int) ([]byte, error) {
	b := f.big[:0]
	for len(b) < n {
		step := min(n, max(2*len(b), firstBuffer))
		if cap(b) < step {
			b = append(make([]byte, 0, step), b...)
		}
		got := len(b)
		b = b[:min(cap(b), n)]
		if _, err := io.ReadFull(f.in, b[got:]); err != nil {
			return nil, err
		}
	}
	f.big = b
	return b, nil
}

// SetReadDeadline bounds the next Reads.
func (f *Frames) SetReadDeadline(t time.Time) error { return f.nc.SetReadDeadline(t) }

// Close writes what is queued and closes the stream. Any goroutine may call it.
func (f *Frames) Close() error { return f.out.shut() }

// Abort closes the stream without writing what is queued.
func (f *Frames) Abort() { f.out.fail(net.ErrClosed) }
