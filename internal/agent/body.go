package agent

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/mail"
)

// A copy that has lost a body asks another copy for it: one connection, one body
// (docs/protocol/agent.md).

// bodyHello opens such a connection.
type bodyHello struct {
	streamHello
	Body mail.BodyID `json:"body"`
}

const (
	// bodiesAtOnce are sent by this machine at a time; who asks for more asks again.
	bodiesAtOnce = 2
	// bodySilence is how long one write may wait for the other side.
	bodySilence = 30 * time.Second
	// maxRefusal bounds the reason of a refusal, in octets.
	maxRefusal = 1 << 10
	bodyHead   = 9
)

// Answers of a machine that is asked for a body.
const (
	bodyHere = iota
	bodyRefused
)

// Body implements slot.Peers.
func (p peers) Body(ctx context.Context, m cluster.Machine, s cluster.Store, from, to cluster.SlotID, id mail.BodyID) (io.ReadCloser, error) {
	hello, err := json.Marshal(bodyHello{streamHello{s, from, to}, id})
	if err != nil {
		return nil, fmt.Errorf("encode question for a body: %w", err)
	}
	conn, err := p.agent.cfg.DialBody(ctx, m, hello)
	if err != nil {
		return nil, err
	}
	b := &incomingBody{conn: conn, stop: context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })}
	if err := b.head(); err != nil {
		return nil, errors.Join(fmt.Errorf("body %d from %s: %w", id, m, err), b.Close())
	}
	return b, nil
}

// incomingBody reads what follows the head.
type incomingBody struct {
	io.Reader
	conn net.Conn
	stop func() bool
}

func (b *incomingBody) head() error {
	var h [bodyHead]byte
	if _, err := io.ReadFull(b.conn, h[:]); err != nil {
		return fmt.Errorf("read answer: %w", err)
	}
	n := binary.BigEndian.Uint64(h[1:])
	switch {
	case h[0] == bodyHere && n <= mail.MaxMessageSize:
		b.Reader = io.LimitReader(b.conn, int64(n))
		return nil
	case h[0] == bodyRefused && n <= maxRefusal:
		why, err := io.ReadAll(io.LimitReader(b.conn, int64(n)))
		return errors.Join(fmt.Errorf("not given: %s", why), err)
	}
	return fmt.Errorf("answer %d with length %d is not understood", h[0], n)
}

// Close implements io.Closer.
func (b *incomingBody) Close() error {
	b.stop()
	return b.conn.Close()
}

// HandleBody answers a copy on machine peer that asks for a body.
func (a *Agent) HandleBody(peer cluster.Machine, hello []byte, conn net.Conn) error {
	err := a.sendBody(peer, hello, conn)
	return errors.Join(err, conn.Close())
}

func (a *Agent) sendBody(peer cluster.Machine, hello []byte, conn net.Conn) error {
	var h bodyHello
	err := json.Unmarshal(hello, &h)
	if err != nil {
		return fmt.Errorf("question for a body from %s: %w", peer, err)
	}
	to := lively{conn}
	select {
	case a.bodies <- struct{}{}:
		defer func() { <-a.bodies }()
	default:
		return refuseBody(to, errors.New("other bodies are being sent"))
	}
	c, err := a.openBody(peer, h)
	if err != nil {
		return errors.Join(err, refuseBody(to, err))
	}
	head := binary.BigEndian.AppendUint64([]byte{bodyHere}, uint64(c.Size()))
	if _, err = to.Write(head); err == nil {
		_, err = io.CopyBuffer(struct{ io.Writer }{to}, io.NewSectionReader(c, 0, c.Size()), make([]byte, 128<<10))
	}
	if err != nil {
		err = fmt.Errorf("send body %d to %s: %w", h.Body, peer, err)
	}
	return errors.Join(err, c.Close())
}

// openBody opens it for a slot of the same store, which the certificate's machine has.
func (a *Agent) openBody(peer cluster.Machine, h bodyHello) (mail.Content, error) {
	r := a.stream(h.streamHello)
	if r == nil {
		return nil, fmt.Errorf("slot %v of store %s is not here", h.To, h.Store)
	}
	if rec := r.Slot.Status().Record; rec.MachineOf(h.From) != peer {
		return nil, fmt.Errorf("%s claims slot %v, which is not that machine's", peer, h.From)
	}
	return r.OpenBody(h.Body)
}

func refuseBody(to io.Writer, why error) error {
	text := why.Error()
	text = text[:min(len(text), maxRefusal)]
	b := binary.BigEndian.AppendUint64([]byte{bodyRefused}, uint64(len(text)))
	_, err := to.Write(append(b, text...))
	return err
}

// lively gives up a peer that does not read.
type lively struct{ conn net.Conn }

// Write implements io.Writer.
func (l lively) Write(p []byte) (int, error) {
	if err := l.conn.SetWriteDeadline(time.Now().Add(bodySilence)); err != nil {
		return 0, err
	}
	return l.conn.Write(p)
}
