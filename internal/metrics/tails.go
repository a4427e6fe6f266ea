package metrics

import "github.com/tandemail/tandemail/internal/tail"

// tails are what forced failovers left on this machine's disks.
type tails struct {
	messages *family

	read func() []*tail.Report
}

func newTails(t *table, s Sources) *tails {
	return &tails{
		messages: t.gauge("tail_messages", "Messages that forced failovers of the store left on this machine's disks, by what became of them; absent without any tail.", "store", "result"),
		read:     s.Tails,
	}
}

func (t *tails) collect(o out) {
	if t.read == nil {
		return
	}
	sums := map[string]tail.Counts{}
	for _, r := range t.read() {
		c := sums[string(r.Store)]
		c.Found += r.Found
		c.Delivered += r.Delivered
		c.Had += r.Had
		c.Gone += r.Gone
		c.Left += r.Left
		sums[string(r.Store)] = c
	}
	for store, c := range sums {
		for outcome, n := range map[string]int{
			"found": c.Found, tail.OutcomeDelivered: c.Delivered, tail.OutcomeHad: c.Had, tail.OutcomeGone: c.Gone, tail.OutcomeLeft: c.Left,
		} {
			o.set(t.messages, float64(n), store, outcome)
		}
	}
}
