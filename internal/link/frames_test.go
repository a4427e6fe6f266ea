package link

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// memConn is a connection that reads from memory and records each write.
type memConn struct {
	net.Conn
	in io.Reader

	mu     sync.Mutex
	writes [][]byte
	gate   chan struct{} // if set, each write takes one value first
	err    error         // of the next write
	closed bool
}

func (m *memConn) Read(p []byte) (int, error) { return m.in.Read(p) }
func (m *memConn) Write(p []byte) (int, error) {
	if m.gate != nil {
		<-m.gate
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.err != nil {
		return 0, m.err
	}
	m.writes = append(m.writes, bytes.Clone(p))
	return len(p), nil
}
func (m *memConn) SetReadDeadline(time.Time) error  { return nil }
func (m *memConn) SetWriteDeadline(time.Time) error { return nil }
func (m *memConn) Close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.closed = true
	return nil
}

func (m *memConn) written() []byte {
	m.mu.Lock()
	defer m.mu.Unlock()
	return bytes.Join(m.writes, nil)
}

func TestFramesOfAnySizeArriveWhole(t *testing.T) {
	const limit = 3 << 20
	sizes := []int{0, 1, 100, firstBuffer - frameHeader - 1, firstBuffer - frameHeader, firstBuffer - frameHeader + 1, firstBuffer, 1 << 20, limit, 7, 2 * firstBuffer, 0}
	a, b := net.Pipe()
	w, r := NewFrames(a, FramesConfig{MaxFrame: limit}), NewFrames(b, FramesConfig{MaxFrame: limit, ReadBuffer: firstBuffer})
	go func() {
		for i, n := range sizes {
			p := bytes.Repeat([]byte{byte(i + 1)}, n)
			if err := w.Write(context.Background(), byte(i), p[:n/3], p[n/3:]); err != nil {
				t.Error(err)
			}
		}
		_ = w.Close()
	}()
	for i, n := range sizes {
		kind, p, err := r.Read()
		if err != nil || kind != byte(i) || !bytes.Equal(p, bytes.Repeat([]byte{byte(i + 1)}, n)) {
			t.Fatalf("frame %d: type %d, %d octets of %d, %v", i, kind, len(p), n, err)
		}
	}
	if _, _, err := r.Read(); err != io.EOF {
		t.Fatalf("at the end: %v", err)
	}
}

func TestFrameOutOfBoundsIsAProtocolError(t *testing.T) {
	for _, length := range []uint32{0, 12, 1 << 31, 1<<32 - 1} {
		in := append(binary.BigEndian.AppendUint32(nil, length), 1, 2, 3)
		f := NewFrames(&memConn{in: bytes.NewReader(in)}, FramesConfig{MaxFrame: 10})
		if _, _, err := f.Read(); !errors.Is(err, ErrProtocol) {
			t.Errorf("length %d: %v", length, err)
		}
	}
	f := NewFrames(&memConn{}, FramesConfig{MaxFrame: 10})
	if err := f.Write(context.Background(), 1, make([]byte, 6), make([]byte, 5)); err == nil {
		t.Error("wrote a frame over the limit")
	}
}

func TestCutFrameIsUnexpectedEOF(t *testing.T) {
	for _, size := range []int{10, 2 * firstBuffer} {
		whole := append(binary.BigEndian.AppendUint32(nil, uint32(size+1)), make([]byte, size+1)...)
		for _, n := range []int{1, 4, 5, 6, len(whole) - 1} {
			f := NewFrames(&memConn{in: bytes.NewReader(whole[:n])}, FramesConfig{})
			if _, _, err := f.Read(); err != io.ErrUnexpectedEOF {
				t.Errorf("%d of %d octets: %v", n, len(whole), err)
			}
		}
	}
}

func TestAnnouncedLengthTakesNoMemory(t *testing.T) {
	in := append(binary.BigEndian.AppendUint32(nil, 1<<30), make([]byte, 100)...)
	f := NewFrames(&memConn{in: bytes.NewReader(in)}, FramesConfig{MaxFrame: 1 << 30})
	if _, _, err := f.Read(); err != io.ErrUnexpectedEOF || cap(f.big) > 2*firstBuffer {
		t.Fatalf("%v, buffer of %d", err, cap(f.big))
	}
}

func TestFramesWrittenDuringAWriteLeaveTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &memConn{gate: make(chan struct{})}
		f := NewFrames(m, FramesConfig{})
		ctx := context.Background()
		_ = f.Write(ctx, 1, []byte("first"))
		synctest.Wait() // the first write is under way
		for i := range 100 {
			_ = f.Write(ctx, 2, fmt.Appendf(nil, "%02d", i))
		}
		m.gate <- struct{}{}
		m.gate <- struct{}{}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
		if len(m.writes) != 2 || len(m.writes[1]) != 100*(frameHeader+2) {
			t.Fatalf("%d writes", len(m.writes))
		}
	})
}

func TestFullQueueMakesWritersWaitAndGiveUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &memConn{gate: make(chan struct{})}
		f := NewFrames(m, FramesConfig{WriteQueue: 20})
		ctx := context.Background()
		_ = f.Write(ctx, 1, make([]byte, 10)) // under way
		synctest.Wait()
		_ = f.Write(ctx, 2, make([]byte, 10)) // queued
		short, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		if err := f.Write(short, 3, make([]byte, 10)); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("got %v", err)
		}
		done := make(chan error, 1)
		go func() { done <- f.Write(ctx, 4, make([]byte, 10)) }()
		synctest.Wait()
		select {
		case <-done:
			t.Fatal("wrote into a full queue")
		default:
		}
		close(m.gate)
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		_ = f.Close()
		if got := m.written(); len(got) != 3*(frameHeader+10) {
			t.Fatalf("%d octets written", len(got))
		}
	})
}

