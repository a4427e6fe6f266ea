package mail

import "strings"

// Rights are what a user may do with a mailbox (RFC 4314 2.1). The zero value is none.
type Rights uint16

// The rights, in the order in which they are written.
const (
	MayLookup     Rights = 1 << iota // l: it is visible
	MayRead                          // r: SELECT, FETCH, SEARCH, COPY from it
	MaySeen                          // s: keep \Seen across sessions
	MayWrite                         // w: flags other than \Seen and \Deleted
	MayInsert                        // i: APPEND, COPY into it
	MayPost                          // p: submit to its address; kept, and nothing asks for it
	MayCreate                        // k: mailboxes below it
	MayDelete                        // x: the mailbox itself
	MayDeleteMail                    // t: \Deleted
	MayExpunge                       // e
	MayAdmin                         // a: its rights

	AllRights    Rights = 1<<iota - 1
	OwnersRights        = MayLookup | MayAdmin // which an owner cannot lose
)

const rightLetters = "lrswipkxtea"

// String lists r as IMAP writes it.
func (r Rights) String() string {
	var b strings.Builder
	for i := range len(rightLetters) {
		if r>>i&1 != 0 {
			b.WriteByte(rightLetters[i])
		}
	}
	return b.String()
}

// Has reports whether r holds all of need.
func (r Rights) Has(need Rights) bool { return r&need == need }

// ParseRights reads rights as a client writes them: c is kx, d is te (RFC 4314 2.1.1).
// False for a letter that is no right.
func ParseRights(s string) (r Rights, ok bool) {
	for i := range len(s) {
		switch at := strings.IndexByte(rightLetters, s[i]); {
		case at >= 0:
			r |= 1 << at
		case s[i] == 'c':
			r |= MayCreate | MayDelete
		case s[i] == 'd':
			r |= MayDeleteMail | MayExpunge
		default:
			return 0, false
		}
	}
	return r, true
}

// Settable is the flags that a user with these rights may change, and whether keywords
// are among them.
func (r Rights) Settable() (f Flags, keywords bool) {
	if r.Has(MaySeen) {
		f |= Seen
	}
	if r.Has(MayDeleteMail) {
		f |= Deleted
	}
	if keywords = r.Has(MayWrite); keywords {
		f |= AllFlags &^ (Seen | Deleted)
	}
	return f, keywords
}

// Annotates reports whether r is enough to ask for a mailbox's metadata, and to set that
// which nobody else sees (RFC 5464 3.3).
func (r Rights) Annotates() bool {
	return r.Has(MayLookup) && r&(MayRead|MaySeen|MayWrite|MayInsert|MayPost) != 0
}

// Grant says what a user may do with a mailbox.
type Grant struct {
	User   AccountID // zero: anyone
	Rights Rights
}

// OnlyOf is what a list of grants says of one user alone: one grant, or none.
func OnlyOf(list []Grant, user AccountID) []Grant {
	for i, g := range list {
		if g.User == user {
			return list[i : i+1]
		}
	}
	return nil
}

// Granted reports whether an account grants any of its mailboxes to a user by name, or
// for the zero id to anyone.
func Granted(v View, user AccountID) (bool, error) {
	for info, err := range v.Mailboxes() {
		if err != nil {
			return false, err
		}
		if !info.Shared {
			continue
		}
		list, err := v.ACL(info.ID)
		if err != nil || OnlyOf(list, user) != nil {
			return err == nil, err
		}
	}
	return false, nil
}

// RightsOf is what a list of grants gives to a user: theirs and anyone's. The owner has
// all rights unless the list has a grant for him, and is never without l and a.
func RightsOf(list []Grant, user AccountID, owner bool) (r Rights) {
	named := false
	for _, g := range list {
		if g.User == user || g.User.IsZero() {
			r |= g.Rights
		}
		named = named || g.User == user
	}
	switch {
	case owner && !named:
		return AllRights
	case owner:
		return r | OwnersRights
	}
	return r
}
