package ledger

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// history builds a fabricated history; every event ends before the next begins.
type history struct {
	r Recorder
}

func (h *history) add(o Outcome, changes ...Change) *history {
	for _, c := range changes {
		h.r.End(h.r.Begin(), o, c)
	}
	return h
}

func (h *history) acked(c ...Change) *history   { return h.add(Acked, c...) }
func (h *history) unknown(c ...Change) *history { return h.add(Unknown, c...) }
func (h *history) refused(c ...Change) *history { return h.add(Refused, c...) }

var (
	boxA  = Box{"u", "A"}
	boxB  = Box{"u", "B"}
	inbox = Box{"u", Inbox}
)

// see is a look at box with messages written "UID token flags MODSEQ".
func see(b Box, next uint32, modseq uint64, messages ...string) Observe {
	o := Observe{Box: b, Validity: 9, Next: next, HighestModSeq: modseq}
	for _, text := range messages {
		var m Message
		f := strings.Fields(text)
		m.Flags = NewFlags(f[2 : len(f)-1]...)
		if _, err := fmt.Sscan(f[0]+" "+f[1]+" "+f[len(f)-1], &m.UID, &m.Token, &m.ModSeq); err != nil {
			panic(err)
		}
		o.Messages = append(o.Messages, m)
	}
	return o
}

func put(b Box, uid uint32, token Token, flags ...string) Append {
	return Append{b, token, NewFlags(flags...), uid, 9}
}

func set(b Box, m Mode, flag string, uids ...uint32) Store { return Store{b, uids, m, NewFlags(flag)} }

func copyTo(move bool, pairs ...uint32) Copy {
	c := Copy{From: boxA, To: boxB, Move: move, Targets: map[uint32]uint32{}, Validity: 9}
	for i := 0; i < len(pairs); i += 2 {
		c.UIDs = append(c.UIDs, pairs[i])
		c.Targets[pairs[i]] = pairs[i+1]
	}
	return c
}

// deliver is an attempt for the user of all tests.
func deliver(t Token) Deliver { return Deliver{"u", t} }

func check(t *testing.T, name string, h *history, want string) {
	t.Helper()
	got := Check(h.r.History())
	switch {
	case want == "" && len(got) > 0:
		t.Errorf("%s: a good history is refused: %v", name, got)
	case want != "" && len(got) == 0:
		t.Errorf("%s: passes, want %q", name, want)
	case want != "" && !strings.Contains(fmt.Sprint(got), want):
		t.Errorf("%s: %v, want %q", name, got, want)
	}
}

func TestDeliveriesAreCountedPerAttempt(t *testing.T) {
	tests := []struct {
		name string
		h    func(h *history) *history
		want string
	}{
		{"delivered", func(h *history) *history { return h.acked(deliver("x"), see(inbox, 2, 5, "1 x 5")) }, ""},
		{"lost", func(h *history) *history { return h.acked(deliver("x"), see(inbox, 1, 5)) }, "lost: delivered 1 times, 0 are there"},
		{"duplicate", func(h *history) *history { return h.acked(deliver("x"), see(inbox, 3, 6, "1 x 5", "2 x 6")) }, "duplicate"},
		{"identical, both there", func(h *history) *history {
			return h.acked(deliver("x"), deliver("x"), see(inbox, 3, 6, "1 x 5", "2 x 6"))
		}, ""},
		{"identical, one lost", func(h *history) *history { return h.acked(deliver("x"), deliver("x"), see(inbox, 2, 6, "1 x 5")) }, "lost: delivered 2 times, 1 are there"},
		{"no answer, not there", func(h *history) *history { return h.unknown(deliver("x")).acked(see(inbox, 1, 5)) }, ""},
		{"no answer, there", func(h *history) *history { return h.unknown(deliver("x")).acked(see(inbox, 2, 5, "1 x 5")) }, ""},
		{"no answer, there late", func(h *history) *history {
			return h.unknown(deliver("x")).acked(see(inbox, 1, 5), see(inbox, 2, 6, "1 x 6"))
		}, ""},
		{"no answer, there, gone", func(h *history) *history {
			return h.unknown(deliver("x")).acked(see(inbox, 2, 5, "1 x 5"), see(inbox, 2, 5))
		}, "lost: an earlier look showed it"},
		{"no answer, twice", func(h *history) *history {
			return h.unknown(deliver("x")).acked(see(inbox, 3, 6, "1 x 5", "2 x 6"))
		}, "duplicate: at most 1"},
		{"retry recognised", func(h *history) *history {
			return h.unknown(deliver("x")).acked(deliver("x"), see(inbox, 2, 5, "1 x 5"))
		}, ""},
		{"retry not recognised", func(h *history) *history {
			return h.unknown(deliver("x")).acked(deliver("x"), see(inbox, 3, 6, "1 x 5", "2 x 6"))
		}, ""},
		{"retried, three there", func(h *history) *history {
			return h.unknown(deliver("x")).acked(deliver("x"), see(inbox, 4, 7, "1 x 5", "2 x 6", "3 x 7"))
		}, "duplicate: at most 2"},
		{"refused and there", func(h *history) *history { return h.refused(deliver("x")).acked(see(inbox, 2, 5, "1 x 5")) }, "duplicate: at most 0"},
		{"phantom", func(h *history) *history { return h.acked(see(inbox, 2, 5, "1 y 5")) }, "nobody delivered it"},
		{"octets differ", func(h *history) *history {
			o := see(inbox, 2, 5, "1 x 5")
			o.Messages[0].Damage = "octet 12"
			return h.acked(deliver("x"), o)
		}, "octets differ: octet 12"},
		{"flags from nowhere", func(h *history) *history { return h.acked(deliver("x"), see(inbox, 2, 5, `1 x \Seen 5`)) }, "delivered with flags"},
		{"flags later", func(h *history) *history {
			return h.acked(deliver("x"), see(inbox, 2, 5, "1 x 5"), see(inbox, 2, 6, `1 x \Seen 6`))
		}, "nobody changed"},
		{"not looked at", func(h *history) *history { return h.acked(see(inbox, 1, 5), deliver("x")) }, "not looked at after"},
	}
	for _, tc := range tests {
		check(t, tc.name, tc.h(&history{}), tc.want)
	}
}

