package peers

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tandemail/tandemail/internal/imapwire/imaptest"
)

// comparison is of what a dialogue expects with what another server told, by meaning:
// texts, the order of responses where it says nothing, \Recent, FLAGS, flags told
// unasked and codes that only explain are the server's own business. Data has to be the
// same.
type comparison struct {
	names     imaptest.Names
	announced map[string]bool
	sorted    bool // the order of numbers in ESEARCH counts
	found     []string
}

func (c *comparison) differ(format string, args ...any) {
	c.found = append(c.found, fmt.Sprintf(format, args...))
}

// compare looks at untagged responses, and at tagged ones if there are any.
func (c *comparison) compare(want, got []response) {
	c.codes(want, got)
	c.fetches(want, got)
	c.expunges(want, got)
	c.exists(want, got)
	c.others(want, got)
}

func of(rs []response, kinds ...string) (out []response) {
	for _, r := range rs {
		if slices.Contains(kinds, r.kind) {
			out = append(out, r)
		}
	}
	return out
}

// alike says whether a node looks as the pattern wants it.
func (c *comparison) alike(want, got node) bool {
	switch {
	case want.list != got.list, want.nilWord() != got.nilWord():
		return false
	case want.list:
		return c.allAlike(want.items, got.items)
	case !want.quoted && strings.EqualFold(c.names.Fill(want.text), got.text):
		return true
	}
	return c.names.Match(want.text, got.text)
}

func (c *comparison) allAlike(want, got []node) bool {
	for i, w := range want {
		if !w.quoted && w.text == rest {
			return true
		}
		if i >= len(got) || !c.alike(w, got[i]) {
			return false
		}
	}
	return len(want) == len(got)
}

// try is a comparison that leaves names alone when it fails.
func (c *comparison) try(f func() bool) bool {
	before := maps.Clone(c.names)
	if f() {
		return true
	}
	clear(c.names)
	maps.Copy(c.names, before)
	return false
}

// modseq takes any number for a MODSEQ: what the number is, and whether changes in one
// command share it, is the server's choice. A name keeps the highest.
func (c *comparison) modseq(want, got node) bool {
	for want.list && got.list && len(want.items) == 1 && len(got.items) == 1 {
		want, got = want.items[0], got.items[0]
	}
	n, err := strconv.ParseUint(got.text, 10, 64)
	if err != nil || want.list {
		return false
	}
	name := strings.Trim(want.text, "<>")
	old, _ := strconv.ParseUint(c.names[name], 10, 64)
	if name != want.text && name != "#" && name != "*" && n > old {
		c.names[name] = got.text
	}
	return true
}

// now is the clock of the tests that play dialogues with Tandemail.
const now = " 4-Mar-2026 12:00:00 +0000"

// date compares points in time.
func (c *comparison) date(want, got node) bool {
	const layout = "_2-Jan-2006 15:04:05 -0700"
	w, err := time.Parse(layout, want.text)
	if err != nil {
		return c.alike(want, got)
	}
	g, err := time.Parse(layout, got.text)
	return err == nil && (w.Equal(g) || want.text == now)
}

// flags compares flags without \Recent.
func (c *comparison) flags(want, got node) bool {
	set := func(n node) (out []string) {
		for _, f := range n.items {
			if f := strings.ToLower(f.text); f != `\recent` {
				out = append(out, f)
			}
		}
		slices.Sort(out)
		return slices.Compact(out)
	}
	w, g := set(want), set(got)
	if slices.Contains(w, rest) {
		return !slices.ContainsFunc(w, func(f string) bool { return f != rest && !slices.Contains(g, f) })
	}
	return got.list && slices.Equal(w, g)
}

// uids compares sets of numbers, or lists of them where the order counts.
func (c *comparison) uids(want, got node, ordered bool) bool {
	w, g := numbers(c.names.Fill(want.text)), numbers(got.text)
	if w == nil || g == nil {
		return c.alike(want, got)
	}
	if !ordered {
		slices.Sort(w)
		slices.Sort(g)
	}
	return slices.Equal(w, g)
}

// needOf are the capabilities that bring codes.
var needOf = map[string]string{
	"APPENDUID": "UIDPLUS", "COPYUID": "UIDPLUS", "MODIFIED": "CONDSTORE", "HIGHESTMODSEQ": "CONDSTORE", "MAILBOXID": "OBJECTID",
	"UIDVALIDITY": "", "UIDNEXT": "", "READ-ONLY": "", "READ-WRITE": "", "TRYCREATE": "", "UNKNOWN-CTE": "BINARY", "METADATA": "METADATA",
	"NOUPDATE": "CONTEXT=SEARCH", "BADURL": "CATENATE", "BADEVENT": "NOTIFY", "UNSEEN": "",
}

