package lmtpd

import (
	"bytes"
	"crypto/sha256"
	"hash"
	"io"
	"sync"

	"github.com/tandemail/tandemail/internal/line"
)

// Message is one received message. It belongs to the server: nothing of it may be
// kept after Session.Data returns. Several goroutines may read it.
type Message struct {
	From  string   // as given to Session.Mail
	Rcpts []string // accepted ones, as given to Session.Rcpt, in order
	Size  int64    // octets in canonical form
	// Received is the SHA-256 of the octets as they came, after the removal of
	// transparency dots and before canonical form.
	Received [sha256.Size]byte
	NULs     int64 // octets replaced by 0x80
	BareLFs  int64 // that became CRLF

	mem  []byte
	file *spoolFile
}

// Bytes is the whole message in canonical octets if it is in memory, else nil.
func (m *Message) Bytes() []byte {
	if m.file != nil {
		return nil
	}
	return m.mem
}

// Reader reads the message from its beginning. Each is independent.
func (m *Message) Reader() *io.SectionReader {
	if m.file != nil {
		return io.NewSectionReader(m.file.f, 0, m.Size)
	}
	return io.NewSectionReader(bytes.NewReader(m.mem), 0, m.Size)
}

// buffers is the pool of message memory, shared by a server's connections.
type buffers struct {
	pool sync.Pool
	max  int // larger ones are left to the collector
}

const firstBuffer = 32 << 10

func (b *buffers) get() []byte {
	if p, ok := b.pool.Get().(*[]byte); ok {
		return (*p)[:0]
	}
	return make([]byte, 0, firstBuffer)
}

func (b *buffers) put(p []byte) {
	if cap(p) <= b.max {
		b.pool.Put(&p)
	}
}

// collector gathers a message from pieces as they arrive. Its first error is
// final; more pieces are then swallowed.
type collector struct {
	srv   *Server
	canon line.Canon
	hash  hash.Hash
	mem   []byte
	file  *spoolFile
	raw   int64 // octets received
	size  int64 // canonical octets
	err   error
}

func (s *Server) newCollector(h hash.Hash) *collector {
	h.Reset()
	return &collector{srv: s, hash: h, mem: s.buffers.get()}
}

func (c *collector) add(p []byte) {
	if c.err != nil {
		return
	}
	c.raw += int64(len(p))
	c.hash.Write(p)
	before := len(c.mem)
	c.mem = c.canon.Append(c.mem, p)
	c.size += int64(len(c.mem) - before)
	if c.size > c.srv.cfg.MaxMessage {
		c.err = line.ErrTooLarge
		return
	}
	if c.file != nil || len(c.mem) > c.srv.cfg.MessageMemory {
		c.err = c.spill()
	}
}

func (c *collector) spill() error {
	if c.file == nil {
		f, err := c.srv.spool.create()
		if err != nil {
			return err
		}
		c.file = f
	}
	err := c.file.write(c.mem)
	c.mem = c.mem[:0]
	return err
}

func (c *collector) message(from string, rcpts []string) *Message {
	m := &Message{
		From: from, Rcpts: rcpts, Size: c.size,
		NULs: c.canon.NULs, BareLFs: c.canon.BareLFs,
		mem: c.mem, file: c.file,
	}
	c.hash.Sum(m.Received[:0])
	return m
}

// release gives memory and spool space back. The message is gone.
func (c *collector) release() {
	c.srv.buffers.put(c.mem)
	c.mem = nil
	if c.file != nil {
		if err := c.file.remove(); err != nil {
			c.srv.log.Warn("remove spool file", "err", err)
		}
		c.file = nil
	}
}
