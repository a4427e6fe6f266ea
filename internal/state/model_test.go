package state

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/tandemail/tandemail/internal/mail"
)

// model is the mail model said again as simply as possible: slices and maps,
// nothing incremental. The state machine has to agree with it.
type model struct {
	modseq  mail.ModSeq
	boxes   map[string]*modelBox
	subs    map[string]bool
	limit   int64 // of messages
	hidden  []*modelBox
	entries map[string]string // of the account
	keys    map[mail.MailboxID]string
	events  []string
}

type modelBox struct {
	id       mail.MailboxID
	validity mail.UIDValidity
	next     mail.UID
	highest  mail.ModSeq
	messages []modelMessage
	tombs    []string
	gone     []modelMessage // expunged, by UID
	grant    mail.Rights    // of the other user
	entries  map[string]string
}

type modelMessage struct {
	uid     mail.UID
	flags   mail.Flags
	words   string // sorted
	changed mail.ModSeq
	size    int64
	seen    bool        // by the other user
	marked  mail.ModSeq // when that changed last
}

func (m *model) used() (n int64) {
	for _, b := range m.boxes {
		n += int64(len(b.messages))
	}
	return n
}

func (m *model) names() []string {
	var list []string
	for n := range m.boxes {
		list = append(list, n)
	}
	slices.Sort(list)
	return list
}

// TestStateAgreesWithModel runs random operations on both and compares all that
// a reader can see; then the store is audited, replayed and replayed from the middle.
func TestStateAgreesWithModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		h := newHarness(rt)
		w := newWalk(rt, h)
		n := rapid.IntRange(1, 60).Draw(rt, "operations")
		cut := rapid.IntRange(0, n).Draw(rt, "snapshot after")
		middle, done := h.kv.Snapshot(), len(h.log)
		for i := range n {
			if i == cut {
				middle, done = h.kv.Snapshot(), len(h.log)
			}
			w.step()
			w.compare()
		}
		h.audit()
		sum := h.digest()
		for _, again := range []*MapKV{h.replay(NewMapKV(), h.log), h.replay(middle, h.log[done:])} {
			got, err := StoreDigest(again)
			if err != nil || got != sum {
				rt.Fatalf("replayed state has digest %x, %v; want %x", got, err, sum)
			}
		}
	})
}

type walk struct {
	*rapid.T
	h *harness
	a mail.AccountID
	m *model
}

func newWalk(rt *rapid.T, h *harness) *walk {
	w := &walk{T: rt, h: h, a: h.account(mail.AccountID{7}), m: &model{boxes: map[string]*modelBox{}, subs: map[string]bool{}, entries: map[string]string{}, keys: map[mail.MailboxID]string{}}}
	v := h.view(w.a)
	info, _ := v.Account()
	w.m.modseq = info.ModSeq
	for b, err := range v.Mailboxes() {
		if err != nil {
			rt.Fatal(err)
		}
		w.m.boxes[b.Name] = &modelBox{id: b.ID, validity: b.UIDValidity, next: 1, highest: b.HighestModSeq, entries: map[string]string{}}
		w.m.subs[b.Name] = true
	}
	return w
}

func (w *walk) name() string {
	return rapid.SampledFrom([]string{"INBOX", "Sent", "a", "a/b", "a/b/c", "b", "c/d"}).Draw(w.T, "name")
}

// some picks an existing mailbox.
func (w *walk) some() (string, *modelBox) {
	n := rapid.SampledFrom(w.m.names()).Draw(w.T, "mailbox")
	return n, w.m.boxes[n]
}

func (w *walk) uids(b *modelBox) mail.UIDSet {
	var ranges []mail.UIDRange
	for range rapid.IntRange(1, 3).Draw(w.T, "ranges") {
		lo := rapid.IntRange(1, int(b.next)+2).Draw(w.T, "lo")
		ranges = append(ranges, mail.UIDRange{Lo: mail.UID(lo), Hi: mail.UID(lo + rapid.SampledFrom([]int{0, 1, 5, 200}).Draw(w.T, "more"))})
	}
	return mail.NewUIDSet(ranges...)
}

var wordPool = []string{"", "", "$k1", "$k2", "$k1 $k2"}

func (w *walk) words() string { return rapid.SampledFrom(wordPool).Draw(w.T, "keywords") }

