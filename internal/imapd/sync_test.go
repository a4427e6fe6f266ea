package imapd

import (
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/tandemail/tandemail/internal/mail"
	"github.com/tandemail/tandemail/internal/session"
)

// mirror is a client that believes what it is told and never asks twice: a list
// of messages, each with its UID and flags as far as it knows them.
type mirror struct {
	*direct
	messages []belief
}

type belief struct{ uid, flags string }

var (
	anyLine   = regexp.MustCompile(`^\* (\d+) (EXISTS|EXPUNGE|FETCH|UIDFETCH)(?: \((.*))?$`)
	uidItem   = regexp.MustCompile(`UID (\d+)`)
	flagsItem = regexp.MustCompile(`FLAGS \(([^)]*)\)`)
)

// hear takes what the server said.
func (m *mirror) hear(t *testing.T, out string) {
	t.Helper()
	for _, line := range strings.Split(out, "\r\n") {
		if v := vanishedLine.FindStringSubmatch(line); v != nil {
			m.forget(t, parseUIDs(v[1]))
		}
		f := anyLine.FindStringSubmatch(line)
		if f == nil {
			continue
		}
		n, _ := strconv.Atoi(f[1])
		switch f[2] {
		case "EXISTS":
			if n < len(m.messages) {
				t.Fatalf("%d EXISTS, after %d", n, len(m.messages))
			}
			m.messages = append(m.messages, make([]belief, n-len(m.messages))...)
		case "EXPUNGE":
			m.messages = slices.Delete(m.messages, n-1, n)
		case "UIDFETCH":
			m.learn(t, m.byUID(t, f[1]), "UID "+f[1]+" "+f[3])
		case "FETCH":
			m.learn(t, &m.messages[n-1], f[3])
		}
	}
}

// forget takes messages out. One whose UID the client never learned is the first of
// those.
func (m *mirror) forget(t *testing.T, uids mail.UIDSet) {
	t.Helper()
	for u := range uids.All() {
		uid := strconv.FormatUint(uint64(u), 10)
		i := slices.IndexFunc(m.messages, func(b belief) bool { return b.uid == uid || b.uid == "" })
		if i < 0 {
			t.Fatalf("VANISHED %d, which is not there: %v", u, m.messages)
		}
		m.messages = slices.Delete(m.messages, i, i+1)
	}
}

// byUID is the message with that UID, or the first of which none is known.
func (m *mirror) byUID(t *testing.T, uid string) *belief {
	t.Helper()
	for i := range m.messages {
		if b := &m.messages[i]; b.uid == uid || b.uid == "" {
			return b
		}
	}
	t.Fatalf("UIDFETCH of %s, which is not there: %v", uid, m.messages)
	return nil
}

func (m *mirror) learn(t *testing.T, b *belief, items string) {
	t.Helper()
	if u := uidItem.FindStringSubmatch(items); u != nil {
		if b.uid != "" && b.uid != u[1] {
			t.Fatalf("UID %s became %s", b.uid, u[1])
		}
		b.uid = u[1]
	}
	if f := flagsItem.FindStringSubmatch(items); f != nil {
		b.flags = strings.TrimSuffix(strings.TrimSuffix(f[1], `\Recent`), " ") // another's for others
	}
}

var silentStore = regexp.MustCompile(`^(UID )?STORE (\d+):(\d+) \+FLAGS\.SILENT \(\\Deleted\)$`)

// silenced are the UIDs of the messages that command marks \Deleted without an
// answer.
func (m *mirror) silenced(command string) (uids []string) {
	f := silentStore.FindStringSubmatch(command)
	if f == nil {
		return nil
	}
	lo, _ := strconv.Atoi(f[2])
	hi, _ := strconv.Atoi(f[3])
	for i, b := range m.messages {
		n := i + 1
		if f[1] != "" {
			n, _ = strconv.Atoi(b.uid)
		}
		if lo <= n && n <= hi {
			uids = append(uids, b.uid)
		}
	}
	return uids
}

// assume marks messages as \Deleted, in the order in which the server writes flags.
func (m *mirror) assume(uids []string) {
	for i := range m.messages {
		b := &m.messages[i]
		if !slices.Contains(uids, b.uid) || strings.Contains(b.flags, `\Deleted`) {
			continue
		}
		words := strings.Fields(b.flags)
		at := 0
		if slices.Contains(words, `\Flagged`) {
			at = 1
		}
		b.flags = strings.Join(slices.Insert(words, at, `\Deleted`), " ")
	}
}

