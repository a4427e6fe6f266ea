package state

import (
	"iter"
	"slices"

	"github.com/tandemail/tandemail/internal/mail"
	"github.com/tandemail/tandemail/internal/state/operation"
)

// An account's history says who changed what: not who marked a message as read, and
// no deliveries, which their messages tell of. Each deed has the MODSEQ of its
// operation, which what was deleted by it names as well.

// Bounds of a history.
const (
	MaxHistory    = 1 << 20 // octets of an account; the oldest deeds give way
	maxDeedRanges = 500     // of each of a deed's two UID sets
	maxActorText  = 256     // octets of each of an actor's texts
)

// Kinds of deeds: an operation's field in operation.proto is its octet here. What has
// two kinds has that of an operation without any for the second.
const (
	DeedCreateAccount   = "create-account"
	DeedDeleteAccount   = "delete-account"
	DeedFreeze          = "freeze"
	DeedThaw            = "thaw"
	DeedQuota           = "quota"
	DeedUndeleteAccount = "undelete-account"
	DeedAppend          = "append"
	DeedFlagDeleted     = "flag-deleted"
	DeedCopy            = "copy"
	DeedMove            = "move"
	DeedExpunge         = "expunge"
	DeedUndelete        = "undelete"
	DeedCreate          = "create-mailbox"
	DeedDelete          = "delete-mailbox"
	DeedRename          = "rename-mailbox"
	DeedUndeleteMailbox = "undelete-mailbox"
	DeedSetACL          = "set-acl"
	DeedSubscribe       = "subscribe"
	DeedUnsubscribe     = "unsubscribe"
	DeedMetadata        = "metadata"
)

var deedKinds = map[byte]string{
	16: DeedCreateAccount, 17: DeedDeleteAccount, 19: DeedFreeze, 20: DeedThaw, 21: DeedQuota, 22: DeedUndeleteAccount,
	32: DeedAppend, 33: DeedFlagDeleted, 34: DeedCopy, 35: DeedMove, 36: DeedExpunge, 38: DeedUndelete,
	48: DeedCreate, 49: DeedDelete, 50: DeedRename, 52: DeedUndeleteMailbox, 53: DeedSetACL,
	51: DeedSubscribe, 37: DeedUnsubscribe, 54: DeedMetadata,
}

func deedOctet(kind string) byte {
	for octet, k := range deedKinds {
		if k == kind {
			return octet
		}
	}
	return 0
}

// Deed is one entry of an account's history.
type Deed struct {
	ModSeq  mail.ModSeq
	At      mail.Instant
	Kind    string
	Actor   mail.Actor
	Mailbox mail.MailboxID // what it is about; zero: the account
	UIDs    mail.UIDSet    // and which of its messages
	To      mail.MailboxID // where they went; zero: nowhere
	ToUIDs  mail.UIDSet    // and as what, one for each of UIDs in ascending order
	Cut     bool           // UIDs and ToUIDs are not all
	Name    string         // of the mailbox, before
	NewName string         // and after
	Entries []string       // names of metadata
	// Of a changed right: whose, zero for anyone, and all that they had and have since.
	Grantee mail.AccountID
	Was     mail.Rights
	Rights  mail.Rights
}

// hasTail reports whether records of that kind have more than others, in version 2.
func hasTail(kind string) bool { return kind == DeedSetACL || kind == DeedMetadata }

func (d *Deed) encode(w *writer) {
	if w.start(); hasTail(d.Kind) {
		w.startAs(secondVersion)
	}
	w.octet(deedOctet(d.Kind))
	w.int(int64(d.At))
	for _, s := range []string{d.Actor.User, d.Actor.By, d.Actor.Remote, d.Actor.Command, d.Actor.QueueID} {
		w.string(s[:min(len(s), maxActorText)])
	}
	w.optional(d.Actor.Session)
	w.optional(d.Mailbox)
	w.uids(d.UIDs)
	w.optional(d.To)
	w.uids(d.ToUIDs)
	if d.Cut {
		w.octet(1)
	} else {
		w.octet(0)
	}
	w.string(d.Name)
	w.string(d.NewName)
	switch d.Kind {
	case DeedSetACL:
		w.optional(d.Grantee)
		w.uint(uint64(d.Was))
		w.uint(uint64(d.Rights))
	case DeedMetadata:
		w.uint(uint64(len(d.Entries)))
		for _, name := range d.Entries {
			w.string(name)
		}
	}
}

// optional writes an id, or one octet for none.
func (w *writer) optional(id [16]byte) {
	if id == ([16]byte{}) {
		w.octet(0)
		return
	}
	w.octet(1)
	w.raw(id[:])
}

func (r *reader) optional() (id [16]byte) {
	if r.flag() {
		id = r.id()
	}
	return id
}

