package session

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/tandemail/tandemail/internal/fields"
	"github.com/tandemail/tandemail/internal/mail"
)

// TokenVersion is the newest. Append writes the oldest that can say all of a token, so
// that an older release goes on with it; DecodeToken reads all of them.
const TokenVersion = 3

// What is new in a version.
const (
	versionSelectedAway = 2 // another user's mailbox is selected
	versionFollowed     = 3 // other users' accounts are followed
)

// MaxToken is the size above which a session is not resumable, in octets: what
// fits an Open frame.
const MaxToken = MaxFrame - 4<<10

// MaxNotify bounds a NOTIFY command, in octets.
const MaxNotify = 32 << 10

// Errors of tokens.
var (
	ErrTokenVersion = errors.New("token of an unknown version")
	ErrTokenSize    = errors.New("token is too large")
)

// Features are what a client enabled.
type Features uint8

// The features.
const (
	CondStore Features = 1 << iota
	QResync
	UTF8
	Rev2
	UIDOnly
	Metadata       // of mailboxes, unasked
	MetadataServer // of the account

	allFeatures = CondStore | QResync | UTF8 | Rev2 | UIDOnly | Metadata | MetadataServer
)

// Token says what a client has been told, and nothing else. The front end keeps
// one a session, applies the deltas of what it forwarded, and gives it to the
// next master. It is not encrypted: it stays inside the cluster.
type Token struct {
	Account     mail.AccountID
	Fork        uint64 // of the account when the session began; another one: BYE
	User, By    string
	Enabled     Features
	LastCommand uint64    // the last one with a forwarded Done
	Fetch       Progress  // of the command after it, if that is a FETCH
	Selected    *Selected // nil: no mailbox
	Saved       mail.UIDSet
	Contexts    []Context
	Notify      []byte      // the last NOTIFY command (RFC 5465); empty: there was none
	NotifySeq   mail.ModSeq // what happened elsewhere up to here is told or not asked for
	Followed    []Followed  // of other users, by owner
	IdleTag     string      // of an IDLE that runs, or ""
}

// Selected is the selected mailbox as the client sees it.
type Selected struct {
	Owner       mail.AccountID // of another user's account; zero: the token's own
	Fork        uint64         // of that account when the mailbox was selected
	Mailbox     mail.MailboxID
	UIDValidity mail.UIDValidity
	ReadOnly    bool
	Announced
}

// Announced is what the client has been told of its mailbox. All messages below
// UIDNext have been announced, but those expunged after the Expunged cut are
// still in its view.
type Announced struct {
	UIDNext  mail.UID
	Expunged Cut         // tombstones up to here, in order, are announced
	Flags    mail.ModSeq // all flag changes up to here are; repeating is harmless
	Count    uint32      // messages in view
	Sum      Sum         // of their UIDs
	Keywords uint32      // places of the mailbox's table that are announced
	Highest  mail.ModSeq // HIGHESTMODSEQ told
	Recent   mail.UIDSet // UIDs announced as \Recent
}

// Cut is a place in the order of tombstones: MODSEQ up, within one MODSEQ UID
// down. UID is the lowest announced of that MODSEQ, 0 if it is complete.
type Cut struct {
	ModSeq mail.ModSeq
	UID    mail.UID
}

// Append appends the encoding of t, with its version. ErrTokenSize.
func (t *Token) Append(dst []byte) ([]byte, error) {
	start := len(dst)
	version := t.version()
	dst = binary.AppendUvarint(dst, version)
	dst = append(dst, t.Account[:]...)
	dst = binary.AppendUvarint(dst, t.Fork)
	dst = fields.AppendString(dst, t.User)
	dst = fields.AppendString(dst, t.By)
	dst = append(dst, byte(t.Enabled))
	dst = binary.AppendUvarint(dst, t.LastCommand)
	dst = fields.AppendBool(dst, t.Selected != nil)
	if t.Selected != nil {
		if version == versionFollowed {
			dst = fields.AppendBool(dst, t.away())
		}
		if t.away() {
			dst = t.Selected.appendOwner(dst)
		}
		dst = t.Selected.append(dst)
	}
	dst = fields.AppendSet(dst, t.Saved)
	dst = binary.AppendUvarint(dst, uint64(len(t.Contexts)))
	for _, c := range t.Contexts {
		dst = fields.AppendString(dst, c.Tag)
		dst = fields.AppendString(dst, c.Program)
		dst = fields.AppendSet(dst, c.Members)
	}
	dst = fields.AppendString(dst, t.Notify)
	dst = binary.AppendUvarint(dst, uint64(t.NotifySeq))
	dst = fields.AppendString(dst, t.IdleTag)
	dst = t.Fetch.append(dst)
	if version == versionFollowed {
		dst = appendFollowed(dst, t.Followed)
	}
	if n := len(dst) - start; n > MaxToken {
		return dst[:start], fmt.Errorf("encode token of %d octets: %w", n, ErrTokenSize)
	}
	return dst, nil
}