func (w *walk) flags() mail.Flags {
	return mail.Flags(rapid.IntRange(0, int(mail.AllFlags)).Draw(w.T, "flags"))
}

func (w *walk) step() {
	w.h.now = w.h.now.Add(time.Duration(rapid.IntRange(0, 100_000).Draw(w.T, "seconds")) * time.Second)
	steps := []func(){
		w.append, w.append, w.append, w.store, w.store, w.copyOrMove, w.copyOrMove, w.expunge, w.undelete,
		w.create, w.undeleteMailbox, w.delete, w.rename, w.subscribe, w.quota, w.metadata, w.access,
		w.setACL, w.setACL, w.otherStore, w.otherStore, w.otherAppend,
	}
	steps[rapid.IntRange(0, len(steps)-1).Draw(w.T, "operation")]()
}

// effect is what w expects of an operation: a refusal, or a new MODSEQ or none.
func (w *walk) effect(op mail.Op, want Code, effective bool) mail.Result {
	w.Helper()
	out := w.h.try(w.a, op)
	if out.Code != want {
		w.Fatalf("%+v: got %v, want %v", op, out.Code.Err(), want.Err())
	}
	if effective {
		w.m.modseq++
	}
	return out.Result
}

func (w *walk) append() {
	_, b := w.some()
	op := mail.Append{Mailbox: b.id}
	var add []modelMessage
	for range rapid.SampledFrom([]int{1, 1, 2, 70}).Draw(w.T, "messages") {
		f, words := w.flags(), w.words()
		body := w.h.body(strings.Repeat("x", rapid.IntRange(0, 20).Draw(w.T, "size")))
		op.Messages = append(op.Messages, mail.NewMessage{Body: body, Flags: f, Keywords: strings.Fields(words)})
		add = append(add, modelMessage{flags: f, words: words, size: body.Size()})
	}
	if w.m.limit > 0 && w.m.used()+int64(len(add)) > w.m.limit {
		w.effect(op, OverQuota, false)
		return
	}
	res := w.effect(op, Done, true)
	equal(w, "appended UIDs", res.UIDs.String(), w.insert(b, add).String())
}

func (w *walk) insert(b *modelBox, add []modelMessage) (uids mail.UIDSet) {
	for _, m := range add {
		m.uid, m.changed, m.marked = b.next, w.m.modseq, 0
		if m.seen {
			m.marked = w.m.modseq
		}
		b.next++
		b.messages = append(b.messages, m)
		b.highest = w.m.modseq
		uids = uids.Add(m.uid)
	}
	return uids
}

func (w *walk) store() {
	_, b := w.some()
	op := mail.Store{
		Mailbox: b.id, UIDs: w.uids(b), Mode: mail.StoreMode(rapid.IntRange(0, 2).Draw(w.T, "mode")),
		Flags: w.flags(), Keywords: strings.Fields(w.words()),
	}
	if rapid.Bool().Draw(w.T, "conditional") {
		since := mail.ModSeq(rapid.Uint64Range(0, uint64(w.m.modseq)).Draw(w.T, "unchanged since"))
		op.UnchangedSince = &since
	}
	var changed, modified mail.UIDSet
	next := slices.Clone(b.messages)
	for i, m := range next {
		if !op.UIDs.Contains(m.uid) {
			continue
		}
		if op.UnchangedSince != nil && m.changed > *op.UnchangedSince {
			modified = modified.Add(m.uid)
			continue
		}
		f, words := storeModel(m, op)
		if f != m.flags || words != m.words {
			next[i].flags, next[i].words, next[i].changed = f, words, w.m.modseq+1
			changed = changed.Add(m.uid)
		}
	}
	res := w.effect(op, Done, len(changed) > 0)
	equal(w, "changed", res.UIDs.String(), changed.String())
	equal(w, "modified", res.Modified.String(), modified.String())
	if len(changed) > 0 {
		b.messages, b.highest = next, w.m.modseq
		equal(w, "MODSEQ", res.ModSeq, w.m.modseq)
	}
}

