package ledger

import (
	"fmt"
	"maps"
	"slices"
)

// instance is a message that has to be in a mailbox.
type instance struct {
	token Token
	flags Flags
}

// seen is how a message looked the last time.
type seen struct {
	flags  Flags
	modseq uint64
}

// box is what is known of a mailbox at one point of the history.
type box struct {
	name     Box
	mail     map[uint32]*instance // has to be there, UID known
	unplaced []*instance          // has to be there; a look will tell the UID
	tokens   map[uint32]Token     // every UID ever told
	last     map[uint32]seen      // as of the last look
	validity uint32               // 0 before it was told
	floor    uint32               // UIDNEXT of the last look: what a look shows for the first time is not below
	top      uint32               // above every UID and no less than every UIDNEXT told
	modseq   uint64               // the largest HIGHESTMODSEQ told
	changed  int64                // when the last change ended
	looked   int64                // when the last look began
}

func newBox(name Box) *box {
	return &box{name: name, mail: map[uint32]*instance{}, tokens: map[uint32]Token{}, last: map[uint32]seen{}}
}

// uids returns the UIDs that have to be there, ascending.
func (b *box) uids() []uint32 { return slices.Sorted(maps.Keys(b.mail)) }

// told notes that the store said: this UID is that message. It returns what is
// wrong with it. A UID told for the first time must not be below least.
func (b *box) told(uid uint32, token Token, least uint32) string {
	old, known := b.tokens[uid]
	b.tokens[uid] = token
	b.top = max(b.top, uid+1)
	switch {
	case uid == 0:
		return "has UID 0"
	case known && old != token:
		return fmt.Sprintf("UID used twice: it was %s before", old)
	case !known && uid < least:
		return fmt.Sprintf("new message below UIDNEXT %d, which was told before", least)
	}
	return ""
}

// checkValidity notes a UIDVALIDITY and returns what is wrong with it.
func (b *box) checkValidity(v uint32) string {
	if b.validity == 0 {
		b.validity = v
	}
	if v == 0 || v != b.validity {
		return fmt.Sprintf("UIDVALIDITY is %d, was %d", v, b.validity)
	}
	return ""
}

// checkCounters checks what must never fall.
func (b *box) checkCounters(o Observe) []string {
	var wrong []string
	if w := b.checkValidity(o.Validity); w != "" {
		wrong = append(wrong, w)
	}
	if o.Next < b.top {
		wrong = append(wrong, fmt.Sprintf("UIDNEXT is %d, must be at least %d", o.Next, b.top))
	}
	if o.HighestModSeq < b.modseq {
		wrong = append(wrong, fmt.Sprintf("HIGHESTMODSEQ fell from %d to %d", b.modseq, o.HighestModSeq))
	}
	b.modseq = max(b.modseq, o.HighestModSeq)
	return wrong
}

// checkMessage checks what holds for every message whatever happened to it.
func (b *box) checkMessage(m Message) []string {
	var wrong []string
	if m.Damage != "" {
		wrong = append(wrong, "octets differ: "+m.Damage)
	}
	if w := b.told(m.UID, m.Token, b.floor); w != "" {
		wrong = append(wrong, w)
	}
	old, known := b.last[m.UID]
	switch {
	case known && m.ModSeq < old.modseq:
		wrong = append(wrong, fmt.Sprintf("MODSEQ fell from %d to %d", old.modseq, m.ModSeq))
	case known && m.ModSeq == old.modseq && m.Flags != old.flags:
		wrong = append(wrong, fmt.Sprintf("flags went from %q to %q under one MODSEQ %d", old.flags, m.Flags, m.ModSeq))
	}
	return wrong
}

// remember keeps how the messages look now, for the next look.
func (b *box) remember(o Observe) {
	clear(b.last)
	for _, m := range o.Messages {
		b.last[m.UID] = seen{m.Flags, m.ModSeq}
	}
	b.floor = max(b.floor, o.Next)
	b.top = max(b.top, o.Next)
}
