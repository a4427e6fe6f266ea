package link

import (
	"context"
	"net"
	"runtime"
	"sync"
	"time"
)

// batcher gathers octets and writes them to a connection in as few writes as the
// traffic allows: while one write is under way, what is appended becomes the next.
type batcher struct {
	nc      net.Conn
	limit   int           // octets waiting; more make append wait
	timeout time.Duration // for one write

	mu      sync.Mutex
	waiting []byte
	spare   []byte
	begun   int64 // octets ever handed to the connection
	total   int64 // octets ever appended
	writing bool  // flush runs
	closed  bool
	err     error         // the first write error; final
	room    chan struct{} // closed when waiting has been taken; nil if nobody waits
	idle    chan struct{} // closed when flush ends; nil if nobody waits
}

// buffers are for connections on which something waits: most have nothing to write most
// of the time, and there may be thousands of them.
var buffers = sync.Pool{New: func() any { return new([]byte) }}

const pooledBuffer = 64 << 10 // a larger one is left to the garbage collector

func putBuffer(b []byte) {
	if cap(b) > 0 && cap(b) <= pooledBuffer {
		b = b[:0]
		buffers.Put(&b)
	}
}

// append queues the parts as one run of octets and returns the offset of its
// first octet. It blocks while the queue is full. An error means that nothing of
// it was queued.
func (b *batcher) append(ctx context.Context, parts ...[]byte) (at int64, err error) {
	n := 0
	for _, p := range parts {
		n += len(p)
	}
	for {
		wait, err := b.tryAppend(n, parts, &at)
		if wait == nil || err != nil {
			return at, err
		}
		select {
		case <-wait:
		case <-ctx.Done():
			return 0, context.Cause(ctx)
		}
	}
}

// tryAppend returns a channel to wait on if there is no room. A run larger than
// the limit goes into an empty queue.
func (b *batcher) tryAppend(n int, parts [][]byte, at *int64) (wait <-chan struct{}, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.err != nil:
		return nil, b.err
	case b.closed:
		return nil, net.ErrClosed
	case len(b.waiting) > 0 && len(b.waiting)+n > b.limit:
		if b.room == nil {
			b.room = make(chan struct{})
		}
		return b.room, nil
	}
	if b.waiting == nil {
		b.waiting = *buffers.Get().(*[]byte)
	}
	for _, p := range parts {
		b.waiting = append(b.waiting, p...)
	}
	*at = b.total
	b.total += int64(n)
	if !b.writing {
		b.writing = true
		go b.flush()
	}
	return nil, nil
}

// flush writes until nothing waits.
func (b *batcher) flush() {
	runtime.Gosched() // whoever is ready to append now shares the first write
	for {
		p := b.take()
		if p == nil {
			return
		}
		err := b.nc.SetWriteDeadline(time.Now().Add(b.timeout))
		if err == nil {
			_, err = b.nc.Write(p)
		}
		if err != nil {
			b.fail(err)
		}
		b.giveBack(p)
	}
}

// take returns what waits, nil if flush is to end.
func (b *batcher) take() []byte {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.err != nil || len(b.waiting) == 0 {
		b.writing = false
		if b.err == nil {
			putBuffer(b.waiting)
			putBuffer(b.spare)
			b.waiting, b.spare = nil, nil
		}
		if b.idle != nil {
			close(b.idle)
			b.idle = nil
		}
		return nil
	}
	p := b.waiting
	b.waiting, b.spare = b.spare[:0], nil
	b.begun += int64(len(p))
	b.wakeRoom()
	return p
}

func (b *batcher) giveBack(p []byte) {
	if cap(p) > 2*b.limit {
		return
	}
	b.mu.Lock()
	b.spare = p[:0]
	b.mu.Unlock()
}

func (b *batcher) wakeRoom() {
	if b.room != nil {
		close(b.room)
		b.room = nil
	}
}

// fail makes err final and ends the connection, so that its reader learns of it.
func (b *batcher) fail(err error) {
	b.mu.Lock()
	if b.err == nil {
		b.err = err
	}
	b.waiting = nil
	b.wakeRoom()
	b.mu.Unlock()
	_ = b.nc.Close()
}

// failed returns the error that ended writing, nil while there is none.
func (b *batcher) failed() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.err
}

// handed reports whether any octet from offset at on may have reached the
// connection. It is meaningful once no more is written.
func (b *batcher) handed(at int64) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return at < b.begun
}

// shut refuses further octets, waits until those queued are written, and closes
// the connection. A write under way has its deadline, so it ends.
func (b *batcher) shut() error {
	b.mu.Lock()
	b.closed = true
	b.wakeRoom()
	var idle chan struct{}
	if b.writing {
		if b.idle == nil {
			b.idle = make(chan struct{})
		}
		idle = b.idle
	}
	b.mu.Unlock()
	if idle != nil {
		<-idle
	}
	return b.nc.Close()
}

// batchConn is a net.Conn whose writes are gathered, for a layer above that makes
// many small ones.
type batchConn struct {
	net.Conn
	b *batcher
}

func newBatchConn(nc net.Conn, limit int, timeout time.Duration) *batchConn {
	return &batchConn{Conn: nc, b: &batcher{nc: nc, limit: limit, timeout: timeout}}
}

func (c *batchConn) Write(p []byte) (int, error) {
	if _, err := c.b.append(context.Background(), p); err != nil {
		return 0, err
	}
	return len(p), nil
}

// Close writes what is queued first.
func (c *batchConn) Close() error { return c.b.shut() }

// SetWriteDeadline has no effect: each write has a deadline of its own.
func (c *batchConn) SetWriteDeadline(time.Time) error { return nil }

// SetDeadline sets the deadline for reads.
func (c *batchConn) SetDeadline(t time.Time) error { return c.SetReadDeadline(t) }
