package slot

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"sync"
	"time"

	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/journal"
	"github.com/tandemail/tandemail/internal/replica"
)

// session is one connection: a reader, and a writer that sends protocol frames
// in order and, when a stream runs, the journal's batches as far as there is room.
type session struct {
	*sessions
	id     replica.Session
	peer   cluster.SlotID
	conn   net.Conn
	cancel context.CancelCauseFunc
	wake   chan struct{} // buffer of one: the writer has something to look at
	out    *bufio.Writer
	frame  []byte // scratch of the writer

	mu     sync.Mutex
	queue  []replica.Frame
	cursor *replica.Cursor // nil: no stream
}

const (
	readBuffer     = 256 << 10
	writeBuffer    = 64 << 10
	maxQueuedFrame = 1024 // protocol frames; beyond it the peer does not read
)

// A peer that is silent for so long is gone: whoever has nothing to say says so in
// between. The same bound holds for a peer that does not read.
const (
	silence   = 6 * time.Second
	keepAlive = 2 * time.Second
)

// signOfLife is an acknowledgement of no stream: it means nothing to the protocol
// and is not shown to it.
var signOfLife = replica.Ack{}

func newSession(s *sessions, peer cluster.SlotID, conn net.Conn, cancel context.CancelCauseFunc) *session {
	se := &session{sessions: s, peer: peer, conn: conn, cancel: cancel, wake: make(chan struct{}, 1)}
	se.out = bufio.NewWriterSize(deadlined{conn}, writeBuffer)
	return se
}

// deadlined gives every read and write a deadline of its own.
type deadlined struct{ conn net.Conn }

func (d deadlined) Read(p []byte) (int, error) {
	if err := d.conn.SetReadDeadline(time.Now().Add(silence)); err != nil {
		return 0, err
	}
	return d.conn.Read(p)
}

func (d deadlined) Write(p []byte) (int, error) {
	if err := d.conn.SetWriteDeadline(time.Now().Add(silence)); err != nil {
		return 0, err
	}
	return d.conn.Write(p)
}

// closedError is why a session ended that the protocol closed.
type closedError string

func (e closedError) Error() string { return "session closed: " + string(e) }

func (se *session) poke() {
	select {
	case se.wake <- struct{}{}:
	default:
	}
}

func (se *session) send(f replica.Frame) {
	se.mu.Lock()
	full := len(se.queue) >= maxQueuedFrame
	if !full {
		se.queue = append(se.queue, f)
	}
	se.mu.Unlock()
	if full {
		se.cancel(errors.New("peer does not read"))
		return
	}
	se.poke()
}

func (se *session) close(reason string) { se.cancel(closedError(reason)) }

func (se *session) startStream(e replica.StartStream) {
	se.mu.Lock()
	se.cursor = replica.NewCursor(e)
	se.mu.Unlock()
	se.poke()
}

func (se *session) acked(lsn cluster.LSN) {
	se.mu.Lock()
	if se.cursor != nil {
		se.cursor.Acked(lsn)
	}
	se.mu.Unlock()
	se.poke()
}

func (se *session) stopStream() {
	se.mu.Lock()
	se.cursor = nil
	se.mu.Unlock()
}

// needs is the position of the next batch to send, the highest there is if none.
func (se *session) needs() cluster.LSN {
	se.mu.Lock()
	defer se.mu.Unlock()
	if se.cursor == nil {
		return math.MaxUint64
	}
	return se.cursor.Next
}

// read hands every frame to the loop until the connection ends. However it ends,
// that is a fault: slots have nothing to say goodbye for, and TLS does not tell a
// peer that closed from a network that did.
func (se *session) read(ctx context.Context) error {
	in := bufio.NewReaderSize(deadlined{se.conn}, readBuffer)
	for ctx.Err() == nil {
		f, err := readFrame(in)
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			return fmt.Errorf("read frame: %w", err)
		}
		if f != replica.Frame(signOfLife) {
			se.post(replica.FrameIn{Session: se.id, Frame: f})
		}
	}
	return ctx.Err()
}

