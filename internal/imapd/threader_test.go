package imapd

import (
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/tandemail/tandemail/internal/imapwire"
	"github.com/tandemail/tandemail/internal/mail"
	"github.com/tandemail/tandemail/internal/message"
)

// threadsOf threads messages written "id subject date ref,ref", numbered from 1. A
// subject that ends with "+" is a reply's.
func threadsOf(by imapwire.ThreadAlgorithm, lines ...string) string {
	t := newThreader(by, len(lines))
	for i, line := range lines {
		f := append(strings.Fields(line), "", "", "", "")
		m := summary{uid: mail.UID(i + 1)}
		date, _ := strconv.ParseInt(f[2], 10, 64)
		m.arrival = mail.Instant(date * 1e6)
		m.Sent = message.Date{Unix: date, Valid: true}
		m.Subject, m.Reply = strings.CutSuffix(f[1], "+")
		if f[0] != "-" {
			m.ID = message.IDHash(f[0])
		}
		for _, r := range strings.Split(f[3], ",") {
			if r != "" {
				m.References = append(m.References, message.IDHash(r))
			}
		}
		if err := t.add(&m); err != nil {
			panic(err)
		}
	}
	return string(t.finish().append(nil, func(u mail.UID) uint32 { return uint32(u) }))
}

func TestThreadsOfReferences(t *testing.T) {
	for _, x := range []struct {
		why, want string
		lines     []string
	}{
		{"a reply that came before", "(2 1)", []string{"b s+ 2 a", "a s 1"}},
		{"a chain through one that is not there", "(1 2)", []string{"a s 1", "c s+ 3 a,b"}},
		{"an only child of what is not there", "(1)", []string{"b s 1 a"}},
		{"siblings in the order of their dates", "(1 (3)(2))", []string{"a s 1", "b x 3 a", "c y 2 a"}},
		{"a loop", "(2 1)", []string{"a s 1 b", "b t 2 a"}},
		{"itself", "(1)", []string{"a s 1 a"}},
		{"another twice", "(1)", []string{"a s 1 b,b"}},
		{"what a message says itself beats what others said", "(2 3 1)", []string{"c u 3 x,b", "a s 1", "b t 2 a"}},
		{"the same id twice", "(1 3)(2)", []string{"a s 1", "a t 2", "b u 3 a"}},
		{"a reply joins by subject", "(1 2)", []string{"a s 1", "b s+ 2"}},
		{"two of one subject stand side by side", "((1)(2))", []string{"a s 1", "b s 2"}},
		{"three as well", "((1)(2)(3))", []string{"a s 1", "b s 2", "c s 3"}},
		{"a reply to two of one subject", "((1)(2)(3))", []string{"a s 1", "b s 2", "c s+ 3"}},
		{"a reply that is older", "(2 1)", []string{"a s+ 1", "b s 2"}},
		{"no subject joins nothing", "(1)(2)", []string{"a  ", "b  "}},
		{"dummies of one subject", "((1)(2)(3)(4))", []string{"a s 1 x", "b t 2 x", "c s 3 y", "d t 4 y"}},
		{"a dummy and one that stands alone", "((1)(2)(3))", []string{"a s 1 x", "b t 2 x", "c s 3"}},
		{"deep", "(1 2 3 (4)(5))", []string{"a s 1", "b s+ 2 a", "c s+ 3 a,b", "d s+ 4 a,b,c", "e s+ 5 a,b,c"}},
	} {
		if got := threadsOf(imapwire.ThreadReferences, x.lines...); got != x.want {
			t.Errorf("%s: got %s, want %s", x.why, got, x.want)
		}
	}
}

func TestThreadsByRefsStandWhereTheirNewestMessageIs(t *testing.T) {
	got := threadsOf(imapwire.ThreadRefs, "a s 1", "b s 2", "c s 3 a", "d s+ 4 x", "e s+ 6 x", "f s 5")
	if want := "(2)(1 3)(6)((4)(5))"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// TestEachMessageIsInOneThread, whatever the references say.
func TestEachMessageIsInOneThread(t *testing.T) {
	number := regexp.MustCompile(`\d+`)
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 1))
		n := 1 + r.IntN(30)
		lines := make([]string, n)
		for i := range lines {
			var refs []string
			for range r.IntN(5) {
				refs = append(refs, strconv.Itoa(r.IntN(n+5)))
			}
			subject := string(rune('a'+r.IntN(4))) + strings.Repeat("+", r.IntN(2))
			lines[i] = fmt.Sprintf("%d %s %d %s", r.IntN(n), subject, r.IntN(9), strings.Join(refs, ","))
		}
		for _, by := range []imapwire.ThreadAlgorithm{imapwire.ThreadOrderedSubject, imapwire.ThreadReferences, imapwire.ThreadRefs} {
			got := threadsOf(by, lines...)
			var all []int
			for _, s := range number.FindAllString(got, -1) {
				u, _ := strconv.Atoi(s)
				all = append(all, u)
			}
			slices.Sort(all)
			if len(slices.Compact(all)) != n || strings.Count(got, "(") != strings.Count(got, ")") || strings.Contains(got, "()") {
				t.Fatalf("seed %d: %d messages became %s\n%s", seed, n, got, strings.Join(lines, "\n"))
			}
		}
	}
}

// TestDeepThreadsTakeLinearTime: what a sender can write into References costs no more
// than reading it.
func TestDeepThreadsTakeLinearTime(t *testing.T) {
	const n = 50_000
	for name, ref := range map[string]func(i int) int{
		"each to the one before": func(i int) int { return i - 1 },
		"each to the next":       func(i int) int { return i + 1 },
	} {
		lines := make([]string, n)
		for i := range lines {
			lines[i] = fmt.Sprintf("%d s 1 %d", i, ref(i))
		}
		got := threadsOf(imapwire.ThreadRefs, lines...)
		if strings.Count(got, "(") != 1 {
			t.Errorf("%s: %d threads", name, strings.Count(got, "("))
		}
	}
}
