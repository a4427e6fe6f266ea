package sim

import (
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/tandemail/tandemail/internal/replica"
)

// trace keeps the last events, unformatted until somebody reads them.
type trace struct {
	w     *World
	ring  [400]traceLine
	next  int
	names *strings.Replacer
}

type traceLine struct {
	at   time.Duration
	who  string
	verb string
	what any
}

func (w *World) note(who, verb string, what any) {
	if _, tick := what.(replica.Tick); tick {
		return
	}
	t := &w.trace
	line := traceLine{w.loop.Now(), who, verb, what}
	t.ring[t.next%len(t.ring)] = line
	t.next++
	if w.cfg.watch != nil {
		w.cfg.watch(line)
	}
	if w.cfg.Trace != nil {
		w.cfg.Trace(t.format(line))
	}
}

// Tail returns the last events, oldest first.
func (w *World) Tail() string {
	var b strings.Builder
	t := &w.trace
	for i := max(0, t.next-len(t.ring)); i < t.next; i++ {
		b.WriteString(t.format(t.ring[i%len(t.ring)]))
		b.WriteByte('\n')
	}
	return b.String()
}

func (t *trace) format(l traceLine) string {
	return fmt.Sprintf("%9.4f %-5s %s %s", l.at.Seconds(), l.who, l.verb, t.describe(l.what))
}

var chains = regexp.MustCompile(` ?(Chain|Raw):(\[[0-9 ]*\]|[0-9a-f]+)`)

// describe prints an event, effect or frame in one line.
func (t *trace) describe(x any) string {
	if s, ok := x.(string); ok {
		return s
	}
	s := fmt.Sprintf("%T%+v", x, x)
	s = strings.ReplaceAll(s, "replica.", "")
	s = chains.ReplaceAllString(s, "")
	return t.names.Replace(s)
}