func storeModel(m modelMessage, op mail.Store) (mail.Flags, string) {
	words := map[string]bool{}
	if op.Mode != mail.ReplaceFlags {
		for k := range strings.FieldsSeq(m.words) {
			words[k] = true
		}
	}
	for _, k := range op.Keywords {
		words[k] = op.Mode != mail.RemoveFlags
	}
	var list []string
	for k, on := range words {
		if on {
			list = append(list, k)
		}
	}
	slices.Sort(list)
	f := op.Flags
	switch op.Mode {
	case mail.AddFlags:
		f = m.flags | op.Flags
	case mail.RemoveFlags:
		f = m.flags &^ op.Flags
	}
	return f, strings.Join(list, " ")
}

func (w *walk) copyOrMove() {
	_, from := w.some()
	_, to := w.some()
	uids, move := w.uids(from), rapid.Bool().Draw(w.T, "move")
	var picked, left []modelMessage
	var gone mail.UIDSet
	for _, m := range from.messages {
		if uids.Contains(m.uid) {
			picked = append(picked, m)
			gone = gone.Add(m.uid)
		} else {
			left = append(left, m)
		}
	}
	if !move {
		op := mail.Copy{From: from.id, UIDs: uids, To: to.id}
		if len(picked) > 0 && w.m.limit > 0 && w.m.used()+int64(len(picked)) > w.m.limit {
			w.effect(op, OverQuota, false)
			return
		}
		res := w.effect(op, Done, len(picked) > 0)
		equal(w, "copied", res.UIDs.String(), w.insert(to, picked).String())
		equal(w, "copied from", res.Source.String(), gone.String())
		return
	}
	res := w.effect(mail.Move{From: from.id, UIDs: uids, To: to.id}, Done, len(picked) > 0)
	if len(picked) == 0 {
		return
	}
	from.messages, from.highest = left, w.m.modseq
	from.tombs = append(from.tombs, fmt.Sprint(w.m.modseq, gone))
	equal(w, "moved", res.UIDs.String(), w.insert(to, picked).String())
}

func (w *walk) expunge() {
	_, b := w.some()
	uids := w.uids(b)
	var left, removed []modelMessage
	var gone mail.UIDSet
	for _, m := range b.messages {
		if uids.Contains(m.uid) && m.flags&mail.Deleted != 0 {
			gone = gone.Add(m.uid)
			m.seen = false
			removed = append(removed, m)
		} else {
			left = append(left, m)
		}
	}
	res := w.effect(mail.Expunge{Mailbox: b.id, UIDs: uids}, Done, len(gone) > 0)
	equal(w, "expunged", res.UIDs.String(), gone.String())
	if len(gone) > 0 {
		b.messages, b.highest = left, w.m.modseq
		b.tombs = append(b.tombs, fmt.Sprint(w.m.modseq, gone))
		b.gone = append(b.gone, removed...)
		slices.SortFunc(b.gone, func(a, b modelMessage) int { return cmp.Compare(a.uid, b.uid) })
	}
}

func (w *walk) create() {
	n := w.name()
	if w.m.boxes[n] != nil {
		w.effect(mail.Create{Name: n}, Exists, false)
		return
	}
	res := w.effect(mail.Create{Name: n}, Done, true)
	for _, b := range w.m.boxes {
		if b.validity >= res.UIDValidity || b.id == res.Mailbox {
			w.Fatalf("new mailbox has UIDVALIDITY %d, another %d", res.UIDValidity, b.validity)
		}
	}
	w.m.boxes[n] = &modelBox{id: res.Mailbox, validity: res.UIDValidity, next: 1, highest: w.m.modseq, grant: w.inherited(n), entries: map[string]string{}}
	w.happened(mail.MailboxCreated, "", n)
}

func (w *walk) inferiors(n string) (list []string) {
	for _, other := range w.m.names() {
		if strings.HasPrefix(other, n+"/") {
			list = append(list, other)
		}
	}
	return list
}

func (w *walk) delete() {
	n := w.name()
	switch {
	case n == "INBOX":
		w.effect(mail.Delete{Name: n}, Cannot, false)
	case w.m.boxes[n] != nil:
		w.effect(mail.Delete{Name: n}, Done, true)
		w.m.hidden = append(w.m.hidden, w.m.boxes[n])
		delete(w.m.keys, w.m.boxes[n].id)
		w.happened(mail.MailboxDeleted, n, "")
		delete(w.m.boxes, n)
	case len(w.inferiors(n)) > 0:
		w.effect(mail.Delete{Name: n}, HasChildren, false)
	default:
		w.effect(mail.Delete{Name: n}, NoMailbox, false)
	}
}