func TestSummaryCountsRetriesThatDoubled(t *testing.T) {
	h := (&history{}).unknown(deliver("x"), deliver("y")).acked(deliver("x"), deliver("y"), deliver("z"), deliver("z"),
		see(inbox, 9, 9, "1 x 1", "2 x 2", "3 y 3", "4 z 4", "5 z 5"),
		see(inbox, 9, 9, "1 x 1", "2 x 2", "3 y 3", "4 z 4", "5 z 5"), put(boxA, 1, "w")).refused(copyTo(true))
	s := Summarize(h.r.History())
	if s.Doubled != 1 || s.Looks != 2 || s.Deliveries != [3]int{4, 0, 2} || s.Changes != [3]int{1, 1, 0} || s.Acked["append"] != 1 || s.Acked["move"] != 0 {
		t.Fatalf("%+v", s)
	}
}

func TestDeliveryDuringALookMayShowOrNot(t *testing.T) {
	for _, shown := range []bool{false, true} {
		h := &history{}
		look := h.r.Begin()
		attempt := h.r.Begin()
		h.r.End(attempt, Acked, deliver("x"))
		o := see(inbox, 1, 5)
		if shown {
			o = see(inbox, 2, 5, "1 x 5")
		}
		h.r.End(look, Acked, o)
		h.acked(see(inbox, 2, 5, "1 x 5"))
		check(t, fmt.Sprintf("shown %v", shown), h, "")
	}
}

func TestIdentityAndCountersNeverGoBack(t *testing.T) {
	tests := []struct {
		name  string
		looks []Change
		want  string
	}{
		{"steady", []Change{see(inbox, 2, 5, "1 x 5"), see(inbox, 3, 6, "1 x 5", "2 y 6")}, ""},
		{"UID reused", []Change{see(inbox, 2, 5, "1 x 5"), see(inbox, 3, 6, "1 y 6", "2 x 6")}, "UID used twice: it was x before"},
		{"UID below UIDNEXT", []Change{see(inbox, 5, 5, "4 x 5"), see(inbox, 5, 6, "3 y 6", "4 x 5")}, "new message below UIDNEXT 5"},
		{"UIDNEXT back", []Change{see(inbox, 9, 5, "1 x 5"), see(inbox, 8, 6, "1 x 5")}, "UIDNEXT is 8, must be at least 9"},
		{"HIGHESTMODSEQ back", []Change{see(inbox, 2, 5, "1 x 5"), see(inbox, 3, 4, "1 x 5", "2 y 4")}, "HIGHESTMODSEQ fell from 5 to 4"},
		{"MODSEQ back", []Change{see(inbox, 2, 5, "1 x 5"), see(inbox, 3, 6, "1 x 4", "2 y 6")}, "MODSEQ fell from 5 to 4"},
		{"listed twice", []Change{see(inbox, 3, 6, "1 x 5", "1 x 5", "2 y 6")}, "listed twice"},
	}
	for _, tc := range tests {
		h := (&history{}).unknown(deliver("x"), deliver("y")).acked(tc.looks...)
		check(t, tc.name, h, tc.want)
	}
	o := see(inbox, 2, 5, "1 x 5")
	o.Validity = 10
	check(t, "UIDVALIDITY changed", (&history{}).acked(deliver("x"), see(inbox, 2, 5, "1 x 5"), o), "UIDVALIDITY is 10, was 9")
}

