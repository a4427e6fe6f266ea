package imapd

import (
	"cmp"
	"slices"
	"strings"

	"github.com/tandemail/tandemail/internal/imapwire"
	"github.com/tandemail/tandemail/internal/mail"
)

// maxThreadNodes bounds the messages of one THREAD, those included that others refer
// to and that are not there.
const maxThreadNodes = 1_000_000

// maxThreadClimb is how far a link is followed to see that it makes no loop. A longer
// chain that would have to be looked at is not linked.
const maxThreadClimb = 1000

// The first node is the one above all others.
const (
	root = int32(0)
	none = int32(-1)
)

// threadNode is a message, or a dummy for one that others refer to.
type threadNode struct {
	uid     mail.UID // 0: a dummy
	lead    mail.UID // its own, or that of a dummy's first child
	parent  int32    // none: not linked
	subject int32    // a number for each base subject; 0 is ""
	reply   bool
	kids    bool // something was linked to it
	date    int64
	arrived int64 // for THREAD=REFS
}

// threader finds threads: messages are added in the order of their numbers, then finish
// is called. Time grows with the references, but for maxThreadClimb.
type threader struct {
	by       imapwire.ThreadAlgorithm
	nodes    []threadNode
	ids      map[[16]byte]int32
	subjects map[string]int32
}

func newThreader(by imapwire.ThreadAlgorithm, n int) *threader {
	t := &threader{by: by, nodes: make([]threadNode, 1, n+1)}
	if by != imapwire.ThreadOrderedSubject {
		t.ids = make(map[[16]byte]int32, n)
	}
	if by != imapwire.ThreadRefs {
		t.subjects = map[string]int32{"": 0}
	}
	return t
}

// add takes in a message and, step 1 of RFC 5256, links it with those it refers to.
// errThreadSize.
func (t *threader) add(m *summary) error {
	if len(t.nodes) > maxThreadNodes {
		return errThreadSize
	}
	n := t.place(m)
	x := &t.nodes[n]
	x.uid, x.lead, x.reply, x.date = m.uid, m.uid, m.Reply, m.sent()
	if t.by == imapwire.ThreadRefs {
		x.arrived = int64(m.arrival)
	}
	if t.subjects != nil {
		x.subject = t.subject(m.Subject)
	}
	if t.ids == nil {
		return nil
	}
	last := none
	for _, id := range m.References {
		if ref := t.node(id); ref != n {
			if last != none && t.nodes[ref].parent == none {
				t.link(last, ref)
			}
			last = ref
		}
	}
	// Its own references are more to be trusted than what others said of it.
	t.nodes[n].parent = none
	if last != none {
		t.link(last, n)
	}
	return nil
}

// place is the node of a message: that of its id, unless another message has the same.
func (t *threader) place(m *summary) int32 {
	if t.ids == nil || m.ID == ([16]byte{}) {
		return t.grow()
	}
	if n := t.node(m.ID); t.nodes[n].uid == 0 {
		return n
	}
	return t.grow()
}

// node is the node of an id, a dummy as long as its message has not come.
func (t *threader) node(id [16]byte) int32 {
	n, ok := t.ids[id]
	if !ok {
		n = t.grow()
		t.ids[id] = n
	}
	return n
}

func (t *threader) grow() int32 {
	t.nodes = append(t.nodes, threadNode{parent: none})
	return int32(len(t.nodes) - 1)
}

func (t *threader) subject(s string) int32 {
	n, ok := t.subjects[s]
	if !ok {
		n = int32(len(t.subjects))
		t.subjects[strings.Clone(s)] = n
	}
	return n
}

// link makes child a child of parent, unless that would make a loop.
func (t *threader) link(parent, child int32) {
	if parent == child || t.nodes[child].kids && !t.apart(parent, child) {
		return
	}
	t.nodes[child].parent, t.nodes[parent].kids = parent, true
}

