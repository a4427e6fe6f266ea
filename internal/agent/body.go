package agent

import (
	"context"
	"encoding/binary"
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
	conn, err := p.dial(ctx, m, streamHello{Store: s, From: from, To: to, Body: id})
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

// giveBody sends a body of r's to who asked for it.
func (a *Agent) giveBody(r *running, id mail.BodyID, conn net.Conn) error {
	to := lively{conn}
	select {
	case a.bodies <- struct{}{}:
		defer func() { <-a.bodies }()
	default:
		return refuseBody(to, errors.New("other bodies are being sent"))
	}
	c, err := r.OpenBody(id)
	if err != nil {
		return errors.Join(err, refuseBody(to, err))
	}
	head := binary.BigEndian.AppendUint64([]byte{bodyHere}, uint64(c.Size()))
	if _, err = to.Write(head); err == nil {
		_, err = io.CopyBuffer(struct{ io.Writer }{to}, io.NewSectionReader(c, 0, c.Size()), make([]byte, 128<<10))
	}
	if err != nil {
		err = fmt.Errorf("send body %d: %w", id, err)
	}
	return errors.Join(err, c.Close())
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
