package session

import (
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/tandemail/tandemail/internal/fields"
	"github.com/tandemail/tandemail/internal/mail"
)

// Delta is how a forwarded Unit or Done changes the [Token]. Fields that are not
// set leave theirs alone. The zero value changes nothing.
type Delta struct {
	Enabled   *Features
	Selected  *Selected    // this mailbox is selected now
	Closed    bool         // none is selected now
	Announced *Announced   // what is new of the selected one
	Saved     *mail.UIDSet // "$"
	IdleTag   *string      // "" : IDLE has ended
	Fetched   *mail.UID    // FETCH has answered for messages up to here
	Contexts  []ContextChange
	Notify    []byte // this NOTIFY command counts now
	NotifySeq *mail.ModSeq
	Followed  []Followed // all of them now, of this NOTIFY command or the last; none: as before
}

// The bits that say which fields follow, in this order but for the owner.
const (
	hasEnabled = 1 << iota
	hasSelected
	hasClosed
	hasAnnounced
	hasSaved
	hasIdleTag
	hasFetched
	hasContexts
	hasNotify
	hasNotifySeq
	hasOwner // before Selected, which is set
	hasFollowed

	allFields = 1<<iota - 1
)

// IsZero reports whether d changes nothing.
func (d *Delta) IsZero() bool { return d.fields() == 0 }

func (d *Delta) fields() (bits uint64) {
	for i, set := range [...]bool{
		d.Enabled != nil, d.Selected != nil, d.Closed, d.Announced != nil, d.Saved != nil, d.IdleTag != nil,
		d.Fetched != nil, len(d.Contexts) > 0, len(d.Notify) > 0, d.NotifySeq != nil, d.Selected != nil && !d.Selected.Owner.IsZero(),
		len(d.Followed) > 0,
	} {
		if set {
			bits |= 1 << i
		}
	}
	return bits
}

// Append appends the encoding of d; nothing if it changes nothing.
func (d *Delta) Append(dst []byte) []byte {
	bits := d.fields()
	if bits == 0 {
		return dst
	}
	dst = binary.AppendUvarint(dst, bits)
	if d.Enabled != nil {
		dst = append(dst, byte(*d.Enabled))
	}
	if d.Selected != nil {
		if bits&hasOwner != 0 {
			dst = d.Selected.appendOwner(dst)
		}
		dst = d.Selected.append(dst)
	}
	if d.Announced != nil {
		dst = d.Announced.append(dst)
	}
	if d.Saved != nil {
		dst = fields.AppendSet(dst, *d.Saved)
	}
	if d.IdleTag != nil {
		dst = fields.AppendString(dst, *d.IdleTag)
	}
	if d.Fetched != nil {
		dst = binary.AppendUvarint(dst, uint64(*d.Fetched))
	}
	if len(d.Contexts) > 0 {
		dst = appendChanges(dst, d.Contexts)
	}
	if len(d.Notify) > 0 {
		dst = fields.AppendString(dst, d.Notify)
	}
	if d.NotifySeq != nil {
		dst = binary.AppendUvarint(dst, uint64(*d.NotifySeq))
	}
	if len(d.Followed) > 0 {
		dst = appendFollowed(dst, d.Followed)
	}
	return dst
}

// DecodeDelta is the inverse of Append. ErrMalformed.
func DecodeDelta(b []byte) (Delta, error) {
	var out Delta
	if len(b) == 0 {
		return out, nil
	}
	d := newDecoder(b)
	bits := d.Uint(allFields)
	if bits == 0 {
		d.Fail()
	}
	if bits&hasEnabled != 0 {
		f := Features(d.Uint(uint64(allFeatures)))
		out.Enabled = &f
	}
	if bits&hasSelected != 0 {
		out.Selected = d.selected(bits&hasOwner != 0)
	} else if bits&hasOwner != 0 {
		d.Fail()
	}
	out.Closed = bits&hasClosed != 0
	if bits&hasAnnounced != 0 {
		a := d.announced()
		out.Announced = &a
	}
	if bits&hasSaved != 0 {
		s := d.set()
		out.Saved = &s
	}
	if bits&hasIdleTag != 0 {
		s := d.String(maxName)
		out.IdleTag = &s
	}
	if bits&hasFetched != 0 {
		u := mail.UID(d.U32())
		out.Fetched = &u
	}
	if bits&hasContexts != 0 {
		if out.Contexts = d.changes(); len(out.Contexts) == 0 {
			d.Fail()
		}
	}
	if bits&hasNotify != 0 {
		if out.Notify = d.Octets(MaxNotify); len(out.Notify) == 0 {
			d.Fail()
		}
	}
	if bits&hasNotifySeq != 0 {
		m := mail.ModSeq(d.u63())
		out.NotifySeq = &m
	}
	if bits&hasFollowed != 0 {
		if out.Followed = d.followed(); len(out.Followed) == 0 {
			d.Fail()
		}
	}
	if err := d.End("delta"); err != nil {
		return Delta{}, err
	}
	return out, nil
}

// Apply changes t as a forwarded delta says. The error means that d does not
// follow from what was forwarded before: the session cannot be resumed.
func (t *Token) Apply(d Delta) error {
	if d.Enabled != nil {
		t.Enabled = *d.Enabled
	}
	if d.Closed {
		t.Selected, t.Saved, t.Contexts = nil, nil, nil
	}
	if d.Selected != nil {
		s := *d.Selected
		t.Selected, t.Saved, t.Contexts = &s, nil, nil
	}
	if d.Announced != nil {
		if t.Selected == nil {
			return fmt.Errorf("apply delta: it tells of a mailbox, and none is selected: %w", ErrMalformed)
		}
		t.Selected.Announced = *d.Announced
	}
	if d.Saved != nil {
		t.Saved = *d.Saved
	}
	if d.IdleTag != nil {
		t.IdleTag = *d.IdleTag
	}
	if d.Fetched != nil {
		t.Fetch = Progress{Whole: *d.Fetched}
	}
	if len(d.Notify) > 0 {
		t.Notify, t.Followed = slices.Clone(d.Notify), nil
	}
	if len(d.Followed) > 0 {
		t.Followed = slices.Clone(d.Followed)
	}
	if d.NotifySeq != nil {
		t.NotifySeq = *d.NotifySeq
	}
	for _, c := range d.Contexts {
		if err := t.applyContext(c); err != nil {
			return err
		}
	}
	return nil
}

// Merge adds what d changes to e, which was forwarded before it in one unit.
func (e *Delta) Merge(d Delta) {
	if d.Enabled != nil {
		e.Enabled = d.Enabled
	}
	if d.Closed || d.Selected != nil {
		e.Closed, e.Selected, e.Announced, e.Saved = d.Closed, d.Selected, nil, nil
		e.Contexts = nil
	}
	if d.Announced != nil {
		e.Announced = d.Announced
	}
	if d.Saved != nil {
		e.Saved = d.Saved
	}
	if d.IdleTag != nil {
		e.IdleTag = d.IdleTag
	}
	if d.Fetched != nil {
		e.Fetched = d.Fetched
	}
	e.Contexts = append(e.Contexts, d.Contexts...)
	if len(d.Notify) > 0 {
		e.Notify, e.Followed = d.Notify, nil
	}
	if len(d.Followed) > 0 {
		e.Followed = d.Followed
	}
	if d.NotifySeq != nil {
		e.NotifySeq = d.NotifySeq
	}
}
