package state

import (
	"slices"

	"github.com/tandemail/tandemail/internal/mail"
)

// maxMarks bounds the deliveries of equal octets that are unsettled at one time.
// The oldest gives way: then a retry of it is stored twice, never lost.
const maxMarks = 16

// contentMark says that a delivery of certain octets is not settled: the MTA may
// not have seen our reply and may send it again on another connection.
type contentMark struct {
	id      deliveryID
	inDoubt bool
	since   mail.Instant // of the delivery
}

func contentKey(dst key, a mail.AccountID, content []byte) key {
	return accountKey(dst, a, kindContent).octets(content...)
}

func decodeMarks(b []byte) ([]contentMark, error) {
	var r reader
	r.start(b)
	n := r.count(19)
	marks := make([]contentMark, 0, n+1) // most callers add one
	for range n {
		marks = append(marks, contentMark{
			id:      deliveryID{r.id(), r.uint32()},
			inDoubt: r.flag(),
			since:   mail.Instant(r.int()),
		})
	}
	return marks, r.finish("content")
}

// marks returns the unsettled deliveries of these octets; none without a key.
func (t *tx) marks(content []byte) []contentMark {
	if len(content) == 0 {
		return nil
	}
	b := t.get(contentKey(t.key, t.id, content))
	if b == nil {
		return nil
	}
	marks, err := decodeMarks(b)
	if err != nil {
		t.fail(err)
	}
	return marks
}

func (t *tx) setMarks(content []byte, marks []contentMark) {
	k := contentKey(t.key, t.id, content)
	if len(marks) == 0 {
		t.delete(k)
		return
	}
	t.buf.start()
	t.buf.uint(uint64(len(marks)))
	for _, m := range marks {
		t.buf.raw(m.id.transaction[:])
		t.buf.uint(uint64(m.id.number))
		if m.inDoubt {
			t.buf.octet(1)
		} else {
			t.buf.octet(0)
		}
		t.buf.int(int64(m.since))
	}
	t.set(k, t.buf)
}

// addMark notes that the delivery of these octets awaits the MTA's next word.
func (t *tx) addMark(marks []contentMark, content []byte, id deliveryID) {
	marks = append(marks, contentMark{id: id, since: t.now})
	if len(marks) > maxMarks {
		marks = marks[len(marks)-maxMarks:]
	}
	t.setMarks(content, marks)
}

// inDoubt returns the record of an earlier delivery of these octets that is in
// doubt. The doubt passes to the delivery at hand: if its reply is lost as well,
// the next retry finds it; a copy on another connection does not.
func (t *tx) inDoubt(marks []contentMark, content []byte, id deliveryID) *delivery {
	for i, m := range marks {
		if !m.inDoubt && m.since+DoubtAfter > t.now || m.since+DoubtAge <= t.now {
			continue
		}
		b := t.get(deliveryKey(t.key, t.id, m.id))
		if b == nil {
			continue
		}
		d, err := decodeDelivery(b)
		if err != nil {
			t.fail(err)
			return nil
		}
		marks[i] = contentMark{id: id, since: t.now}
		t.setMarks(content, marks)
		return &d
	}
	return nil
}

// settleMark forgets a delivery's mark, or calls it in doubt.
func (t *tx) settleMark(content [32]byte, id deliveryID, inDoubt bool) {
	marks := t.marks(content[:])
	i := slices.IndexFunc(marks, func(m contentMark) bool { return m.id == id })
	switch {
	case i < 0 || inDoubt && marks[i].inDoubt:
		return
	case inDoubt:
		marks[i].inDoubt = true
	default:
		marks = slices.Delete(marks, i, i+1)
	}
	t.setMarks(content[:], marks)
}