func TestAcknowledgedChangesAreThereOnce(t *testing.T) {
	start := func() *history { return (&history{}).acked(put(boxA, 1, "x"), put(boxA, 2, "y", `\Seen`)) }
	tests := []struct {
		name string
		h    *history
		want string
	}{
		{"appended", start().acked(see(boxA, 3, 6, "1 x 5", `2 y \Seen 6`)), ""},
		{"append lost", start().acked(see(boxA, 3, 6, "1 x 5")), "UID 2 (y): lost"},
		{"append twice", start().acked(see(boxA, 4, 7, "1 x 5", `2 y \Seen 6`, `3 y \Seen 7`)), "nobody put it there"},
		{"append refused, there", start().refused(put(boxA, 3, "z")).acked(see(boxA, 4, 7, "1 x 5", `2 y \Seen 6`, "3 z 7")), "nobody put it there"},
		{"initial flag lost", start().acked(see(boxA, 3, 6, "1 x 5", "2 y 6")), `must have "\\seen"`},
		{"UIDNEXT below an acknowledged UID", start().acked(see(boxA, 2, 6, "1 x 5", `2 y \Seen 6`)), "UIDNEXT is 2"},
		{"UID acknowledged twice", start().acked(put(boxA, 2, "z"), see(boxA, 3, 6, "1 x 5", "2 z 7")), "UID used twice"},
		{"UID acknowledged below UIDNEXT", start().acked(see(boxA, 9, 6, "1 x 5", `2 y \Seen 6`), put(boxA, 5, "z"), see(boxA, 9, 7, "1 x 5", `2 y \Seen 6`, "5 z 7")), "below UIDNEXT 9"},
		{"flag stored", start().acked(set(boxA, Add, `\Flagged`, 1, 2), see(boxA, 3, 7, `1 x \Flagged 7`, `2 y \Seen \Flagged 7`)), ""},
		{"flag lost", start().acked(set(boxA, Add, `\Flagged`, 1, 2), see(boxA, 3, 7, `1 x \Flagged 7`, `2 y \Seen 6`)), "UID 2 (y): has flags"},
		{"flag removed", start().acked(set(boxA, Remove, `\Seen`, 1, 2), see(boxA, 3, 7, "1 x 5", "2 y 7")), ""},
		{"flag back", start().acked(set(boxA, Replace, `k`, 2), see(boxA, 3, 7, "1 x 5", "2 y k 7"), see(boxA, 3, 8, "1 x 5", `2 y \Seen 8`)), "must have"},
		{"flag under the same MODSEQ", start().acked(see(boxA, 3, 6, "1 x 5", `2 y \Seen 6`), set(boxA, Replace, `k`, 2), see(boxA, 3, 6, "1 x 5", "2 y k 6")), "under one MODSEQ"},
		{"copied", start().acked(copyTo(false, 2, 7), see(boxA, 3, 6, "1 x 5", `2 y \Seen 6`), see(boxB, 8, 7, `7 y \Seen 7`)), ""},
		{"copy lost", start().acked(copyTo(false, 2, 7), see(boxA, 3, 6, "1 x 5", `2 y \Seen 6`), see(boxB, 8, 7)), "u B UID 7 (y): lost"},
		{"copy left one out", start().acked(Copy{From: boxA, To: boxB, UIDs: []uint32{1, 2}, Targets: map[uint32]uint32{1: 7}, Validity: 9}, see(boxA, 3, 6, "1 x 5", `2 y \Seen 6`), see(boxB, 8, 7, "7 x 7")), "left it out"},
		{"moved", start().acked(copyTo(true, 1, 7, 2, 8), see(boxA, 3, 7), see(boxB, 9, 7, "7 x 7", `8 y \Seen 7`)), ""},
		{"move kept the source", start().acked(copyTo(true, 1, 7), see(boxA, 3, 7, "1 x 5", `2 y \Seen 6`), see(boxB, 8, 7, "7 x 7")), "back after it was removed"},
		{"expunged", start().acked(set(boxA, Add, Deleted, 1), Expunge{boxA, []uint32{1, 2}}, see(boxA, 3, 8, `2 y \Seen 6`)), ""},
		{"expunged too much", start().acked(set(boxA, Add, Deleted, 1), Expunge{boxA, []uint32{1, 2}}, see(boxA, 3, 8)), "UID 2 (y): lost"},
		{"expunge lost", start().acked(set(boxA, Add, Deleted, 1), Expunge{boxA, []uint32{1}}, see(boxA, 3, 8, `1 x \Deleted 7`, `2 y \Seen 6`)), "back after it was removed"},
		{"changed what is not there", start().acked(set(boxA, Add, "k", 5), see(boxA, 3, 6, "1 x 5", `2 y \Seen 6`)), "malformed history"},
		{"not looked at", start(), "not looked at after"},
		{"a look that failed to see the target", start().acked(copyTo(false, 2, 7), see(boxA, 3, 6, "1 x 5", `2 y \Seen 6`)), "u B: malformed history: not looked at"},
	}
	for _, tc := range tests {
		check(t, tc.name, tc.h, tc.want)
	}
}