func (w *walk) rename() {
	from, to := w.name(), w.name()
	op := mail.Rename{From: from, To: to}
	list := w.inferiors(from)
	if w.m.boxes[from] != nil {
		list = append(list, from)
	}
	if from == "INBOX" {
		w.renameInbox(op)
		return
	}
	want := Done
	switch {
	case len(list) == 0:
		want = NoMailbox
	case strings.HasPrefix(to, from+"/"):
		want = Cannot
	case w.m.boxes[to] != nil:
		want = Exists
	}
	for _, n := range list {
		target := to + strings.TrimPrefix(n, from)
		if want == Done && w.m.boxes[target] != nil && !slices.Contains(list, target) {
			want = Exists
		}
	}
	w.effect(op, want, want == Done)
	if want != Done {
		return
	}
	moved := map[string]*modelBox{}
	for _, n := range list {
		moved[to+strings.TrimPrefix(n, from)] = w.m.boxes[n]
		delete(w.m.boxes, n)
	}
	for n, b := range moved {
		w.m.boxes[n] = b
	}
	w.happened(mail.MailboxRenamed, from, to)
}

func (w *walk) renameInbox(op mail.Rename) {
	if w.m.boxes[op.To] != nil {
		w.effect(op, Exists, false)
		return
	}
	res := w.effect(op, Done, true)
	inbox := w.m.boxes["INBOX"]
	b := &modelBox{
		id: res.Mailbox, validity: res.UIDValidity, next: 1, highest: w.m.modseq, grant: w.inherited(op.To),
		entries: maps.Clone(inbox.entries),
	}
	w.m.boxes[op.To] = b
	w.happened(mail.MailboxCreated, "", op.To)
	if len(inbox.messages) == 0 {
		return
	}
	var gone mail.UIDSet
	for _, m := range inbox.messages {
		gone = gone.Add(m.uid)
	}
	w.insert(b, inbox.messages)
	inbox.messages, inbox.highest = nil, w.m.modseq
	inbox.tombs = append(inbox.tombs, fmt.Sprint(w.m.modseq, gone))
}

func (w *walk) subscribe() {
	n, on := w.name(), rapid.Bool().Draw(w.T, "on")
	w.effect(mail.Subscribe{Name: n, On: on}, Done, w.m.subs[n] != on)
	switch {
	case w.m.subs[n] == on:
	case on:
		w.happened(mail.Subscribed, "", n)
	default:
		w.happened(mail.Unsubscribed, n, "")
	}
	if w.m.subs[n] = on; !on {
		delete(w.m.subs, n)
	}
}

func (w *walk) metadata() {
	of, op := w.m.entries, mail.SetMetadata{}
	if rapid.Bool().Draw(w.T, "of a mailbox") {
		_, b := w.some()
		of, op.Mailbox = b.entries, b.id
	}
	var changed []string
	after := maps.Clone(of)
	for _, name := range rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"/private/a", "/shared/a", "/shared/a/b"}), 1, 3, rapid.ID[string]).Draw(w.T, "entries") {
		var value []byte
		if rapid.Bool().Draw(w.T, "set") {
			value = []byte(rapid.SampledFrom([]string{"", "x", "yy"}).Draw(w.T, "value"))
		}
		op.Entries = append(op.Entries, mail.Metadata{Name: name, Value: value})
		old, there := of[name]
		if there != (value != nil) || old != string(value) {
			changed = append(changed, name)
		}
		if after[name] = string(value); value == nil {
			delete(after, name)
		}
	}
	w.effect(op, Done, len(changed) > 0)
	if len(changed) > 0 {
		clear(of)
		maps.Copy(of, after)
		w.m.events = append(w.m.events, fmt.Sprint(w.m.modseq, mail.MetadataChanged, "", "", changed))
	}
}

// happened notes an event at the last MODSEQ.
func (w *walk) happened(kind mail.EventKind, name, newName string) {
	w.m.events = append(w.m.events, fmt.Sprint(w.m.modseq, kind, name, newName, []string(nil)))
}

func (w *walk) quota() {
	limit := int64(rapid.SampledFrom([]int{0, 0, 3, 100}).Draw(w.T, "limit"))
	w.effect(mail.SetQuota{LimitMessages: limit}, Done, limit != w.m.limit)
	w.m.limit = limit
}
