package e2e

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"

	"github.com/emersion/go-imap/v2"

	"github.com/tandemail/tandemail/e2e/ledger"
)

// The two mailboxes of a writer.
const (
	boxA = "Ledger A"
	boxB = "Ledger B"
)

// writer is an IMAP client that changes two mailboxes of its own, one command at a
// time. After a command without answer it leaves the messages concerned alone.
type writer struct {
	c    *cluster
	rec  *ledger.Recorder
	rng  *rand.Rand
	user user

	s        *session
	selected string
	serial   int
	mail     map[string]map[uint32]letter // acknowledged, and free to be changed
}

type letter struct {
	token ledger.Token
	flags ledger.Flags
}

func newWriter(c *cluster, rec *ledger.Recorder, rng *rand.Rand, u user) *writer {
	return &writer{c: c, rec: rec, rng: rng, user: u, mail: map[string]map[uint32]letter{boxA: {}, boxB: {}}}
}

// create makes the mailboxes, before anything is broken.
func (w *writer) create(ctx context.Context) error {
	s, err := w.c.loginAnywhere(ctx, w.rng, w.user)
	if err != nil {
		return err
	}
	defer s.Close()
	for _, need := range []imap.Cap{imap.CapUIDPlus, imap.CapMove, imap.CapCondStore} {
		if !s.Caps().Has(need) {
			return fmt.Errorf("the server does not announce %s", need)
		}
	}
	for _, name := range []string{boxA, boxB} {
		if err := s.do(func() error { return s.Create(name, nil).Wait() }); err != nil {
			return fmt.Errorf("create %s: %w", name, err)
		}
	}
	return nil
}

// run changes mail until ctx ends.
func (w *writer) run(ctx context.Context) {
	defer w.disconnect()
	for ctx.Err() == nil {
		if w.s == nil {
			s, err := w.c.loginAnywhere(ctx, w.rng, w.user)
			if err != nil {
				return
			}
			w.s = s
			w.look() // what the new front end shows must have everything acknowledged before
			continue
		}
		w.step()
	}
}

func (w *writer) disconnect() {
	if w.s != nil {
		w.s.Close()
		w.s, w.selected = nil, ""
	}
}

func (w *writer) step() {
	box, other := boxA, boxB
	if w.rng.IntN(2) == 0 {
		box, other = boxB, boxA
	}
	switch w.rng.IntN(16) {
	case 0, 1, 2, 3, 4:
		w.add(box)
	case 5, 6, 7, 8:
		w.store(box, w.pick(box), ledger.Mode(w.rng.IntN(3)), w.flags())
	case 9, 10:
		w.copy(box, other, w.pick(box), false)
	case 11, 12:
		w.copy(box, other, w.pick(box), true)
	case 13, 14:
		uids := w.pick(box)
		w.store(box, uids, ledger.Add, ledger.NewFlags(ledger.Deleted))
		w.expunge(box, slices.Concat(uids, w.pick(box)))
	default:
		if w.rng.IntN(4) == 0 {
			w.look()
		} else if w.rng.IntN(4) == 0 {
			w.disconnect()
		}
	}
}

// look sees both mailboxes and the headers of INBOX now and then.
func (w *writer) look() {
	boxes := map[string]depth{boxA: octets, boxB: octets}
	if w.rng.IntN(4) == 0 {
		boxes[ledger.Inbox] = headers
	}
	for name, d := range boxes {
		if w.s == nil {
			return
		}
		begin := w.rec.Begin()
		w.selected = ""
		o, err := w.s.look(w.user, name, d)
		if err != nil {
			w.disconnect()
			return
		}
		w.rec.End(begin, ledger.Acked, o)
	}
}

func (w *writer) flags() ledger.Flags {
	all := []string{`\Seen`, `\Answered`, `\Flagged`, `\Draft`, "$Forwarded", "Ledger1", "Ledger2"}
	var some []string
	for range 1 + w.rng.IntN(3) {
		some = append(some, all[w.rng.IntN(len(all))])
	}
	return ledger.NewFlags(some...)
}

// pick chooses one to five messages that nothing is unknown about.
func (w *writer) pick(box string) []uint32 {
	var uids []uint32
	for u := range w.mail[box] {
		uids = append(uids, u)
	}
	slices.Sort(uids)
	w.rng.Shuffle(len(uids), func(i, j int) { uids[i], uids[j] = uids[j], uids[i] })
	return w.distinct(box, uids, 1+w.rng.IntN(5)) // events keep it
}

// distinct returns at most n of uids, no two with the same content: if the answer
// to a COPY of such two is lost, nobody can tell which copy is whose.
func (w *writer) distinct(box string, uids []uint32, n int) []uint32 {
	var out []uint32
	seen := map[ledger.Token]bool{}
	for _, u := range uids {
		if t := w.mail[box][u].token; len(out) < n && !seen[t] {
			seen[t] = true
			out = append(out, u)
		}
	}
	return out
}

func (w *writer) box(name string) ledger.Box { return ledger.Box{User: w.user.User, Name: name} }