// codes compares those that a client acts on.
func (c *comparison) codes(want, got []response) {
	for _, w := range of(want, "OK", "NO") {
		need, known := needOf[w.code]
		if !known || need != "" && !c.announced[need] || w.kind == "NO" && w.code == "READ-ONLY" {
			continue
		}
		told := slices.DeleteFunc(of(got, "OK", "NO"), func(r response) bool { return r.code != w.code })
		switch {
		case len(told) == 0 && (w.code == "UNSEEN" || w.code == "HIGHESTMODSEQ" && !named(w)):
		case len(told) == 0:
			c.differ("no [%s]", w.code)
		case !slices.ContainsFunc(told, func(g response) bool { return c.code(w, g) }):
			c.differ("want %s, got %s", w.text, told[0].text)
		}
	}
}

// named says whether a dialogue wants to know the number.
func named(r response) bool {
	return len(r.args) > 0 && r.args[0].text != rest && r.args[0].text != "<#>"
}

func (c *comparison) code(want, got response) bool {
	switch want.code {
	case "HIGHESTMODSEQ":
		return len(want.args) == 0 || c.modseq(want.args[0], got.args[0])
	case "BADEVENT", "READ-ONLY", "READ-WRITE", "TRYCREATE", "UNKNOWN-CTE":
		return true
	case "MODIFIED":
		return c.uids(want.args[0], got.args[0], false)
	case "APPENDUID", "COPYUID":
		return c.try(func() bool {
			for i, w := range want.args {
				if w.text != rest && (i >= len(got.args) || i == 0 && !c.alike(w, got.args[i]) || i > 0 && !c.uids(w, got.args[i], true)) {
					return false
				}
			}
			return true
		})
	}
	return c.try(func() bool { return c.allAlike(want.args, got.args) })
}

// removed are the numbers, as they were before the first, of messages expunged.
func removed(rs []response) (out []int) {
	for _, r := range of(rs, "EXPUNGE") {
		n := r.number
		for _, before := range out { // ascending
			if before <= n {
				n++
			}
		}
		i, _ := slices.BinarySearch(out, n)
		out = slices.Insert(out, i, n)
	}
	return out
}

func vanished(rs []response) (live, earlier []int) {
	for _, r := range of(rs, "VANISHED") {
		if len(r.args) > 1 {
			earlier = append(earlier, numbers(r.args[1].text)...)
		} else if len(r.args) == 1 {
			live = append(live, numbers(r.args[0].text)...)
		}
	}
	slices.Sort(live)
	slices.Sort(earlier)
	return live, earlier
}

// expunges compares which messages are gone. VANISHED (EARLIER) may name more UIDs
// (RFC 7162 3.2.10).
func (c *comparison) expunges(want, got []response) {
	if w, g := removed(want), removed(got); !slices.Equal(w, g) {
		c.differ("want EXPUNGE of %v, got %v", w, g)
	}
	live, earlier := vanished(want)
	gotLive, gotEarlier := vanished(got)
	if !slices.Equal(live, gotLive) {
		c.differ("want VANISHED %v, got %v", live, gotLive)
	}
	for _, uid := range earlier {
		if !slices.Contains(gotEarlier, uid) {
			c.differ("want VANISHED (EARLIER) %v, got %v", earlier, gotEarlier)
			return
		}
	}
}

func (c *comparison) exists(want, got []response) {
	w, g := of(want, "EXISTS"), of(got, "EXISTS")
	if len(w) == 0 {
		return
	}
	if len(g) == 0 {
		c.differ("no EXISTS")
	} else if w[len(w)-1].number != g[len(g)-1].number {
		c.differ("want %s, got %s", w[len(w)-1].text, g[len(g)-1].text)
	}
}

// elsewhere are responses that the rest of a comparison looks at, or nobody.
var elsewhere = []string{"OK", "NO", "BAD", "BYE", "FETCH", "UIDFETCH", "EXPUNGE", "VANISHED", "EXISTS", "RECENT", "FLAGS", "CAPABILITY"}

// others compares responses without order, but for those of one kind and name.
func (c *comparison) others(want, got []response) {
	skip := func(r response) bool { return slices.Contains(elsewhere, r.kind) }
	got = slices.DeleteFunc(slices.Clone(got), skip)
	for _, w := range want {
		if skip(w) {
			continue
		}
		i := slices.IndexFunc(got, func(g response) bool {
			return g.kind == w.kind && c.try(func() bool { return c.other(w, g) })
		})
		if i < 0 {
			c.differ("want %s", c.names.Fill(w.text))
			continue
		}
		got = slices.Delete(got, i, i+1)
	}
	for _, g := range got {
		c.differ("got %s", g.text)
	}
}