// apart reports whether parent is seen not to be below child.
func (t *threader) apart(parent, child int32) bool {
	for range maxThreadClimb {
		switch parent {
		case child:
			return false
		case none:
			return true
		}
		parent = t.nodes[parent].parent
	}
	return false
}

// finish ends the work. The threader is of no use afterwards.
func (t *threader) finish() *forest {
	if t.by == imapwire.ThreadOrderedSubject {
		t.orderSubjects()
		return t.forest()
	}
	t.prune()
	if t.by == imapwire.ThreadReferences {
		t.dateDummies()
		t.mergeSubjects()
	}
	t.dateDummies()
	if t.by == imapwire.ThreadRefs {
		t.dateByNewest()
	}
	return t.forest()
}

// orderSubjects puts messages of the same subject below the first of them.
func (t *threader) orderSubjects() {
	first := make([]int32, len(t.subjects))
	list := make([]int32, 0, len(t.nodes))
	for n := range t.nodes[1:] {
		list = append(list, int32(n+1))
	}
	slices.SortFunc(list, t.compare)
	for _, n := range list {
		if f := &first[t.nodes[n].subject]; *f == 0 {
			*f, t.nodes[n].parent = n, root
		} else {
			t.nodes[n].parent = *f
		}
	}
}

// prune is steps 2 and 3: what has no parent is below the root, and dummies go, but for
// those there with several children.
func (t *threader) prune() {
	kids := make([]int32, len(t.nodes))
	for n := range t.nodes {
		if x := &t.nodes[n]; x.uid != 0 {
			x.parent = t.above(int32(n))
			kids[x.parent]++
		}
	}
	for n := range t.nodes {
		x := &t.nodes[n]
		switch {
		case n == int(root):
		case x.uid != 0 && x.parent != root && t.nodes[x.parent].uid == 0 && kids[x.parent] == 1:
			x.parent = root
		case x.uid == 0 && kids[n] > 1:
			x.parent = root
		case x.uid == 0:
			x.parent = none
		}
	}
}

// above is the nearest message above n, or the topmost dummy, or the root. Dummies on
// the way are left with the answer.
func (t *threader) above(n int32) int32 {
	at := t.nodes[n].parent
	if at == none {
		return root
	}
	top := at
	for t.nodes[top].uid == 0 && t.nodes[top].parent != none {
		top = t.nodes[top].parent
	}
	for at != top && t.nodes[at].uid == 0 {
		at, t.nodes[at].parent = t.nodes[at].parent, top
	}
	return top
}

// dateDummies gives each dummy the date of its first child (step 4), and its subject.
func (t *threader) dateDummies() {
	for n := range t.nodes {
		if t.nodes[n].uid == 0 {
			t.nodes[n].lead = 0
		}
	}
	for n := range t.nodes {
		x := &t.nodes[n]
		if x.uid == 0 || x.parent == root {
			continue
		}
		if p := &t.nodes[x.parent]; p.uid == 0 && (p.lead == 0 || t.compare(int32(n), x.parent) < 0) {
			p.date, p.lead, p.subject = x.date, x.lead, x.subject
		}
	}
}

func (t *threader) compare(a, b int32) int {
	x, y := &t.nodes[a], &t.nodes[b]
	if x.date != y.date {
		return cmp.Compare(x.date, y.date)
	}
	return cmp.Compare(x.lead, y.lead)
}

