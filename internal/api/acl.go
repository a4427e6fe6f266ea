package api

// ACLRequest asks for the rights in a user's mailboxes, and with an Identifier changes
// them first.
type ACLRequest struct {
	// Mailbox is its name or its id; "": all that are granted to somebody.
	Mailbox string `json:"mailbox,omitempty"`
	// Identifier is a user, or "anyone".
	Identifier string `json:"identifier,omitempty"`
	// Rights as of SETACL (RFC 4314 3.1): with + or - they are added or removed.
	Rights string `json:"rights,omitempty"`
	// Delete removes what is said of Identifier, as DELETEACL does.
	Delete bool   `json:"delete,omitempty"`
	By     string `json:"by,omitempty"`
}

// ACLReport says who may do what.
type ACLReport struct {
	Address   string       `json:"user"`
	Account   string       `json:"account"`
	Mailboxes []MailboxACL `json:"mailboxes"`
	// More: these are not all.
	More bool `json:"more"`
}

// MailboxACL is one mailbox's: the owner comes first.
type MailboxACL struct {
	Mailbox string     `json:"mailbox"`
	ACL     []ACLEntry `json:"acl"`
}

// ACLEntry is what one user, or anyone, may do.
type ACLEntry struct {
	Identifier string `json:"identifier"`
	Rights     string `json:"rights"`
}