func TestWriteErrorIsFinalAndClosesTheConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &memConn{err: errors.New("cable cut")}
		f := NewFrames(m, FramesConfig{})
		_ = f.Write(context.Background(), 1, nil)
		synctest.Wait()
		if err := f.Write(context.Background(), 1, nil); err == nil || !strings.Contains(err.Error(), "cable cut") || !m.closed {
			t.Fatalf("%v, closed %v", err, m.closed)
		}
	})
}

func TestConcurrentWritersDoNotMixTheirFrames(t *testing.T) {
	a, b := net.Pipe()
	w, r := NewFrames(a, FramesConfig{WriteQueue: 1000}), NewFrames(b, FramesConfig{})
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Go(func() {
			for n := range 100 {
				p := bytes.Repeat([]byte{byte(i)}, n)
				if err := w.Write(context.Background(), byte(n), p); err != nil {
					t.Error(err)
				}
			}
		})
	}
	go func() { wg.Wait(); _ = w.Close() }()
	var next [16]int
	frames := 0
	for {
		kind, p, err := r.Read()
		if err == io.EOF {
			break
		}
		if err != nil || len(p) != int(kind) {
			t.Fatalf("frame of %d octets says %d: %v", len(p), kind, err)
		}
		frames++
		if len(p) == 0 {
			continue
		}
		i := p[0]
		if next[i]++; next[i] != len(p) || !bytes.Equal(p, bytes.Repeat([]byte{i}, len(p))) {
			t.Fatalf("writer %d: frame of %d octets out of order or mixed", i, len(p))
		}
	}
	if frames != 1600 {
		t.Fatalf("%d frames", frames)
	}
}

// wireExamples are the octets docs/protocol/link.md shows.
func wireExamples() []struct{ name, hex string } {
	frame := func(kind byte, parts ...[]byte) string {
		var h [frameHeader]byte
		p := bytes.Join(parts, nil)
		putFrameHeader(&h, kind, len(p))
		return hex.EncodeToString(append(h[:], p...))
	}
	id := binary.BigEndian.AppendUint64(nil, 7)
	return []struct{ name, hex string }{
		{"header", hex.EncodeToString(appendHeader(nil, "deliver", []byte(`{"v":1}`)))},
		{"answer-ok", hex.EncodeToString(appendAnswer(nil, statusOK, ""))},
		{"answer-refused", hex.EncodeToString(appendAnswer(nil, statusRefused, "too many streams"))},
		{"frame-empty", frame(9)},
		{"frame", frame(9, []byte("octets"))},
		{"request", frame(frameRequest, id, binary.BigEndian.AppendUint32(nil, 8000), []byte("do"))},
		{"response", frame(frameResponse, id, []byte("done"))},
		{"failure", frame(frameFailure, id, []byte{failureError}, []byte("no"))},
		{"heartbeat", frame(frameHeartbeat)},
	}
}

func TestWireFormatIsTheDocumentedOne(t *testing.T) {
	golden, err := os.ReadFile("testdata/wire.golden")
	if err != nil {
		t.Fatal(err)
	}
	doc, err := os.ReadFile("../../docs/protocol/link.md")
	if err != nil {
		t.Fatal(err)
	}
	var got strings.Builder
	for _, e := range wireExamples() {
		l := fmt.Sprintf("%-14s %s\n", e.name, e.hex)
		got.WriteString(l)
		if !strings.Contains(string(doc), l) {
			t.Errorf("docs/protocol/link.md does not show: %s", l)
		}
	}
	if got.String() != string(golden) {
		t.Fatalf("the wire format changed:\n%s\nwant\n%s", got.String(), golden)
	}
}

// FuzzFrames: any octets give whole frames, then an error; what was read can be
// written back to the same octets.
func FuzzFrames(f *testing.F) {
	for _, e := range wireExamples() {
		b, _ := hex.DecodeString(e.hex)
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		const limit = 300
		r := NewFrames(&memConn{in: bytes.NewReader(in)}, FramesConfig{MaxFrame: limit})
		var again []byte
		for {
			kind, p, err := r.Read()
			if err != nil {
				if err != io.EOF && err != io.ErrUnexpectedEOF && !errors.Is(err, ErrProtocol) {
					t.Fatalf("error of no kind: %v", err)
				}
				if err == io.EOF && len(again) != len(in) {
					t.Fatalf("clean end after %d of %d octets", len(again), len(in))
				}
				break
			}
			if len(p) > limit {
				t.Fatalf("frame of %d octets", len(p))
			}
			var h [frameHeader]byte
			putFrameHeader(&h, kind, len(p))
			again = append(append(again, h[:]...), p...)
		}
		if !bytes.HasPrefix(in, again) {
			t.Fatalf("read %x from %x", again, in)
		}
		if s, m, err := readHeader(bytes.NewReader(in)); err == nil {
			if back := appendHeader(nil, s, m); !bytes.HasPrefix(in, back) {
				t.Fatalf("header %x from %x", back, in)
			}
		}
		if s, reason, err := readAnswer(bytes.NewReader(in)); err == nil {
			if back := appendAnswer(nil, s, reason); !bytes.HasPrefix(in, back) {
				t.Fatalf("answer %x from %x", back, in)
			}
		}
	})
}