// command runs one command on the selected mailbox and records how it went. It
// reports whether it was acknowledged; change is asked for after that.
func (w *writer) command(box string, tokens []ledger.Token, run func() error, change func() ledger.Change) bool {
	if box != "" && w.selected != box {
		err := w.s.do(func() error { _, err := w.s.Select(box, &imap.SelectOptions{CondStore: true}).Wait(); return err })
		if err != nil {
			w.disconnect()
			return false
		}
		w.selected = box
	}
	begin := w.rec.Begin()
	o := outcome(w.s.do(run))
	w.rec.End(begin, o, change())
	if o == ledger.Unknown {
		w.leaveAlone(tokens)
		w.disconnect()
	}
	return o == ledger.Acked
}

// leaveAlone forgets every message with one of the tokens.
func (w *writer) leaveAlone(tokens []ledger.Token) {
	for _, mail := range w.mail {
		for u, l := range mail {
			if slices.Contains(tokens, l.token) {
				delete(mail, u)
			}
		}
	}
}

func (w *writer) tokens(box string, uids []uint32) []ledger.Token {
	var ts []ledger.Token
	for _, u := range uids {
		ts = append(ts, w.mail[box][u].token)
	}
	return ts
}

func (w *writer) add(box string) {
	w.serial++
	token := ledger.Token(fmt.Sprintf("a-%s-%d", w.user.User, w.serial))
	a := ledger.Append{Box: w.box(box), Token: token, Flags: w.flags()}
	msg := content(token)
	run := func() error {
		cmd := w.s.Append(box, int64(len(msg)), &imap.AppendOptions{Flags: imapFlags(a.Flags)})
		_, werr := cmd.Write(msg)
		cerr := cmd.Close()
		data, err := cmd.Wait()
		if err == nil && werr == nil && cerr == nil {
			a.UID, a.Validity = uint32(data.UID), data.UIDValidity
		}
		return errors.Join(err, werr, cerr)
	}
	if w.command("", nil, run, func() ledger.Change { return a }) {
		w.mail[box][a.UID] = letter{token, a.Flags}
	}
}

func (w *writer) store(box string, uids []uint32, mode ledger.Mode, flags ledger.Flags) {
	if len(uids) == 0 || w.s == nil {
		return
	}
	ops := map[ledger.Mode]imap.StoreFlagsOp{ledger.Replace: imap.StoreFlagsSet, ledger.Add: imap.StoreFlagsAdd, ledger.Remove: imap.StoreFlagsDel}
	run := func() error {
		return w.s.Store(uidSet(uids), &imap.StoreFlags{Op: ops[mode], Silent: true, Flags: imapFlags(flags)}, nil).Close()
	}
	s := ledger.Store{Box: w.box(box), UIDs: uids, Mode: mode, Flags: flags}
	if w.command(box, w.tokens(box, uids), run, func() ledger.Change { return s }) {
		for _, u := range uids {
			l := w.mail[box][u]
			l.flags = l.flags.Apply(mode, flags)
			w.mail[box][u] = l
		}
	}
}

func (w *writer) copy(from, to string, uids []uint32, move bool) {
	if len(uids) == 0 {
		return
	}
	c := ledger.Copy{From: w.box(from), To: w.box(to), UIDs: uids, Move: move}
	run := func() error {
		var src, dst imap.NumSet
		if move {
			d, err := w.s.Move(uidSet(uids), to).Wait()
			if err != nil {
				return err
			}
			c.Validity, src, dst = d.UIDValidity, d.SourceUIDs, d.DestUIDs
		} else {
			d, err := w.s.Client.Copy(uidSet(uids), to).Wait()
			if err != nil {
				return err
			}
			c.Validity, src, dst = d.UIDValidity, d.SourceUIDs, d.DestUIDs
		}
		c.Targets = pairs(src, dst)
		return nil
	}
	if !w.command(from, w.tokens(from, uids), run, func() ledger.Change { return c }) {
		return
	}
	for _, u := range uids {
		w.mail[to][c.Targets[u]] = w.mail[from][u]
		if move {
			delete(w.mail[from], u)
		}
	}
}

func (w *writer) expunge(box string, uids []uint32) {
	// A command without answer in between has taken some away.
	uids = slices.DeleteFunc(uids, func(u uint32) bool { return w.mail[box][u].token == "" })
	slices.Sort(uids)
	uids = slices.Compact(uids)
	if len(uids) == 0 || w.s == nil {
		return
	}
	run := func() error { return w.s.UIDExpunge(uidSet(uids)).Close() }
	e := ledger.Expunge{Box: w.box(box), UIDs: uids}
	if w.command(box, w.tokens(box, uids), run, func() ledger.Change { return e }) {
		for _, u := range uids {
			if w.mail[box][u].flags.Has(ledger.Deleted) {
				delete(w.mail[box], u)
			}
		}
	}
}

func uidSet(uids []uint32) imap.UIDSet {
	var s imap.UIDSet
	for _, u := range uids {
		s.AddNum(imap.UID(u))
	}
	return s
}

// pairs reads COPYUID: the n-th of the one set became the n-th of the other.
func pairs(src, dst imap.NumSet) map[uint32]uint32 {
	m := map[uint32]uint32{}
	a, _ := src.(imap.UIDSet)
	b, _ := dst.(imap.UIDSet)
	from, okA := a.Nums()
	to, okB := b.Nums()
	if okA && okB && len(from) == len(to) {
		for i := range from {
			m[uint32(from[i])] = uint32(to[i])
		}
	}
	return m
}

func imapFlags(f ledger.Flags) []imap.Flag {
	var flags []imap.Flag
	for _, name := range f.Names() {
		flags = append(flags, imap.Flag(name))
	}
	return flags
}