// mergeSubjects is step 5: threads of one subject become one.
func (t *threader) mergeSubjects() {
	var tops []int32
	for n := range t.nodes {
		if x := &t.nodes[n]; x.parent == root && n != int(root) && x.subject != 0 {
			tops = append(tops, int32(n))
		}
	}
	slices.SortStableFunc(tops, t.compare)
	table := make(map[int32]int32, len(tops))
	for _, n := range tops {
		x := &t.nodes[n]
		old, ok := table[x.subject]
		if o := &t.nodes[old]; !ok || o.uid != 0 && (x.uid == 0 || o.reply && !x.reply) {
			table[x.subject] = n
		}
	}
	into := make(map[int32]int32) // where the children of merged dummies go
	for _, n := range tops {
		x := &t.nodes[n]
		old := table[x.subject]
		o := &t.nodes[old]
		switch {
		case old == n:
		case x.uid == 0:
			into[n], x.parent = old, none
		case o.uid == 0, x.reply && !o.reply:
			x.parent = old
		default:
			subject := x.subject
			d := t.grow()
			t.nodes[d].parent, t.nodes[d].subject = root, subject
			t.nodes[n].parent, t.nodes[old].parent = d, d
			table[subject] = d
		}
	}
	if len(into) == 0 {
		return
	}
	for n := range t.nodes {
		if to, ok := into[t.nodes[n].parent]; ok {
			t.nodes[n].parent = to
		}
	}
}

// dateByNewest dates each thread by the arrival of its newest message. Inside of threads
// the dates stay those of the messages, as in REFERENCES.
func (t *threader) dateByNewest() {
	top := make([]int32, len(t.nodes)) // of each node; 0: not known yet
	newest := make([]int64, len(t.nodes))
	var way []int32
	for n := range t.nodes {
		if t.nodes[n].uid == 0 {
			continue
		}
		at := int32(n)
		for way = way[:0]; top[at] == 0 && t.nodes[at].parent != root; at = t.nodes[at].parent {
			way = append(way, at)
		}
		if top[at] == 0 {
			top[at], newest[at] = at, t.nodes[at].arrived
		}
		for _, w := range way {
			top[w] = top[at]
		}
		newest[top[at]] = max(newest[top[at]], t.nodes[n].arrived)
	}
	for n := range t.nodes {
		if t.nodes[n].parent == root && n != int(root) {
			t.nodes[n].date = newest[n]
		}
	}
}

// forest is threads, each set of siblings in its order.
type forest struct {
	nodes       []threadNode
	first, next []int32 // child, sibling
}

// forest sorts all siblings (step 6).
func (t *threader) forest() *forest {
	f := &forest{nodes: t.nodes, first: make([]int32, len(t.nodes)), next: make([]int32, len(t.nodes))}
	list := make([]int32, 0, len(t.nodes))
	for n := range t.nodes {
		f.first[n], f.next[n] = none, none
		if n != int(root) && t.nodes[n].parent != none {
			list = append(list, int32(n))
		}
	}
	slices.SortFunc(list, t.compare)
	slices.Reverse(list)
	for _, n := range list {
		p := t.nodes[n].parent
		f.next[n], f.first[p] = f.first[p], n
	}
	return f
}

// append appends all threads (RFC 5256 5).
func (f *forest) append(b []byte, name func(mail.UID) uint32) []byte {
	later := []int32{f.first[root]} // of each set of siblings under way, the one that follows
	for len(later) > 0 {
		top := &later[len(later)-1]
		n := *top
		if n == none {
			if later = later[:len(later)-1]; len(later) > 0 {
				b = append(b, ')')
			}
			continue
		}
		*top = f.next[n]
		b = append(b, '(')
		var more bool
		if b, n, more = f.chain(b, n, name); more {
			later = append(later, n)
		} else {
			b = append(b, ')')
		}
	}
	return b
}

// chain appends n and what is below it as long as each has one child; then more says
// that several follow, from next on.
func (f *forest) chain(b []byte, n int32, name func(mail.UID) uint32) (_ []byte, next int32, more bool) {
	for {
		if u := f.nodes[n].uid; u != 0 {
			b = imapwire.AppendNumber(b, name(u))
			if f.first[n] != none {
				b = append(b, ' ')
			}
		}
		if n = f.first[n]; n == none {
			return b, none, false
		}
		if f.next[n] != none {
			return b, n, true
		}
	}
}
