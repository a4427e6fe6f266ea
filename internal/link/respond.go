package link

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"
)

// ResponderConfig bounds Respond. Log is required; zero elsewhere is useful.
type ResponderConfig struct {
	MaxInFlight int // requests being handled; then no more are read; 256
	Log         *slog.Logger
}

// RequestHandler answers one request, whose memory is its own until it returns.
// ctx has the caller's deadline; it is not cancelled when the connection ends.
type RequestHandler func(ctx context.Context, request []byte) (response []byte, err error)

// Respond answers the requests of a Caller at the other end of f, which it takes
// over, until the stream ends or ctx is done. It returns when all handlers have
// returned; nil if the peer closed in order.
func Respond(ctx context.Context, f *Frames, cfg ResponderConfig, h RequestHandler) error {
	cfg.MaxInFlight = cmp.Or(cfg.MaxInFlight, 256)
	stop := context.AfterFunc(ctx, func() { _ = f.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	r := &responder{f: f, h: h, log: cfg.Log, places: make(chan struct{}, cfg.MaxInFlight), idle: make(chan request)}
	beating, stopBeating := context.WithCancel(ctx)
	var beat sync.WaitGroup
	beat.Go(func() { r.beat(beating) })
	err := r.serve(ctx)
	r.wg.Wait()
	stopBeating()
	beat.Wait()
	closeErr := f.Close() // the last answers leave
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.Is(err, io.EOF):
		return closeErr
	}
	return err
}

// heartbeat is sent at this interval, also while no request is read because too
// many are being handled: a busy peer is not a dead one.
const heartbeat = 2 * time.Second

func (r *responder) beat(ctx context.Context) {
	t := time.NewTicker(heartbeat)
	defer t.Stop()
	for {
		select {
		case <-t.C:
		case <-ctx.Done():
			return
		}
		if err := r.f.Write(ctx, frameHeartbeat); err != nil {
			return // the stream has ended; serve reports why
		}
	}
}

type responder struct {
	f       *Frames
	h       RequestHandler
	log     *slog.Logger
	places  chan struct{}
	wg      sync.WaitGroup
	buffers sync.Pool
	idle    chan request // to a worker that waits for its next request
}

// request is one request on its way to a worker.
type request struct {
	id     uint64
	ms     uint32
	octets *[]byte
}

// maxIdle is how many workers wait for their next request: they keep the stacks
// that handlers have grown.
const maxIdle = 8

// work handles q and then whatever it is given, until serve ends or enough others
// wait already.
func (r *responder) work(ctx context.Context, q request, waiting *atomic.Int32) {
	for ok := true; ok; {
		r.handle(ctx, q.id, q.ms, q.octets)
		r.buffers.Put(q.octets)
		<-r.places
		if waiting.Add(1) > maxIdle {
			waiting.Add(-1)
			return
		}
		q, ok = <-r.idle
		waiting.Add(-1)
	}
}

func (r *responder) serve(ctx context.Context) error {
	var waiting atomic.Int32
	defer close(r.idle)
	for {
		kind, p, err := r.f.Read()
		if err != nil {
			return err
		}
		if kind != frameRequest || len(p) < requestHeader {
			return fmt.Errorf("request of type %d with %d octets: %w", kind, len(p), ErrProtocol)
		}
		id, ms := binary.BigEndian.Uint64(p), binary.BigEndian.Uint32(p[8:])
		select {
		case r.places <- struct{}{}:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		q := request{id, ms, r.copy(p[requestHeader:])}
		select {
		case r.idle <- q:
		default:
			r.wg.Go(func() { r.work(ctx, q, &waiting) })
		}
	}
}

func (r *responder) copy(p []byte) *[]byte {
	b, ok := r.buffers.Get().(*[]byte)
	if !ok {
		b = new([]byte)
	}
	*b = append((*b)[:0], p...)
	return b
}

func (r *responder) handle(ctx context.Context, id uint64, ms uint32, request *[]byte) {
	if ms > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Duration(ms)*time.Millisecond)
		defer cancel()
	}
	response, kind, err := r.run(ctx, *request)
	var h [responseHeader]byte
	binary.BigEndian.PutUint64(h[:], id)
	// The answer is worth sending after ctx too; a peer that does not read is
	// bounded by the write timeout.
	send := context.WithoutCancel(ctx)
	if err != nil {
		err = r.f.Write(send, frameFailure, h[:], []byte{kind}, []byte(err.Error()))
	} else if err = r.f.Write(send, frameResponse, h[:], response); err != nil && len(response) > r.f.cfg.MaxFrame-responseHeader {
		err = r.f.Write(send, frameFailure, h[:], []byte{failureUnknown}, []byte("response too large"))
	}
	if err != nil {
		r.log.Debug("answer could not be sent", "err", err)
	}
}

// run calls the handler; its panic ends this request alone.
func (r *responder) run(ctx context.Context, request []byte) (response []byte, kind byte, err error) {
	defer func() {
		if p := recover(); p != nil {
			r.log.Error("panic in a request handler", "err", p, "stack", string(debug.Stack()))
			kind, err = failureUnknown, errors.New("handler failed")
		}
	}()
	response, err = r.h(ctx, request)
	return response, failureError, err
}