func decodeDeed(b []byte) (d Deed, err error) {
	var r reader
	version := r.startUpTo(b, secondVersion)
	kind := r.octet()
	if d.Kind = deedKinds[kind]; d.Kind == "" {
		r.newer = !r.bad
	}
	d.At = mail.Instant(r.int())
	a := &d.Actor
	for _, s := range []*string{&a.User, &a.By, &a.Remote, &a.Command, &a.QueueID} {
		*s = r.string()
	}
	a.Session = r.optional()
	d.Mailbox = r.optional()
	d.UIDs = r.uids()
	d.To = r.optional()
	d.ToUIDs = r.uids()
	d.Cut = r.flag()
	d.Name, d.NewName = r.string(), r.string()
	if (version >= secondVersion) != hasTail(d.Kind) {
		r.fail()
	}
	switch d.Kind {
	case DeedSetACL:
		d.Grantee = r.optional()
		for _, rights := range []*mail.Rights{&d.Was, &d.Rights} {
			bits := r.uint()
			if *rights = mail.Rights(bits); bits > uint64(mail.AllRights) {
				r.fail()
			}
		}
	case DeedMetadata:
		for range r.count(1) {
			d.Entries = append(d.Entries, r.string())
		}
	}
	return d, r.finish("history")
}

// note adds an operation that has changed something to the history, if it is one
// that somebody will ask about.
func (t *tx) note(op *operation.Operation, out *Outcome) {
	if out.Code != Done || !t.drawn {
		return
	}
	d := Deed{At: t.now, UIDs: out.Result.UIDs}
	if !t.describe(op, &out.Result, &d) {
		return
	}
	if a := op.Actor; a != nil {
		d.Actor = mail.Actor{User: a.User, By: a.By, Remote: a.Remote, Command: a.Command, QueueID: a.QueueId}
		if len(a.Session) > 0 {
			d.Actor.Session = mail.SessionID(a.Session)
		}
	}
	if d.Cut = max(len(d.UIDs), len(d.ToUIDs)) > maxDeedRanges; d.Cut {
		d.UIDs, d.ToUIDs = d.UIDs[:min(len(d.UIDs), maxDeedRanges)], d.ToUIDs[:min(len(d.ToUIDs), maxDeedRanges)]
	}
	d.encode(&t.buf)
	t.acc.history += deedCost(t.buf)
	t.dirty = true
	t.set(accountKey(t.key, t.id, kindHistory).uint64(uint64(t.acc.modseq)), t.buf)
	t.boundHistory()
}

// deedCost is what a deed counts in its account's history: its record and its key.
func deedCost(record []byte) uint64 { return uint64(len(record)) + accountPrefix + 8 }

// describe says what the operation did; false for what the history leaves out.
func (t *tx) describe(op *operation.Operation, res *mail.Result, d *Deed) bool {
	switch k := op.Kind.(type) {
	case *operation.Operation_CreateAccount:
		d.Kind = DeedCreateAccount
	case *operation.Operation_DeleteAccount:
		d.Kind = DeedDeleteAccount
	case *operation.Operation_UndeleteAccount:
		d.Kind = DeedUndeleteAccount
	case *operation.Operation_SetQuota:
		d.Kind = DeedQuota
	case *operation.Operation_Freeze:
		if d.Kind = DeedThaw; k.Freeze.On {
			d.Kind = DeedFreeze
		}
	case *operation.Operation_Append:
		d.Kind, d.Mailbox = DeedAppend, res.Mailbox
	case *operation.Operation_Store:
		d.Kind, d.Mailbox = DeedFlagDeleted, mail.MailboxID(k.Store.Mailbox)
		return k.Store.Flags&uint32(mail.Deleted) != 0 && mail.StoreMode(k.Store.Mode) != mail.RemoveFlags &&
			t.rights(t.boxes[0]).Has(mail.MayDeleteMail)
	case *operation.Operation_Copy:
		d.Kind = DeedCopy
		d.transfer(k.Copy.From, res)
	case *operation.Operation_Move:
		d.Kind = DeedMove
		d.transfer(k.Move.From, res)
	case *operation.Operation_Undelete:
		d.Kind = DeedUndelete
		d.transfer(k.Undelete.Mailbox, res)
	case *operation.Operation_Expunge:
		d.Kind, d.Mailbox = DeedExpunge, mail.MailboxID(k.Expunge.Mailbox)
	case *operation.Operation_SetAcl:
		d.Kind, d.Mailbox, d.Name = DeedSetACL, res.Mailbox, t.boxes[0].name
		copy(d.Grantee[:], k.SetAcl.User)
		d.Was, d.Rights = t.grantWas, t.granted(t.boxes[0], d.Grantee)
	case *operation.Operation_SetMetadata:
		d.Kind = DeedMetadata
		if len(k.SetMetadata.Mailbox) > 0 {
			d.Mailbox = mail.MailboxID(k.SetMetadata.Mailbox)
		}
		for _, e := range t.described {
			d.Entries = append(d.Entries, e.Name)
		}
	default:
		return t.describeName(op, res, d)
	}
	return true
}

