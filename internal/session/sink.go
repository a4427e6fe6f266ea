package session

import (
	"context"
	"fmt"
	"io"
)

// Sink takes what a command answers, in order. Its errors mean that the front end
// has gone: the executor stops and returns them.
type Sink interface {
	// Unit takes a whole unit; Last is not looked at. The octets are the sink's
	// until Unit returns.
	Unit(ctx context.Context, u Unit) error
	// Stream takes the octets of a literal from s.Offset to s.Length from r, and
	// all of them. An error of r is returned as it is: the client cannot be told,
	// the session must end.
	Stream(ctx context.Context, s Stream, r io.Reader) error
	// Done ends the command.
	Done(ctx context.Context, d Done) error
}

// FrameWriter sends frames; link.Frames is one. It may block until the peer reads.
type FrameWriter interface {
	Write(ctx context.Context, kind byte, parts ...[]byte) error
}

// FrameReader receives them; link.Frames is one.
type FrameReader interface {
	Read() (kind byte, payload []byte, err error)
}

// unitPart is how many octets of a unit, or of a literal, one frame has.
const unitPart = 256 << 10

// FrameSink is a Sink that sends frames.
type FrameSink struct{ W FrameWriter }

var _ Sink = FrameSink{}

// Unit implements Sink.
func (s FrameSink) Unit(ctx context.Context, u Unit) error {
	octets := u.Octets
	for len(octets) > unitPart {
		part := Unit{Command: u.Command, N: u.N, Octets: octets[:unitPart]}
		if err := s.send(ctx, part); err != nil {
			return err
		}
		octets = octets[unitPart:]
	}
	u.Octets, u.Last = octets, true
	return s.send(ctx, u)
}

// Stream implements Sink.
func (s FrameSink) Stream(ctx context.Context, st Stream, r io.Reader) error {
	if err := s.send(ctx, st); err != nil {
		return err
	}
	left := max(st.Length-st.Offset, 0)
	buf := make([]byte, min(left, unitPart))
	for left > 0 {
		n, err := io.ReadFull(r, buf[:min(left, unitPart)])
		if err != nil {
			return fmt.Errorf("read literal of message %d: %w", st.UID, err)
		}
		if err := s.send(ctx, Data{buf[:n]}); err != nil {
			return err
		}
		left -= int64(n)
	}
	return nil
}

// Done implements Sink.
func (s FrameSink) Done(ctx context.Context, d Done) error { return s.send(ctx, d) }

func (s FrameSink) send(ctx context.Context, f Frame) error { return Send(ctx, s.W, f) }

// Send writes one frame.
func Send(ctx context.Context, w FrameWriter, f Frame) error {
	kind, head, octets := Encode(f)
	if err := w.Write(ctx, byte(kind), head, octets); err != nil {
		return fmt.Errorf("send frame of kind %#x: %w", byte(kind), err)
	}
	return nil
}

// Receive reads one frame. Its octets are valid until the next read, if those of
// r are.
func Receive(r FrameReader) (Frame, error) {
	kind, payload, err := r.Read()
	if err != nil {
		return nil, fmt.Errorf("receive frame: %w", err)
	}
	return Decode(Kind(kind), payload)
}
