package lmtpd

import (
	"bufio"
	"context"
	"io"
	"net"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

type (
	nullBackend struct{}
	nullSession struct{}
)

func (nullBackend) NewSession(context.Context, ConnInfo) (Session, error) { return nullSession{}, nil }

func (nullSession) Mail(context.Context, string, MailParams) error { return nil }
func (nullSession) Rcpt(context.Context, string) error             { return nil }
func (nullSession) Data(_ context.Context, m *Message, answer func(int, Result)) {
	for i := range m.Rcpts {
		answer(i, Result{})
	}
}
func (nullSession) Confirm() {}
func (nullSession) Abandon() {}
func (nullSession) Reset()   {}
func (nullSession) Logout()  {}

func cpuMicros() float64 {
	var ru unix.Rusage
	_ = unix.Getrusage(unix.RUSAGE_SELF, &ru)
	return float64(ru.Utime.Nano()+ru.Stime.Nano()) / 1e3
}

// BenchmarkMessages sends 4 KiB messages over 64 connections of loopback TCP. The
// CPU time is that of server and client together.
func BenchmarkMessages(b *testing.B) {
	cfg := testConfig(nullBackend{})
	cfg.MaxMessage = 1 << 20
	addr := serve(b, cfg)
	const conns = 64
	envelope := []byte("MAIL FROM:<sender@example.org> SIZE=4096\r\nRCPT TO:<user@example.com>\r\nDATA\r\n")
	body := []byte(strings.Repeat(strings.Repeat("a", 70)+"\r\n", 57) + ".\r\n")
	work := make(chan struct{}, conns)
	var wg sync.WaitGroup
	for range conns {
		nc, err := net.Dial("tcp", addr)
		if err != nil {
			b.Fatal(err)
		}
		br := bufio.NewReader(nc)
		lines := func(n int) {
			for range n {
				if _, err := br.ReadSlice('\n'); err != nil {
					b.Error(err)
				}
			}
		}
		_, _ = io.WriteString(nc, "LHLO x\r\n")
		lines(8)
		wg.Go(func() {
			defer nc.Close()
			for range work {
				_, _ = nc.Write(envelope)
				lines(3)
				_, _ = nc.Write(body)
				lines(1)
			}
		})
	}
	begin := cpuMicros()
	b.ReportAllocs()
	b.ResetTimer()
	for range b.N {
		work <- struct{}{}
	}
	close(work)
	wg.Wait()
	b.StopTimer()
	b.ReportMetric((cpuMicros()-begin)/float64(b.N), "cpu-us/op")
}
