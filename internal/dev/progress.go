package dev

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"
)

// progress counts messages, with a bar where a person looks.
type progress struct {
	out   io.Writer
	bar   bool
	total int64 // octets of the source; about what its messages have
	start time.Time

	mu       sync.Mutex
	turns    int
	octets   int64
	ok, lost int
	shown    time.Time
}

func newProgress(out io.Writer, total int64) *progress {
	return &progress{out: out, bar: isTerminal(out), total: max(total, 1), start: time.Now()}
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// turn counts the messages that were begun.
func (p *progress) turn() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.turns++
	return p.turns - 1
}

const (
	barWidth = 40
	barEvery = 100 * time.Millisecond
)

func (p *progress) arrived(octets int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ok++
	p.octets += int64(octets)
	if now := time.Now(); p.bar && now.Sub(p.shown) > barEvery {
		p.shown = now
		part := min(float64(p.octets)/float64(p.total), 1)
		n := int(part * barWidth)
		fmt.Fprintf(p.out, "\r[%s%s] %3.0f %%  %d messages", strings.Repeat("#", n), strings.Repeat(".", barWidth-n), 100*part, p.ok)
	}
}

// maxFailures is how many are described; the end tells how many there were.
const maxFailures = 10

func (p *progress) failed(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.lost++; p.lost > maxFailures {
		return
	}
	p.clear()
	fmt.Fprintf(p.out, "did not arrive: %v\n", err)
}

func (p *progress) clear() {
	if p.bar {
		fmt.Fprintf(p.out, "\r%s\r", strings.Repeat(" ", barWidth+30))
	}
}

// done says how many arrived and returns how many did not.
func (p *progress) done() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	took := time.Since(p.start).Seconds()
	p.clear()
	fmt.Fprintf(p.out, "%d messages arrived, %d did not, in %.1f s (%.0f/s)\n", p.ok, p.lost, took, float64(p.ok)/took)
	return p.lost
}
