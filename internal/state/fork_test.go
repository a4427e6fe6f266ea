package state

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/tandemail/tandemail/internal/mail"
)

// TestForcedFailoversToStaleCopiesGiveNoNumberTwice takes a store through forced
// failovers to copies from any time, of which many followed no earlier one.
func TestForcedFailoversToStaleCopiesGiveNoNumberTwice(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h := newHarness(t)
		a := h.account(mail.AccountID{1})
		copies := []*MapKV{h.kv.Snapshot()}
		forks := uint64(0)
		given := map[any]bool{}
		give := func(number any) {
			if given[number] {
				t.Fatalf("%T %v given twice, after %d forks", number, number, forks)
			}
			given[number] = true
		}
		type uid struct {
			validity mail.UIDValidity
			uid      mail.UID
		}
		for range rapid.IntRange(1, 40).Draw(t, "steps") {
			h.now = h.now.Add(time.Duration(rapid.IntRange(0, 3).Draw(t, "seconds")) * time.Second)
			switch rapid.IntRange(0, 4).Draw(t, "step") {
			case 0:
				copies = append(copies, h.kv.Snapshot())
			case 1:
				forks++
				h.kv = rapid.SampledFrom(copies).Draw(t, "copy").Snapshot()
				h.apply(h.build.Fork(mail.Actor{}, forks))
				if rapid.Bool().Draw(t, "again") { // its first master never served
					h.apply(h.build.Fork(mail.Actor{}, forks))
				}
			case 2:
				res := h.do(a, mail.Create{Name: "x"})
				give(res.UIDValidity)
				give(res.ModSeq)
				h.do(a, mail.Delete{Name: "x"})
			default:
				res := h.add(a, "INBOX", 0)
				give(uid{res.UIDValidity, res.UIDs[0].Lo})
				give(res.ModSeq)
			}
		}
		h.audit()
	})
}