func (d *Deed) transfer(from []byte, res *mail.Result) {
	d.Mailbox, d.UIDs, d.To, d.ToUIDs = mail.MailboxID(from), res.Source, res.Mailbox, res.UIDs
}

func (t *tx) describeName(op *operation.Operation, res *mail.Result, d *Deed) bool {
	switch k := op.Kind.(type) {
	case *operation.Operation_Create:
		d.Kind, d.Mailbox, d.NewName = DeedCreate, res.Mailbox, canonicalName(k.Create.Name)
	case *operation.Operation_Delete:
		d.Kind, d.Name = DeedDelete, canonicalName(k.Delete.Name)
		d.Mailbox = t.boxes[0].id // the only one it is about
	case *operation.Operation_Rename:
		d.Kind, d.Mailbox = DeedRename, res.Mailbox
		d.Name, d.NewName = canonicalName(k.Rename.From), canonicalName(k.Rename.To)
	case *operation.Operation_UndeleteMailbox:
		d.Kind, d.Mailbox, d.NewName = DeedUndeleteMailbox, res.Mailbox, canonicalName(k.UndeleteMailbox.Name)
	case *operation.Operation_Subscribe:
		if d.Kind, d.NewName = DeedSubscribe, canonicalName(k.Subscribe.Name); !k.Subscribe.On {
			d.Kind, d.Name, d.NewName = DeedUnsubscribe, d.NewName, ""
		}
	default:
		return false
	}
	return true
}

// boundHistory makes the oldest deeds give way to the newest.
func (t *tx) boundHistory() {
	if t.acc.history <= MaxHistory {
		return
	}
	from := accountKey(nil, t.id, kindHistory)
	var old [][]byte
	t.scan(from, prefixEnd(from), func(k, v []byte) bool {
		old = append(old, slices.Clone(k))
		t.acc.history -= min(deedCost(v), t.acc.history)
		return t.acc.history > MaxHistory
	})
	t.forget(old)
}

// forget removes the oldest deeds.
func (t *tx) forget(keys [][]byte) {
	if n := len(keys); n > 0 {
		last := reader{b: keys[n-1][accountPrefix:]}
		t.acc.forgotten, t.dirty = mail.ModSeq(last.fixed()), true
	}
	t.deleteAll(keys)
}

// forgetDeeds removes deeds from at or before a time; true when others are left.
func (t *tx) forgetDeeds(before mail.Instant) (more bool) {
	from := accountKey(nil, t.id, kindHistory)
	var old [][]byte
	t.scan(from, prefixEnd(from), func(k, v []byte) bool {
		d, err := decodeDeed(v)
		if err != nil {
			t.fail(err)
		}
		if err != nil || d.At > before {
			return false
		}
		if more = len(old) == purgeEntries; more {
			return false
		}
		old = append(old, slices.Clone(k))
		t.acc.history -= min(deedCost(v), t.acc.history)
		return true
	})
	t.forget(old)
	return more
}

// History yields the deeds of an account, deleted or not, the oldest first.
func History(r Reader, a mail.AccountID) iter.Seq2[Deed, error] { return deedsAfter(r, a, 0) }

// deedsAfter is History of what has a MODSEQ above since.
func deedsAfter(r Reader, a mail.AccountID, since mail.ModSeq) iter.Seq2[Deed, error] {
	return func(yield func(Deed, error) bool) {
		from := accountKey(nil, a, kindHistory)
		end := prefixEnd(from)
		for k, v := range r.Scan(from.uint64(uint64(since)+1), end) {
			d, err := decodeDeed(v)
			key := reader{b: k[accountPrefix:]}
			d.ModSeq = mail.ModSeq(key.fixed())
			if !yield(d, storeErr(err, "history of", a)) || err != nil {
				return
			}
		}
		if err := scanErr(r); err != nil {
			yield(Deed{}, err)
		}
	}
}

// DeedAt returns the deed with that MODSEQ, false if the history has none.
func DeedAt(r Reader, a mail.AccountID, at mail.ModSeq) (Deed, bool, error) {
	b, err := r.Get(accountKey(nil, a, kindHistory).uint64(uint64(at)))
	if err != nil || b == nil {
		return Deed{}, false, storeErr(err, "read history of", a)
	}
	d, err := decodeDeed(b)
	d.ModSeq = at
	return d, err == nil, storeErr(err, "history of", a)
}
