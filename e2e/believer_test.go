package e2e

import (
	"context"
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// believer is a client that keeps one session and believes what it is told: a list of
// messages, each with UID and flags. What it knows it never asks for again.
type believer struct {
	*plain
	rng      *rand.Rand
	messages []belief
	content  map[string][32]byte // by UID
	commands atomic.Int64        // answered
}

type belief struct{ uid, flags string }

// believe opens INBOX with SELECT or EXAMINE.
func believe(ctx context.Context, addr string, u user, verb string) (*believer, error) {
	p, err := plainLogin(ctx, addr, u)
	if err != nil {
		return nil, err
	}
	b := &believer{plain: p, rng: rand.New(rand.NewPCG(1, 2)), content: map[string][32]byte{}}
	p.hear = b.learn
	if _, err = b.do("%s INBOX", verb); err == nil {
		err = b.ask()
	}
	return b, err
}

var (
	news      = regexp.MustCompile(`^\* (\d+) (EXISTS|EXPUNGE|FETCH)`)
	uidItem   = regexp.MustCompile(`[( ]UID (\d+)`)
	flagsItem = regexp.MustCompile(`[( ]FLAGS \(([^)]*)\)`)
)

// learn takes an untagged response.
func (b *believer) learn(r string) error {
	m := news.FindStringSubmatch(r)
	if m == nil {
		return nil
	}
	n, err := strconv.Atoi(m[1])
	switch {
	case err != nil:
		return err
	case m[2] == "EXISTS" && n < len(b.messages), m[2] != "EXISTS" && (n < 1 || n > len(b.messages)):
		return fmt.Errorf("%.40q, of %d messages", r, len(b.messages))
	case m[2] == "EXISTS":
		b.messages = append(b.messages, make([]belief, n-len(b.messages))...)
		return nil
	case m[2] == "EXPUNGE":
		b.messages = slices.Delete(b.messages, n-1, n)
		return nil
	}
	return b.learnOf(&b.messages[n-1], r)
}

func (b *believer) learnOf(m *belief, r string) error {
	items, content, whole := strings.Cut(r, " BODY[] {")
	if u := uidItem.FindStringSubmatch(items); u != nil {
		if m.uid != "" && m.uid != u[1] {
			return fmt.Errorf("UID %s became %s", m.uid, u[1])
		}
		m.uid = u[1]
	}
	if f := flagsItem.FindStringSubmatch(items); f != nil {
		words := slices.DeleteFunc(strings.Fields(f[1]), func(w string) bool { return w == `\Recent` })
		slices.Sort(words)
		m.flags = strings.Join(words, " ")
	}
	if whole {
		sum := sha256.Sum256([]byte(content))
		if old, seen := b.content[m.uid]; seen && old != sum {
			return fmt.Errorf("octets of message %s differ from before", m.uid)
		}
		b.content[m.uid] = sum
	}
	return nil
}

// ask asks for what new messages are.
func (b *believer) ask() error {
	for i := 0; i < len(b.messages); i++ {
		if b.messages[i].uid != "" {
			continue
		}
		// A message that was expunged meanwhile has no answer, and its number stays
		// until the client is told.
		if _, err := b.do("FETCH %d:%d (UID FLAGS)", i+1, len(b.messages)); err != nil && !strings.Contains(err.Error(), "EXPUNGEISSUED") {
			return err
		}
		break
	}
	b.commands.Add(1)
	return nil
}

// run does what clients do until ctx ends. No command may fail.
func (b *believer) run(ctx context.Context) error {
	for ctx.Err() == nil {
		if err := b.step(ctx); err != nil {
			return err
		}
		if err := b.ask(); err != nil {
			return err
		}
	}
	return nil
}

func (b *believer) step(ctx context.Context) error {
	n := len(b.messages)
	lo := 1 + b.rng.IntN(max(n, 1))
	hi := min(n, lo+b.rng.IntN(10))
	var err error
	switch k := b.rng.IntN(8); {
	case k == 0 || n == 0:
		_, err = b.do("NOOP")
	case k == 1:
		err = b.idle(ctx, 100*time.Millisecond)
	case k == 2:
		_, err = b.do("STORE %d:%d %sFLAGS (\\Answered)", lo, hi, []string{"+", "-"}[b.rng.IntN(2)])
	case k == 3:
		_, err = b.do("UID SEARCH ALL")
	default:
		_, err = b.do("FETCH %d:%d (UID BODY.PEEK[])", lo, hi)
	}
	if err != nil && strings.Contains(err.Error(), "EXPUNGEISSUED") {
		return nil // an honest answer
	}
	return err
}

// vandal is another client of the same mailbox.
type vandal struct {
	*plain
	rng *rand.Rand
}

// run changes messages until ctx ends. Its session may not end either.
func (v *vandal) run(ctx context.Context) error {
	if _, err := v.do("SELECT INBOX"); err != nil {
		return err
	}
	for i := 0; ctx.Err() == nil; i++ {
		if err := v.step(i); err != nil {
			return err
		}
		pause(ctx, 10*time.Millisecond)
	}
	return nil
}

func (v *vandal) step(i int) error {
	lo := 1 + v.rng.IntN(i+40)
	set := fmt.Sprintf("%d:%d", lo, lo+v.rng.IntN(5))
	var err error
	switch v.rng.IntN(6) {
	case 0, 1:
		m := fmt.Sprintf("Subject: %d\r\n\r\n%s", i, strings.Repeat("some text of a message\r\n", v.rng.IntN(4000)))
		_, err = v.do("APPEND INBOX {%d+}\r\n%s", len(m), m)
	case 2:
		_, err = v.do(`UID STORE %s +FLAGS.SILENT (\Deleted)`, set)
	case 3:
		_, err = v.do("UID EXPUNGE %s", set)
	case 4:
		_, err = v.do(`UID STORE %s FLAGS (\Flagged Word%d)`, set, v.rng.IntN(5))
	default:
		_, err = v.do(`UID STORE %s -FLAGS.SILENT (\Flagged \Answered)`, set)
	}
	return err
}