func TestChangeWithoutAnswerIsWhollyThereOrNot(t *testing.T) {
	const a1, a2 = "1 x 5", "2 y 6"
	start := func() *history { return (&history{}).acked(put(boxA, 1, "x"), put(boxA, 2, "y")) }
	b := func(o ...string) Observe { return see(boxB, 20, 20, o...) }
	a := func(o ...string) Observe { return see(boxA, 20, 20, o...) }
	tests := []struct {
		name string
		h    *history
		want string
	}{
		{"append, not there", start().unknown(put(boxA, 0, "z")).acked(a(a1, a2)), ""},
		{"append, there", start().unknown(put(boxA, 0, "z", "k")).acked(see(boxA, 4, 7, a1, a2, "3 z k 7")), ""},
		{"append, late", start().unknown(put(boxA, 0, "z")).acked(see(boxA, 3, 6, a1, a2), see(boxA, 4, 7, a1, a2, "3 z 7")), ""},
		{"append, there behind a later one", start().unknown(put(boxA, 0, "z")).acked(put(boxA, 4, "w"), see(boxA, 5, 8, a1, a2, "3 z 7", "4 w 8")), ""},
		{"append, without its flags", start().unknown(put(boxA, 0, "z", "k")).acked(see(boxA, 4, 7, a1, a2, "3 z 7")), "must have"},
		{"append, twice", start().unknown(put(boxA, 0, "z")).acked(see(boxA, 5, 8, a1, a2, "3 z 7", "4 z 8")), "nobody put it there"},
		{"append, there and gone", start().unknown(put(boxA, 0, "z")).acked(see(boxA, 4, 7, a1, a2, "3 z 7"), see(boxA, 4, 7, a1, a2)), "UID 3 (z): lost"},
		{"append, twice at different times", start().unknown(put(boxA, 0, "z")).acked(see(boxA, 4, 7, a1, a2, "3 z 7"), see(boxA, 5, 8, a1, a2, "3 z 7", "4 z 8")), "nobody put it there"},
		{"store, not there", start().unknown(set(boxA, Add, "k", 1, 2)).acked(a(a1, a2)), ""},
		{"store, there", start().unknown(set(boxA, Add, "k", 1, 2)).acked(a("1 x k 7", "2 y k 7")), ""},
		{"store, half", start().unknown(set(boxA, Add, "k", 1, 2)).acked(a("1 x k 7", a2)), "has flags"},
		{"store, there and back", start().unknown(set(boxA, Add, "k", 1)).acked(a("1 x k 7", a2), a("1 x 8", a2)), "must have"},
		{"store without effect", start().unknown(set(boxA, Remove, "k", 1)).acked(a(a1, a2)), ""},
		{"store, another flag", start().unknown(set(boxA, Add, "k", 1)).acked(a("1 x j 7", a2)), "has flags"},
		{"copy, not there", start().unknown(copyTo(false, 1, 0, 2, 0)).acked(a(a1, a2), b()), ""},
		{"copy, there", start().unknown(copyTo(false, 1, 0, 2, 0)).acked(a(a1, a2), b("5 x 7", "6 y 7")), ""},
		{"copy, half", start().unknown(copyTo(false, 1, 0, 2, 0)).acked(a(a1, a2), b("5 x 7")), "nobody put it there"},
		{"copy, twice", start().unknown(copyTo(false, 1, 0)).acked(a(a1, a2), b("5 x 7", "6 x 8")), "nobody put it there"},
		{"move, not there", start().unknown(copyTo(true, 1, 0)).acked(a(a1, a2), b()), ""},
		{"move, source seen first", start().unknown(copyTo(true, 1, 0)).acked(a(a2), b("5 x 7")), ""},
		{"move, target seen first", start().unknown(copyTo(true, 1, 0)).acked(b("5 x 7"), a(a2)), ""},
		{"move, between the looks", start().unknown(copyTo(true, 1, 0)).acked(a(a1, a2), b("5 x 7"), a(a2)), ""},
		{"move, in neither", start().unknown(copyTo(true, 1, 0)).acked(a(a2), b()), "lost: it was moved here"},
		{"move, in both", start().unknown(copyTo(true, 1, 0)).acked(b("5 x 7"), a(a1, a2)), "back after it was removed"},
		{"move, half", start().unknown(copyTo(true, 1, 0, 2, 0)).acked(a(a2), b("5 x 7")), "lost"},
		{"expunge, not there", start().acked(set(boxA, Add, Deleted, 1)).unknown(Expunge{boxA, []uint32{1}}).acked(a(`1 x \Deleted 7`, a2)), ""},
		{"expunge, there", start().acked(set(boxA, Add, Deleted, 1)).unknown(Expunge{boxA, []uint32{1}}).acked(a(a2)), ""},
		{"expunge, late", start().acked(set(boxA, Add, Deleted, 1)).unknown(Expunge{boxA, []uint32{1}}).acked(a(`1 x \Deleted 7`, a2), a(a2)), ""},
		{"expunge, there and back", start().acked(set(boxA, Add, Deleted, 1)).unknown(Expunge{boxA, []uint32{1}}).acked(a(a2), a(`1 x \Deleted 7`, a2)), "back after it was removed"},
		{"expunge, half", start().acked(set(boxA, Add, Deleted, 1, 2)).unknown(Expunge{boxA, []uint32{1, 2}}).acked(a(`1 x \Deleted 7`)), "lost"},
		{"touched again", start().unknown(set(boxA, Add, "k", 1)).acked(set(boxA, Add, "j", 1), a(a1, a2)), "malformed history"},
	}
	for _, tc := range tests {
		check(t, tc.name, tc.h, tc.want)
	}
}

