package mail

// EventKind is what happened to an account beside its messages.
type EventKind uint8

// The kinds of events.
const (
	MailboxCreated  EventKind = iota + 1 // NewName
	MailboxDeleted                       // Name
	MailboxRenamed                       // Name to NewName, and what is below it
	Subscribed                           // NewName
	Unsubscribed                         // Name
	MetadataChanged                      // Entries of Mailbox; zero: the account's own
	RightsChanged                        // the reader's in Mailbox, which had Name: a grant of Was
)

// Event is one of them. A mailbox that INBOX's messages were renamed into is created.
type Event struct {
	ModSeq        ModSeq
	Kind          EventKind
	Mailbox       MailboxID
	Name, NewName string
	Entries       []string // their names
	Was           Rights
}
