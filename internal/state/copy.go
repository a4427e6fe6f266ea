package state

import (
	"math/bits"

	"github.com/tandemail/tandemail/internal/mail"
	"github.com/tandemail/tandemail/internal/state/operation"
)

// copyMessages is COPY, and MOVE with move set: all or none, one MODSEQ for both ends.
func (t *tx) copyMessages(op *operation.Copy, move bool) (Code, mail.Result) {
	from, to := t.box(mail.MailboxID(op.From)), t.box(mail.MailboxID(op.To))
	if from == nil || to == nil {
		return NoMailbox, mail.Result{}
	}
	limit, need := mail.MaxCopy, mail.MayRead
	if move {
		limit, need = mail.MaxTouched, mail.MayRead|mail.MayDeleteMail|mail.MayExpunge
	}
	for _, code := range []Code{t.need(from, need), t.need(to, mail.MayInsert)} {
		if code != Done {
			return code, mail.Result{}
		}
	}
	uids := t.existing(from, uidSet(op.Uids), limit)
	if len(uids) > limit {
		return Limit, mail.Result{}
	}
	return t.transfer(from, to, uids, move)
}

// source is a message to be copied.
type source struct {
	uid   mail.UID
	flags mail.Flags
	words mail.Keywords // places in the target's table
}

// transfer adds the messages uids of from to to, in order, and with move set
// takes them out of from. Nothing is changed by a refusal.
func (t *tx) transfer(from, to *box, uids []mail.UID, move bool) (Code, mail.Result) {
	res := mail.Result{Mailbox: to.id, UIDValidity: to.uidvalidity}
	if len(uids) == 0 {
		return Done, res
	}
	sources, table, ok := t.sources(from, to, uids)
	if !ok {
		return Limit, mail.Result{}
	}
	if uint64(to.uidnext)+uint64(len(uids)) > maxUID {
		return Limit, mail.Result{}
	}
	// A move needs no room, even when the account is over its quota already.
	if !move && !t.acc.fits(int64(len(uids)), t.octetsOf(from, uids)) {
		return OverQuota, mail.Result{}
	}
	res.ModSeq = t.touch(to)
	to.growKeywords(table)
	for _, s := range sources {
		octets := t.get(messageKey(t.key, t.id, from.id, s.uid))
		m, err := ownMessage(octets, from.id, s.uid)
		if err != nil {
			t.fail(storeErr(err, "message in", from.id))
			return Done, res
		}
		if !move {
			t.reuse(m.Extents)
		}
		res.UIDs = res.UIDs.Add(t.insert(to, &m, s.flags, s.words))
		res.Source = res.Source.Add(s.uid)
	}
	t.carrySeen(from, to, uids, res.UIDs[0].Lo)
	if move {
		t.remove(from, uids, false)
	}
	return Done, res
}

// sources reads the flags of uids and translates their keywords into the table
// of to, which is returned grown; false when it is full.
func (t *tx) sources(from, to *box, uids []mail.UID) (list []source, table []string, ok bool) {
	words := translator{table: t.keywords(to), names: t.keywords(from)}
	may, mayWords := t.rights(to).Settable()
	if t.foreign() {
		may |= mail.Seen // of the owner: it goes with the message
	}
	list = make([]source, 0, len(uids))
	for _, uid := range uids {
		no, bit := pageOf(uid)
		f, k := t.pageAt(from, no).flags(bit)
		s := source{uid: uid, flags: f & may}
		if !mayWords {
			k = mail.Keywords{}
		}
		if s.words, ok = words.translate(k); !ok {
			return nil, nil, false
		}
		list = append(list, s)
	}
	return list, words.table, true
}

// translator finds the keywords of one table in another, which grows by those it lacks.
type translator struct {
	names, table []string
	known        [mail.MaxKeywords]int // place in table + 1
}

// translate gives the places in table of those at places k of names; false when it
// is full.
func (w *translator) translate(k mail.Keywords) (out mail.Keywords, ok bool) {
	for word := range k {
		for rest := k[word]; rest != 0; rest &= rest - 1 {
			place := word*64 + bits.TrailingZeros64(rest)
			if w.known[place] == 0 && !w.find(place) {
				return out, false
			}
			out = out.With(w.known[place] - 1)
		}
	}
	return out, true
}

func (w *translator) find(place int) bool {
	if place >= len(w.names) {
		return false
	}
	k, grown, ok := places(w.table, w.names[place:place+1])
	for word := range k {
		if k[word] != 0 {
			w.known[place] = word*64 + bits.TrailingZeros64(k[word]) + 1
		}
	}
	w.table = grown
	return ok
}

// octetsOf adds sizes up, if there is a limit to hold them against.
func (t *tx) octetsOf(b *box, uids []mail.UID) (sum int64) {
	if t.acc.quota.LimitOctets == 0 {
		return 0
	}
	for _, uid := range uids {
		m, err := decodeMessage(t.get(messageKey(t.key, t.id, b.id, uid)))
		if err != nil {
			t.fail(storeErr(err, "message in", b.id))
			return 0
		}
		sum += m.Size
	}
	return sum
}