// TestEveryDefectInARandomHistoryIsFound runs a model store that keeps its word,
// then spoils its last looks in one way at a time.
func TestEveryDefectInARandomHistoryIsFound(t *testing.T) {
	for seed := range uint64(200) {
		s := newModel(seed)
		s.run(200)
		if got := Check(s.r.History()); len(got) > 0 {
			t.Fatalf("seed %d: a good history is refused: %v", seed, got)
		}
		for name, spoil := range defects {
			h := s.r.History()
			if s.spoilLook(h, spoil) && len(Check(h)) == 0 {
				t.Fatalf("seed %d: %s is not found", seed, name)
			}
		}
	}
}

// defects spoil the i-th message of a look.
var defects = map[string]func(o *Observe, i int){
	"a lost message": func(o *Observe, i int) { o.Messages = slices.Delete(o.Messages, i, i+1) },
	"a duplicate": func(o *Observe, i int) {
		m := o.Messages[i]
		m.UID = o.Next
		o.Next++
		o.Messages = append(o.Messages, m)
	},
	"a changed flag": func(o *Observe, i int) {
		o.Messages[i].Flags = o.Messages[i].Flags.Apply(Add, "spoilt")
		o.Messages[i].ModSeq += 1000
	},
	"another message under the UID": func(o *Observe, i int) { o.Messages[i].Token += "'" },
	"a MODSEQ that fell":            func(o *Observe, i int) { o.Messages[i].ModSeq = 0 },
}

// spoilLook spoils one of the last looks, in a message that no lost answer is about.
func (m *model) spoilLook(h []Event, spoil func(o *Observe, i int)) bool {
	for i := len(h) - 1; i > len(h)-4; i-- {
		o := h[i].Change.(Observe)
		for _, n := range m.rng.Perm(len(o.Messages)) {
			if m.closed[o.Messages[n].Token] {
				continue
			}
			o.Messages = slices.Clone(o.Messages)
			spoil(&o, n)
			h[i].Change = o
			return true
		}
	}
	return false
}
