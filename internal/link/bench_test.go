package link

import (
	"context"
	"io"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

func cpuMicros() float64 {
	var ru unix.Rusage
	_ = unix.Getrusage(unix.RUSAGE_SELF, &ru)
	return float64(ru.Utime.Nano()+ru.Stime.Nano()) / 1e3
}

// run64 spreads b.N operations over 64 goroutines and reports the CPU time of both
// ends together.
func run64(b *testing.B, op func(worker int) error) {
	var wg sync.WaitGroup
	work := make(chan struct{}, 64)
	begin := cpuMicros()
	b.ReportAllocs()
	b.ResetTimer()
	for w := range 64 {
		wg.Go(func() {
			for range work {
				if err := op(w); err != nil {
					b.Error(err)
				}
			}
		})
	}
	for range b.N {
		work <- struct{}{}
	}
	close(work)
	wg.Wait()
	b.StopTimer()
	b.ReportMetric((cpuMicros()-begin)/float64(b.N), "cpu-us/op")
}

func ok(context.Context, []byte) ([]byte, error) { return []byte("ok"), nil }

func respondOK(ctx context.Context, s *Stream) {
	_ = Respond(ctx, NewFrames(s, FramesConfig{}), ResponderConfig{Log: quiet}, ok)
}

// BenchmarkCall is a request of 4 KiB and its answer, 64 callers, TLS on loopback.
func BenchmarkCall(b *testing.B) {
	request := make([]byte, 4096)
	for _, conns := range []int{1, 2} {
		b.Run(map[int]string{1: "one raw connection", 2: "two raw connections"}[conns], func(b *testing.B) {
			s := newSite(b)
			addr, _ := start(b, ServerConfig{Identity: s.machine("m1"), Raw: map[string]Handler{"calls": respondOK}}, "127.0.0.1:0")
			c := NewCalls(CallsConfig{Dialer: dialer(s.machine("m2"), addr), Service: "calls", Conns: conns})
			defer c.Close()
			run64(b, func(int) error { _, err := c.Call(context.Background(), "m1", request); return err })
		})
	}
	b.Run("one stream of one mux connection", func(b *testing.B) {
		s := newSite(b)
		addr, _ := start(b, ServerConfig{Identity: s.machine("m1"), Mux: map[string]Handler{"calls": respondOK}}, "127.0.0.1:0")
		p := NewPool(dialer(s.machine("m2"), addr))
		defer p.Close()
		st, err := p.Open(context.Background(), "m1", "calls", nil)
		if err != nil {
			b.Fatal(err)
		}
		c := NewCaller(NewFrames(st, FramesConfig{}), CallerConfig{})
		go func() { _ = c.Run(context.Background()) }()
		run64(b, func(int) error { _, err := c.Call(context.Background(), request); return err })
		_ = c.Close()
	})
	b.Run("64 streams of one mux connection", func(b *testing.B) {
		s := newSite(b)
		serve := func(_ context.Context, s *Stream) {
			buf := make([]byte, len(request))
			for {
				if _, err := io.ReadFull(s, buf); err != nil {
					return
				}
				if _, err := s.Write(buf[:2]); err != nil {
					return
				}
			}
		}
		addr, _ := start(b, ServerConfig{Identity: s.machine("m1"), Mux: map[string]Handler{"calls": serve}}, "127.0.0.1:0")
		p := NewPool(dialer(s.machine("m2"), addr))
		p.k.max = 1
		defer p.Close()
		var streams [64]*Stream
		for i := range streams {
			var err error
			if streams[i], err = p.Open(context.Background(), "m1", "calls", nil); err != nil {
				b.Fatal(err)
			}
		}
		run64(b, func(w int) error {
			if _, err := streams[w].Write(request); err != nil {
				return err
			}
			_, err := io.ReadFull(streams[w], make([]byte, 2))
			return err
		})
	})
}
