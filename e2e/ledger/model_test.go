package ledger

import (
	"fmt"
	"math/rand/v2"
	"slices"
)

// model is a store that keeps its word, with a client that keeps to the rules. A
// tenth of its answers are lost; half of those changes took effect, some of them late.
type model struct {
	r      Recorder
	rng    *rand.Rand
	boxes  map[Box]*modelBox
	modseq uint64
	serial int
	closed map[Token]bool
	late   []func()
}

type modelBox struct {
	mail   []Message
	next   uint32
	modseq uint64
}

func newModel(seed uint64) *model {
	m := &model{rng: rand.New(rand.NewPCG(seed, 7)), boxes: map[Box]*modelBox{}, closed: map[Token]bool{}}
	for _, b := range []Box{boxA, boxB, inbox} {
		m.boxes[b] = &modelBox{next: 1}
	}
	return m
}

func (m *model) run(steps int) {
	for range steps {
		m.step()
		if m.rng.IntN(10) == 0 {
			for _, f := range m.late {
				f()
			}
			m.late = nil
		}
		if m.rng.IntN(15) == 0 {
			m.look(boxA)
		}
	}
	for range 2 {
		m.look(inbox)
		m.look(boxA)
		m.look(boxB)
	}
}

func (m *model) look(b Box) {
	mb := m.boxes[b]
	begin := m.r.Begin()
	m.r.End(begin, Acked, Observe{b, 9, mb.next, mb.modseq, slices.Clone(mb.mail)})
}

// act lets a change take effect, or not, or late, and records what the client was told.
func (m *model) act(effect func() Change, asked Change, tokens ...Token) {
	begin := m.r.Begin()
	if m.rng.IntN(10) > 0 {
		m.r.End(begin, Acked, effect())
		return
	}
	for _, t := range tokens {
		m.closed[t] = true
	}
	switch m.rng.IntN(3) {
	case 0:
		effect()
	case 1:
		m.late = append(m.late, func() { effect() })
	}
	m.r.End(begin, Unknown, asked)
}

func (m *model) insert(b Box, t Token, f Flags) uint32 {
	mb := m.boxes[b]
	m.modseq++
	mb.modseq = m.modseq
	mb.mail = append(mb.mail, Message{UID: mb.next, Token: t, Flags: f, ModSeq: m.modseq})
	mb.next++
	return mb.next - 1
}

func (m *model) step() {
	m.serial++
	token := Token(fmt.Sprint("t", m.serial))
	free := slices.DeleteFunc(slices.Clone(m.boxes[boxA].mail), func(x Message) bool { return m.closed[x.Token] })
	var uids []uint32
	var tokens []Token
	for range min(len(free), 1+m.rng.IntN(3)) {
		x := free[m.rng.IntN(len(free))]
		if !slices.Contains(uids, x.UID) {
			uids, tokens = append(uids, x.UID), append(tokens, x.Token)
		}
	}
	switch op := m.rng.IntN(7); {
	case op == 0:
		d := deliver(Token(fmt.Sprint("d", m.rng.IntN(20))))
		m.act(func() Change { m.insert(inbox, d.Token, ""); return d }, d, d.Token)
	case op <= 2 || len(uids) == 0:
		a := Append{boxA, token, NewFlags("k"), 0, 9}
		m.act(func() Change { a := a; a.UID = m.insert(boxA, token, a.Flags); return a }, a, token)
	case op == 3:
		s := Store{boxA, uids, Mode(m.rng.IntN(3)), NewFlags([]string{"k", "j", Deleted}[m.rng.IntN(3)])}
		m.act(func() Change { m.store(s); return s }, s, tokens...)
	case op == 4:
		e := Expunge{boxA, uids}
		m.act(func() Change {
			m.remove(uids, func(x Message) bool { return x.Flags.Has(Deleted) })
			return e
		}, e, tokens...)
	default:
		c := Copy{From: boxA, To: boxB, UIDs: uids, Move: op == 5, Validity: 9}
		m.act(func() Change { return m.copy(c) }, c, tokens...)
	}
}

func (m *model) store(s Store) {
	mb := m.boxes[s.Box]
	m.modseq++
	for i := range mb.mail {
		x := &mb.mail[i]
		if f := x.Flags.Apply(s.Mode, s.Flags); slices.Contains(s.UIDs, x.UID) && f != x.Flags {
			x.Flags, x.ModSeq, mb.modseq = f, m.modseq, m.modseq
		}
	}
}

func (m *model) remove(uids []uint32, which func(Message) bool) {
	mb := m.boxes[boxA]
	mb.mail = slices.DeleteFunc(slices.Clone(mb.mail), func(x Message) bool { return slices.Contains(uids, x.UID) && which(x) })
	m.modseq++
	mb.modseq = m.modseq
}

func (m *model) copy(c Copy) Copy {
	c.Targets = map[uint32]uint32{}
	for _, x := range slices.Clone(m.boxes[boxA].mail) {
		if slices.Contains(c.UIDs, x.UID) {
			c.Targets[x.UID] = m.insert(boxB, x.Token, x.Flags)
		}
	}
	if c.Move {
		m.remove(c.UIDs, func(Message) bool { return true })
	}
	return c
}
