package remote

import (
	"slices"

	"github.com/tandemail/tandemail/internal/mail"
)

// ahead guesses which messages of a View will be opened next: who opens one after the
// other as they were listed will go on. It asks for whole ones only, of which nothing
// stays open at the master.
type ahead struct {
	listed [][]mail.Message // the newest batches
	last   *mail.Message    // opened, in listed
	window int
	asked  map[place]*early
	octets int64 // of asked
}

// place names a message in an account.
type place struct {
	mailbox mail.MailboxID
	uid     mail.UID
}

// early is a message that was asked for before it was wanted.
type early struct {
	reply *reply
	size  int64
}

const (
	aheadBatches = 4
	firstWindow  = 4
	maxWindow    = 32
	maxAhead     = 1 << 20 // octets
	maxSkipped   = 4       // messages between two that are opened one after the other
)

// note remembers a batch of a listing.
func (a *ahead) note(list []mail.Message) {
	if len(list) == 0 {
		return
	}
	if a.listed = append(a.listed, list); len(a.listed) > aheadBatches {
		a.listed = slices.Delete(a.listed, 0, 1)
	}
}

// opened notes that m is opened and returns what to ask for now.
func (a *ahead) opened(m *mail.Message) (next []mail.Message) {
	for _, list := range slices.Backward(a.listed) {
		i, found := slices.BinarySearchFunc(list, m.UID, func(l mail.Message, uid mail.UID) int { return int(l.UID) - int(uid) })
		if !found || list[i].Mailbox != m.Mailbox {
			continue
		}
		if slices.ContainsFunc(list[max(0, i-maxSkipped):i], func(l mail.Message) bool { return a.last != nil && l.UID == a.last.UID }) &&
			a.last.Mailbox == m.Mailbox {
			a.window = min(max(2*a.window, firstWindow), maxWindow)
		} else {
			a.window = 0
		}
		a.last = &list[i]
		return a.choose(list[i+1:])
	}
	return nil
}

// choose takes those of a listing that fit.
func (a *ahead) choose(list []mail.Message) (next []mail.Message) {
	octets := a.octets
	for _, m := range list[:min(len(list), a.window)] {
		if a.asked[place{m.Mailbox, m.UID}] != nil || m.Size > firstOctets {
			continue
		}
		if octets += m.Size; octets > maxAhead {
			break
		}
		next = append(next, m)
	}
	return next
}

// ask notes that a message was asked for.
func (a *ahead) ask(m *mail.Message, r *reply) {
	if a.asked == nil {
		a.asked = map[place]*early{}
	}
	a.asked[place{m.Mailbox, m.UID}] = &early{r, m.Size}
	a.octets += m.Size
}

// take gives the reply to one that was asked for, nil if it was not. What was passed
// over is forgotten.
func (a *ahead) take(m *mail.Message) (r *reply) {
	for at, e := range a.asked {
		if at.mailbox == m.Mailbox && at.uid > m.UID {
			continue
		}
		if at == (place{m.Mailbox, m.UID}) {
			r = e.reply
		}
		a.octets -= e.size
		delete(a.asked, at)
	}
	return r
}