// act runs a command; a client asks for what it does not know of new messages.
func (m *mirror) act(t *testing.T, command string) {
	t.Helper()
	silent := m.silenced(command)
	out, err := m.run("x " + command)
	if err != nil {
		t.Fatalf("%s: %v", command, err)
	}
	if strings.Contains(out, "x BAD") {
		t.Fatalf("%s: %s", command, out)
	}
	m.hear(t, out)
	m.assume(silent)
	m.ask(t)
}

// ask asks for what is not known of new messages.
func (m *mirror) ask(t *testing.T) {
	t.Helper()
	for i := range m.messages {
		if m.messages[i].uid != "" {
			continue
		}
		command := fmt.Sprintf("x FETCH %d:%d (UID FLAGS)", i+1, len(m.messages))
		if m.uidOnly() {
			lo := 1
			if i > 0 {
				last, _ := strconv.Atoi(m.messages[i-1].uid)
				lo = last + 1
			}
			command = fmt.Sprintf("x UID FETCH %d:* (FLAGS)", lo)
		}
		out, err := m.run(command)
		if err != nil {
			t.Fatal(err)
		}
		m.hear(t, out)
		return
	}
}

// TestSessionsAgreeHoweverTheyInterleave lets sessions change one mailbox at
// random. At the end what each was told is what is there, and no message number
// ever meant two messages.
func TestSessionsAgreeHoweverTheyInterleave(t *testing.T) {
	for seed := range uint64(40) {
		t.Run(strconv.FormatUint(seed, 10), func(t *testing.T) { interleave(t, rand.New(rand.NewPCG(seed, 7)), false) })
	}
}

// interleave runs commands; with moves, sessions change their master in between, also
// after it has executed a command whose answer is lost.
func interleave(t *testing.T, r *rand.Rand, moves bool) {
	a := newAccount(t)
	sessions := make([]*mirror, 3)
	for i := range sessions {
		sessions[i] = &mirror{direct: newDirect(t, a, byte(i+1))}
		if i == 1 {
			sessions[i].act(t, "ENABLE CONDSTORE")
		}
		sessions[i].act(t, "SELECT INBOX")
	}
	for range 120 {
		m := sessions[r.IntN(len(sessions))]
		command := randomCommand(r, len(m.messages))
		if moves && r.IntN(4) == 0 {
			if r.IntN(2) == 0 {
				m.lose(t, command)
			}
			if r.IntN(3) == 0 {
				other := sessions[r.IntN(len(sessions))]
				if other != m {
					other.act(t, randomCommand(r, len(other.messages)))
				}
			}
			m.move(t)
		}
		m.act(t, command)
	}
	for _, m := range sessions {
		m.act(t, "NOOP")
	}
	want := &mirror{direct: newDirect(t, a, 9)}
	want.act(t, "SELECT INBOX")
	want.act(t, "NOOP")
	for i, m := range sessions {
		if !slices.Equal(m.messages, want.messages) {
			t.Errorf("session %d was told\n%v, there is\n%v", i, m.messages, want.messages)
		}
		got, full := *m.token.Selected, *want.token.Selected
		if got.Count != full.Count || got.Sum != full.Sum || got.UIDNext != full.UIDNext {
			t.Errorf("session %d: token %+v, want %+v", i, got, full)
		}
		if got.Flags != full.Flags || got.Expunged != (session.Cut{ModSeq: full.Highest}) {
			t.Errorf("session %d: cuts %d and %v, want %d", i, got.Flags, got.Expunged, full.Highest)
		}
	}
}

func randomCommand(r *rand.Rand, messages int) string {
	if messages == 0 || r.IntN(5) == 0 {
		return "APPEND INBOX" + strings.Repeat(" {1+}\r\nx", 1+r.IntN(4))
	}
	n := 1 + r.IntN(messages)
	set := fmt.Sprintf("%d:%d", n, min(messages, n+r.IntN(4)))
	uid := []string{"", "UID "}[r.IntN(2)]
	switch r.IntN(10) {
	case 0:
		return "NOOP"
	case 1:
		return uid + "SEARCH UNSEEN"
	case 2:
		return "EXPUNGE"
	case 3:
		return "MOVE " + set + " Archive"
	case 4:
		return uid + "FETCH " + set + " (UID BODY[])"
	case 5:
		return "COPY " + set + " INBOX"
	case 6:
		return uid + "STORE " + set + " +FLAGS.SILENT (\\Deleted)"
	case 7:
		return "STORE " + set + " FLAGS (\\Flagged k" + strconv.Itoa(r.IntN(3)) + ")"
	default:
		return uid + "STORE " + set + " " + []string{"+", "-", ""}[r.IntN(3)] + "FLAGS (\\Seen \\Deleted)"
	}
}
