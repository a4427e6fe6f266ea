package session

import (
	"context"
	"fmt"
	"io"
)

// Receiver gives what a master sends to a Sink: it is the other end of
// [FrameSink], so that a front end has one Sink for sessions that run elsewhere
// and for those that run beside it.
type Receiver struct {
	R       FrameReader
	Sink    Sink
	MaxUnit int // octets of one unit, which is held until it is whole; 0: 64 MiB
}

const defaultMaxUnit = 64 << 20

// FailedError is the master's Failed.
type FailedError struct{ Failed }

// Error implements error.
func (e *FailedError) Error() string {
	return fmt.Sprintf("session failed at the master: %s: %s", e.Reason, e.Text)
}

// Run reads, after Opened, until the stream ends. It returns a *[FailedError], an
// error of the stream or of the sink, or ErrMalformed; never nil. Nothing of a unit
// that did not arrive whole reaches the sink.
func (r *Receiver) Run(ctx context.Context) error {
	var held []byte // of the unit that is arriving
	for {
		f, err := Receive(r.R)
		if err != nil {
			return err
		}
		switch f := f.(type) {
		case Unit:
			held, err = r.unit(ctx, f, held)
		case Stream:
			err = r.stream(ctx, f)
		case Done:
			err = r.Sink.Done(ctx, f)
		case Failed:
			err = &FailedError{f}
		default:
			err = fmt.Errorf("frame %T of a master: %w", f, ErrMalformed)
		}
		if err != nil {
			return err
		}
	}
}

// unit adds a part to what is held, and gives the unit away with its last one.
func (r *Receiver) unit(ctx context.Context, u Unit, held []byte) ([]byte, error) {
	limit := r.MaxUnit
	if limit == 0 {
		limit = defaultMaxUnit
	}
	if len(held)+len(u.Octets) > limit {
		return nil, fmt.Errorf("unit of more than %d octets: %w", limit, ErrMalformed)
	}
	if !u.Last {
		return append(held, u.Octets...), nil
	}
	if len(held) > 0 {
		u.Octets = append(held, u.Octets...)
	}
	return nil, r.Sink.Unit(ctx, u)
}

func (r *Receiver) stream(ctx context.Context, s Stream) error {
	data := &dataReader{r: r.R, left: s.Length - s.Offset}
	if err := r.Sink.Stream(ctx, s, data); err != nil {
		return err
	}
	if data.left > 0 || len(data.buf) > 0 {
		return fmt.Errorf("sink left %d octets of a literal of message %d: %w", data.left+int64(len(data.buf)), s.UID, ErrMalformed)
	}
	return nil
}

// dataReader reads a literal from its Data frames.
type dataReader struct {
	r    FrameReader
	left int64 // octets not received
	buf  []byte
}

// Read implements io.Reader.
func (d *dataReader) Read(p []byte) (int, error) {
	if len(d.buf) == 0 {
		if d.left <= 0 {
			return 0, io.EOF
		}
		f, err := Receive(d.r)
		if err != nil {
			return 0, err
		}
		switch f := f.(type) {
		case Data:
			if len(f.Octets) == 0 || int64(len(f.Octets)) > d.left {
				return 0, fmt.Errorf("data of %d octets, %d are due: %w", len(f.Octets), d.left, ErrMalformed)
			}
			d.buf, d.left = f.Octets, d.left-int64(len(f.Octets))
		case Failed:
			return 0, &FailedError{f}
		default:
			return 0, fmt.Errorf("frame %T inside a literal: %w", f, ErrMalformed)
		}
	}
	n := copy(p, d.buf)
	d.buf = d.buf[n:]
	return n, nil
}