func (c *comparison) other(want, got response) bool {
	w, g := want.args, got.args
	switch want.kind {
	case "SEARCH":
		return c.search(w, g)
	case "ESEARCH":
		return c.esearch(w, g)
	case "LIST", "LSUB":
		return c.list(w, g)
	case "STATUS":
		return len(w) == 2 && len(g) == 2 && c.alike(w[0], g[0]) && c.status(w[1].items, g[1].items)
	case "ENABLED": // other servers tell of what comes with it
		return c.flags(node{list: true, items: append(w, node{text: rest})}, node{list: true, items: g})
	case "METADATA":
		if len(w) == 2 && len(g) == 2 && w[1].list && g[1].list {
			return c.alike(w[0], g[0]) && len(w[1].items) == len(g[1].items) && c.status(w[1].items, g[1].items)
		}
	case "ACL":
		return len(w) > 0 && len(g) > 0 && c.alike(w[0], g[0]) && c.rights(w[1:], g[1:])
	case "MYRIGHTS":
		return len(w) == 2 && len(g) == 2 && c.alike(w[0], g[0]) && sameRights(w[1].text, g[1].text)
	}
	return c.allAlike(w, g)
}

func (c *comparison) search(want, got []node) bool {
	split := func(args []node) (set []string, modseq bool) {
		for _, a := range args {
			if a.list {
				modseq = true
			} else {
				set = append(set, c.names.Fill(a.text))
			}
		}
		slices.Sort(set)
		return set, modseq
	}
	w, wm := split(want)
	g, gm := split(got)
	if wm && gm {
		c.modseq(want[len(want)-1].items[1], got[len(got)-1].items[1])
	}
	return slices.Equal(w, g) && wm == gm
}

func (c *comparison) esearch(want, got []node) bool {
	if len(want) == 0 || len(got) == 0 || !c.allAlike(want[0].items, got[0].items) {
		return false
	}
	uid := func(args []node) bool { return len(args) > 1 && strings.EqualFold(args[1].text, "UID") }
	if uid(want) != uid(got) {
		return false
	}
	from := 1
	if uid(want) {
		from = 2
	}
	keys, w := pairs(want[from:])
	more, g := pairs(got[from:])
	if len(keys) != len(more) {
		return false
	}
	for _, k := range keys {
		told, ok := g[k]
		switch {
		case !ok:
			return false
		case k == "MODSEQ":
			ok = c.modseq(w[k], told)
		case k == "ALL":
			ok = c.uids(w[k], told, c.sorted)
		case k == "PARTIAL" && len(w[k].items) == 2 && len(told.items) == 2:
			ok = c.uids(w[k].items[1], told.items[1], c.sorted)
		default:
			ok = c.alike(w[k], told)
		}
		if !ok {
			return false
		}
	}
	return true
}

func (c *comparison) status(want, got []node) bool {
	keys, w := pairs(want)
	_, g := pairs(got)
	for _, k := range keys {
		told, ok := g[k]
		if k == rest {
			continue
		}
		if k == "HIGHESTMODSEQ" {
			ok = ok && c.modseq(w[k], told)
		} else {
			ok = ok && c.alike(w[k], told)
		}
		if !ok {
			return false
		}
	}
	return true
}

// list compares a name and what counts of its attributes: that it can be selected, its
// children if they are told, subscriptions and special uses that are expected.
func (c *comparison) list(want, got []node) bool {
	if len(want) < 3 || len(got) < 3 || !c.allAlike(want[1:], got[1:]) {
		return false
	}
	has := func(n node, names ...string) bool {
		return slices.ContainsFunc(n.items, func(i node) bool {
			return slices.ContainsFunc(names, func(name string) bool { return strings.EqualFold(i.text, name) })
		})
	}
	w, g := want[0], got[0]
	if has(w, `\NonExistent`, `\Noselect`) != has(g, `\NonExistent`, `\Noselect`) {
		return false
	}
	for _, a := range w.items {
		switch strings.ToLower(a.text) {
		case `\nonexistent`, `\noselect`, rest:
		case `\haschildren`:
			if has(g, `\HasNoChildren`) {
				return false
			}
		case `\hasnochildren`:
			if has(g, `\HasChildren`) {
				return false
			}
		default:
			if !has(g, a.text) {
				return false
			}
		}
	}
	return true
}

// rights compares who has which rights.
func (c *comparison) rights(want, got []node) bool {
	keys, w := pairs(want)
	more, g := pairs(got)
	return len(keys) == len(more) && !slices.ContainsFunc(keys, func(k string) bool { return !sameRights(w[k].text, g[k].text) })
}

// sameRights compares those of RFC 4314; others are a server's own.
func sameRights(want, got string) bool {
	for _, r := range "lrswipkxteacd" {
		if r != 'd' && strings.ContainsRune(want, r) != strings.ContainsRune(got, r) {
			return false
		}
	}
	return true
}
