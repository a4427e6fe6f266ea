package seed

import (
	"bufio"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"net"
	"slices"
	"time"

	"github.com/tandemail/tandemail/internal/cluster"
)

// Frames on the wire:
//
//	length  uint32  octets after this field
//	version uint8   Version
//	kind    uint8
//	payload
//	crc     uint32  CRC-32C of version, kind and payload
//
// Integers are big-endian.
const (
	lengthSize = 4
	overhead   = lengthSize + 1 + 1 + 4
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// appendFrame appends a frame to b.
func appendFrame(b []byte, k Kind, payload []byte) ([]byte, error) {
	if overhead+len(payload) > MaxFrame {
		return b, fmt.Errorf("frame of %d octets: %w", len(payload), ErrFrame)
	}
	at := len(b)
	b = binary.BigEndian.AppendUint32(b, uint32(overhead-lengthSize+len(payload)))
	b = append(b, Version, byte(k))
	b = append(b, payload...)
	return binary.BigEndian.AppendUint32(b, crc32.Checksum(b[at+lengthSize:], castagnoli)), nil
}

// Conn is one conversation. It gives every read and write a deadline of its own.
type Conn struct {
	nc net.Conn
	in *bufio.Reader
	b  []byte // of the frame read last

	turn chan struct{} // full while somebody writes: Alive has a goroutine of its own
	out  []byte        // who has the turn
}

// NewConn takes over nc, which Close closes.
func NewConn(nc net.Conn) *Conn {
	return &Conn{nc: nc, in: bufio.NewReaderSize(nc, 64<<10), turn: make(chan struct{}, 1)}
}

// Close ends the conversation; whoever reads or writes gets an error.
func (c *Conn) Close() error { return c.nc.Close() }

// Octets sends a frame of octets.
func (c *Conn) Octets(k Kind, payload []byte) error {
	c.turn <- struct{}{}
	defer func() { <-c.turn }()
	b, err := appendFrame(c.out[:0], k, payload)
	if err != nil {
		return err
	}
	if c.out = b; cap(b) > 2*DataSize {
		c.out = nil
	}
	if err := c.nc.SetWriteDeadline(time.Now().Add(Silence)); err != nil {
		return fmt.Errorf("send frame: %w", err)
	}
	if _, err := c.nc.Write(b); err != nil {
		return fmt.Errorf("send frame: %w", err)
	}
	return nil
}

// Send sends a frame whose payload is a document.
func (c *Conn) Send(k Kind, doc any) error {
	b, err := json.Marshal(doc)
	if err != nil {
		return fmt.Errorf("encode frame: %w", err)
	}
	return c.Octets(k, b)
}

// Alive tells the peer now and then that this end is there, until stop is called.
func (c *Conn) Alive(ctx context.Context) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(AliveEvery)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				if c.Octets(KindAlive, nil) != nil {
					return // whoever uses the connection finds out
				}
			case <-ctx.Done():
				return
			}
		}
	}()
	return func() {
		cancel()
		<-done
	}
}

// Next returns the next frame that means something; the payload is good until the next
// call. A Sorry is an error.
func (c *Conn) Next() (Kind, []byte, error) {
	for {
		k, payload, err := c.read()
		switch {
		case err != nil:
			return 0, nil, fmt.Errorf("read frame: %w", err)
		case k == KindSorry:
			var s Sorry
			if err := json.Unmarshal(payload, &s); err != nil {
				return 0, nil, fmt.Errorf("%w: %w", ErrFrame, err)
			}
			return 0, nil, fmt.Errorf("the source gives up: %s", s.Reason)
		case k != KindAlive:
			return k, payload, nil
		}
	}
}

func (c *Conn) read() (Kind, []byte, error) {
	if err := c.nc.SetReadDeadline(time.Now().Add(Silence)); err != nil {
		return 0, nil, err
	}
	head, err := c.in.Peek(lengthSize)
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF // whoever ends the conversation says so
	}
	if err != nil {
		return 0, nil, err
	}
	n := int(binary.BigEndian.Uint32(head))
	if n < overhead-lengthSize || n > MaxFrame-lengthSize {
		return 0, nil, fmt.Errorf("frame of %d octets: %w", n, ErrFrame)
	}
	if _, err := c.in.Discard(lengthSize); err != nil {
		return 0, nil, err
	}
	if cap(c.b) > 2*DataSize && n <= DataSize {
		c.b = nil // a large frame's memory is not kept
	}
	c.b = slices.Grow(c.b[:0], n)[:n]
	if _, err := io.ReadFull(c.in, c.b); err != nil {
		return 0, nil, err
	}
	return parse(c.b)
}

// parse takes a frame apart whose length was taken off.
func parse(b []byte) (Kind, []byte, error) {
	body := b[:len(b)-4]
	switch {
	case crc32.Checksum(body, castagnoli) != binary.BigEndian.Uint32(b[len(body):]):
		return 0, nil, fmt.Errorf("frame checksum: %w", ErrFrame)
	case body[0] != Version:
		return 0, nil, fmt.Errorf("frame version %d: %w", body[0], cluster.ErrNewer)
	}
	return Kind(body[1]), body[2:], nil
}

// Expect reads a frame of that kind into doc.
func (c *Conn) Expect(k Kind, doc any) error {
	got, payload, err := c.Next()
	if err != nil {
		return err
	}
	if got != k {
		return fmt.Errorf("frame of kind %d, not %d: %w", got, k, ErrFrame)
	}
	return Decode(payload, doc)
}

// Decode reads the document in a payload. Fields that it does not know are of a newer
// release and say nothing that matters here.
func Decode(payload []byte, doc any) error {
	if err := json.Unmarshal(payload, doc); err != nil {
		return fmt.Errorf("%w: %w", ErrFrame, err)
	}
	return nil
}
