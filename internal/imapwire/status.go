package imapwire

import "slices"

// StatusItem is an item of STATUS, as it is written.
type StatusItem string

// The items of STATUS (RFC 9051 6.3.11, 7162, 8474, 7889, 9208).
const (
	StatusMessages      StatusItem = "MESSAGES"
	StatusRecent        StatusItem = "RECENT"
	StatusUIDNext       StatusItem = "UIDNEXT"
	StatusUIDValidity   StatusItem = "UIDVALIDITY"
	StatusUnseen        StatusItem = "UNSEEN"
	StatusDeleted       StatusItem = "DELETED"
	StatusDeletedSize   StatusItem = "DELETED-STORAGE"
	StatusSize          StatusItem = "SIZE"
	StatusHighestModSeq StatusItem = "HIGHESTMODSEQ"
	StatusMailboxID     StatusItem = "MAILBOXID"
	StatusAppendLimit   StatusItem = "APPENDLIMIT"
)

var statusNames = []StatusItem{
	StatusMessages, StatusRecent, StatusUIDNext, StatusUIDValidity, StatusUnseen, StatusDeleted, StatusDeletedSize,
	StatusSize, StatusHighestModSeq, StatusMailboxID, StatusAppendLimit,
}

// Status is STATUS.
type Status struct {
	Mailbox string
	Items   []StatusItem // each once
}

func (l *lexer) status() (any, error) {
	name, err := l.argMailbox()
	if err != nil {
		return nil, err
	}
	if err := l.space(); err != nil {
		return nil, err
	}
	items, err := l.statusItems()
	return &Status{name, items}, err
}

func (l *lexer) statusItems() ([]StatusItem, error) {
	var items []StatusItem
	err := l.list(maxItems, false, func() error {
		w, err := l.word()
		if err != nil {
			return err
		}
		item := StatusItem(w)
		if !slices.Contains(statusNames, item) {
			return syntax("No such STATUS item")
		}
		if !slices.Contains(items, item) {
			items = append(items, item)
		}
		return nil
	})
	return items, err
}