// readFrame reads one frame into memory of its own: the journal keeps a batch's octets.
func readFrame(in *bufio.Reader) (replica.Frame, error) {
	head, err := in.Peek(4)
	if err != nil {
		return nil, err
	}
	n, err := replica.FrameSize(head)
	if err != nil {
		return nil, err
	}
	b := make([]byte, n)
	if _, err := io.ReadFull(in, b); err != nil {
		return nil, err
	}
	return replica.DecodeFrame(b)
}

// write sends what is queued, then as much of the stream as there is room for,
// and flushes before it waits.
func (se *session) write(ctx context.Context) error {
	idle := time.NewTicker(keepAlive)
	defer idle.Stop()
	for {
		changed, err := se.writeSome()
		if err != nil {
			return err
		}
		if err := se.out.Flush(); err != nil {
			return fmt.Errorf("send frames: %w", err)
		}
		select {
		case <-se.wake:
		case <-changed:
		case <-idle.C:
			se.send(signOfLife)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// writeSome sends all there is; the channel tells when the journal has more. It
// is nil while the stream waits for room, or there is none.
func (se *session) writeSome() (<-chan struct{}, error) {
	for {
		if err := se.writeQueued(); err != nil {
			return nil, err
		}
		se.mu.Lock()
		cur := se.cursor
		idle := len(se.queue) == 0 && (cur == nil || !cur.Room())
		var next cluster.LSN
		if cur != nil {
			next = cur.Next
		}
		se.mu.Unlock()
		if idle {
			return nil, nil
		}
		if cur == nil {
			continue
		}
		b, changed, err := se.batch(next)
		if err != nil || changed != nil {
			return changed, err
		}
		if err := se.writeBatch(cur, b); err != nil {
			return nil, err
		}
	}
}

// batch returns the batch at lsn, or a channel that tells when it may be there.
func (se *session) batch(lsn cluster.LSN) (journal.Batch, <-chan struct{}, error) {
	b, ok, old, changed := se.recent.from(lsn)
	switch {
	case ok:
		return b, nil, nil
	case !old || lsn >= se.journal.End().LSN:
		return b, changed, nil
	}
	b, err := firstBatch(se.journal, lsn)
	if err != nil {
		return b, nil, fmt.Errorf("read journal for replica at %d: %w", lsn, err)
	}
	return b, nil, nil
}

func (se *session) writeQueued() error {
	se.mu.Lock()
	frames := se.queue
	se.queue = nil
	se.mu.Unlock()
	for _, f := range frames {
		if err := se.writeFrame(f); err != nil {
			return err
		}
	}
	return nil
}

func (se *session) writeFrame(f replica.Frame) error {
	b, err := replica.AppendFrame(se.frame[:0], f)
	if err != nil {
		return err
	}
	se.frame = b
	if cap(se.frame) > journal.MaxBatch/4 {
		se.frame = nil
	}
	if _, err := se.out.Write(b); err != nil {
		return fmt.Errorf("send frame: %w", err)
	}
	return nil
}

// writeBatch sends b unless the stream was replaced meanwhile.
func (se *session) writeBatch(cur *replica.Cursor, b journal.Batch) error {
	se.mu.Lock()
	current := se.cursor == cur
	if current {
		cur.Sent(b.End)
	}
	se.mu.Unlock()
	if !current {
		return nil
	}
	return se.writeFrame(replica.Batch{
		Stream: cur.Stream, Epoch: cur.Epoch, Base: b.Base, End: b.End,
		Commit: cluster.LSN(se.commit.Load()), Raw: b.Raw,
	})
}

// firstBatch reads the batch at lsn back from the journal.
func firstBatch(j *journal.Journal, lsn cluster.LSN) (journal.Batch, error) {
	for b, err := range j.Batches(lsn, 1) {
		return b, err
	}
	return journal.Batch{}, journal.ErrBeyond
}