// DecodeToken reads a token. ErrTokenVersion, ErrTokenSize, ErrMalformed.
func DecodeToken(b []byte) (*Token, error) {
	if len(b) > MaxToken {
		return nil, fmt.Errorf("decode token of %d octets: %w", len(b), ErrTokenSize)
	}
	d := newDecoder(b)
	version := d.U64()
	if (version == 0 || version > TokenVersion) && d.OK() {
		return nil, fmt.Errorf("decode token of version %d: %w", version, ErrTokenVersion)
	}
	t := &Token{
		Account: d.ID(), Fork: d.U64(), User: d.String(maxName), By: d.String(maxName),
		Enabled: Features(d.Uint(uint64(allFeatures))), LastCommand: d.U64(),
	}
	if d.Bool() {
		t.Selected = d.selected(version == versionSelectedAway || version == versionFollowed && d.Bool())
	}
	t.Saved = d.set()
	for range d.Uint(MaxContexts) {
		t.Contexts = append(t.Contexts, Context{d.String(maxName), d.Octets(MaxContextProgram), d.set()})
	}
	t.Notify = d.Octets(MaxNotify)
	t.NotifySeq = mail.ModSeq(d.u63())
	t.IdleTag = d.String(maxName)
	t.Fetch = d.progress()
	if version == versionFollowed {
		t.Followed = d.followed()
	}
	if version != t.version() {
		d.Fail() // it would be of a version before
	}
	if err := d.End("token"); err != nil {
		return nil, err
	}
	return t, nil
}

// version is the oldest that can say all of t.
func (t *Token) version() uint64 {
	switch {
	case len(t.Followed) > 0:
		return versionFollowed
	case t.away():
		return versionSelectedAway
	}
	return 1
}

// away reports whether another user's mailbox is selected.
func (t *Token) away() bool { return t.Selected != nil && !t.Selected.Owner.IsZero() }

func (s *Selected) appendOwner(dst []byte) []byte {
	return binary.AppendUvarint(append(dst, s.Owner[:]...), s.Fork)
}

func (s *Selected) append(dst []byte) []byte {
	dst = append(dst, s.Mailbox[:]...)
	dst = binary.AppendUvarint(dst, uint64(s.UIDValidity))
	dst = fields.AppendBool(dst, s.ReadOnly)
	return s.Announced.append(dst)
}

// selected reads a selected mailbox, with its owner before it if there is one.
func (d decoder) selected(owner bool) *Selected {
	s := new(Selected)
	if owner {
		if s.Owner, s.Fork = d.ID(), d.U64(); s.Owner.IsZero() {
			d.Fail()
		}
	}
	s.Mailbox, s.UIDValidity, s.ReadOnly, s.Announced = d.ID(), mail.UIDValidity(d.U32()), d.Bool(), d.announced()
	return s
}

func (a *Announced) append(dst []byte) []byte {
	dst = binary.AppendUvarint(dst, uint64(a.UIDNext))
	dst = binary.AppendUvarint(dst, uint64(a.Expunged.ModSeq))
	dst = binary.AppendUvarint(dst, uint64(a.Expunged.UID))
	dst = binary.AppendUvarint(dst, uint64(a.Flags))
	dst = binary.AppendUvarint(dst, uint64(a.Count))
	dst = binary.BigEndian.AppendUint64(dst, uint64(a.Sum))
	dst = binary.AppendUvarint(dst, uint64(a.Keywords))
	dst = binary.AppendUvarint(dst, uint64(a.Highest))
	return fields.AppendSet(dst, a.Recent)
}

func (d decoder) announced() Announced {
	a := Announced{
		UIDNext:  mail.UID(d.U32()),
		Expunged: Cut{mail.ModSeq(d.u63()), mail.UID(d.U32())},
		Flags:    mail.ModSeq(d.u63()),
		Count:    d.U32(),
	}
	if b := d.Take(8); b != nil {
		a.Sum = Sum(binary.BigEndian.Uint64(b))
	}
	a.Keywords = d.U32()
	a.Highest = mail.ModSeq(d.u63())
	a.Recent = d.set()
	return a
}
