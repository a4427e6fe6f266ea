package operation

import "fmt"

// Bounds of what one operation may carry.
const (
	MaxChunk      = 1 << 20 // octets of one body chunk
	MaxChunks     = 256     // of one body
	MaxMessages   = 1_000   // of one Append
	MaxRecipients = 1_000   // of one Deliver
	MaxReferences = 64      // hashes of one message
	MaxPrefix     = 16 << 10
	MaxSettled    = 1_000 // delivery references of one SettleDeliveries
	MaxMailboxes  = 64    // of one CreateAccount
	MaxEntries    = 200   // of one SetMetadata

	idSize   = 16
	hashSize = 32
	keySize  = 32
)

func malformed(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrMalformed}, args...)...)
}

// validate checks shapes only: what Apply relies on without looking.
func (op *Operation) validate() error {
	if op.Level == 0 {
		return malformed("no level")
	}
	if a := op.Actor; a != nil && len(a.Session) != 0 && len(a.Session) != idSize {
		return malformed("actor's session has %d octets", len(a.Session))
	}
	if id := op.Id; id != nil && len(id.Session) != idSize {
		return malformed("session id has %d octets", len(id.Session))
	}
	switch k := op.Kind.(type) {
	case *Operation_Fork:
		return nil
	case *Operation_Deliver:
		return k.Deliver.validate()
	case *Operation_SettleDeliveries:
		return k.SettleDeliveries.validate()
	case nil:
		return malformed("no kind")
	}
	if len(op.Account) != idSize {
		return malformed("account id has %d octets", len(op.Account))
	}
	if err := optional("user", op.User); err != nil {
		return err
	}
	return op.validateAccountKind()
}

func (op *Operation) validateAccountKind() error {
	switch k := op.Kind.(type) {
	case *Operation_CreateAccount:
		return k.CreateAccount.validate()
	case *Operation_Append:
		return k.Append.validate()
	case *Operation_Store:
		if k.Store.Mode > 2 {
			return malformed("store mode %d", k.Store.Mode)
		}
		return shapes(ids("mailbox", k.Store.Mailbox), k.Store.Uids.validate())
	case *Operation_Copy:
		return k.Copy.validate()
	case *Operation_Move:
		return k.Move.validate()
	case *Operation_Expunge:
		return shapes(ids("mailbox", k.Expunge.Mailbox), k.Expunge.Uids.validate())
	case *Operation_Undelete:
		return shapes(ids("mailbox", k.Undelete.Mailbox, k.Undelete.To), k.Undelete.Uids.validate())
	case *Operation_UndeleteMailbox:
		return ids("mailbox", k.UndeleteMailbox.Mailbox)
	case *Operation_Purge:
		if len(k.Purge.Mailbox) != 0 {
			return ids("mailbox", k.Purge.Mailbox)
		}
	case *Operation_SetMetadata:
		return k.SetMetadata.validate()
	case *Operation_SetAccess:
		return k.SetAccess.validate()
	case *Operation_Recent:
		return ids("mailbox", k.Recent.Mailbox)
	case *Operation_Create:
		return ids("mailbox", k.Create.Id)
	case *Operation_Rename:
		return ids("mailbox", k.Rename.Id)
	case *Operation_SetAcl:
		if k.SetAcl.Mode > 3 {
			return malformed("mode %d of rights", k.SetAcl.Mode)
		}
		return shapes(ids("mailbox", k.SetAcl.Mailbox), optional("user", k.SetAcl.User))
	}
	return nil
}

func (c *CreateAccount) validate() error {
	if n := len(c.Mailboxes); n == 0 || n > MaxMailboxes {
		return malformed("account with %d mailboxes", n)
	}
	for _, m := range c.Mailboxes {
		if err := ids("mailbox", m.Id); err != nil {
			return err
		}
	}
	return nil
}

func (a *Append) validate() error {
	if n := len(a.Messages); n == 0 || n > MaxMessages {
		return malformed("append of %d messages", n)
	}
	for _, m := range a.Messages {
		if err := shapes(ids("message", m.EmailId, m.ThreadId), references(m.References), m.Body.validate()); err != nil {
			return err
		}
	}
	switch len(a.ReplacedIn) {
	case 0:
		if a.Replaced != 0 {
			return malformed("replaced message without a mailbox")
		}
	case idSize:
		if a.Replaced == 0 {
			return malformed("replaced message without a UID")
		}
	default:
		return malformed("mailbox id has %d octets", len(a.ReplacedIn))
	}
	return ids("mailbox", a.Mailbox)
}

func (m *SetMetadata) validate() error {
	if n := len(m.Entries); n == 0 || n > MaxEntries {
		return malformed("metadata of %d entries", n)
	}
	if len(m.Mailbox) != 0 {
		return ids("mailbox", m.Mailbox)
	}
	return nil
}

func (s *SetAccess) validate() error {
	switch n := len(s.Key); {
	case n != 0 && n != keySize:
		return malformed("access key has %d octets", n)
	case n != 0:
		return ids("mailbox", s.Mailbox)
	}
	return optional("mailbox", s.Mailbox)
}

func (c *Copy) validate() error {
	return shapes(ids("mailbox", c.From, c.To), c.Uids.validate())
}

func (d *Deliver) validate() error {
	if n := len(d.Recipients); n == 0 || n > MaxRecipients {
		return malformed("delivery to %d recipients", n)
	}
	for _, r := range d.Recipients {
		switch {
		case len(r.Mailbox) != 0 && len(r.Mailbox) != idSize:
			return malformed("mailbox id has %d octets", len(r.Mailbox))
		case len(r.ContentKey) != 0 && len(r.ContentKey) != hashSize:
			return malformed("content key has %d octets", len(r.ContentKey))
		case len(r.Prefix) > MaxPrefix:
			return malformed("prefix has %d octets", len(r.Prefix))
		}
		if err := ids("recipient", r.Account, r.EmailId, r.ThreadId); err != nil {
			return err
		}
	}
	return shapes(ids("transaction", d.Transaction), references(d.References), d.Body.validate())
}

func (s *SettleDeliveries) validate() error {
	if len(s.Confirmed)+len(s.InDoubt) > MaxSettled {
		return malformed("%d deliveries settled at once", len(s.Confirmed)+len(s.InDoubt))
	}
	for _, list := range [][]*DeliveryRef{s.Confirmed, s.InDoubt} {
		for _, r := range list {
			if err := ids("delivery", r.Account, r.Transaction); err != nil {
				return err
			}
		}
	}
	return nil
}

func (b *Body) validate() error {
	if b == nil || len(b.Sha256) != hashSize {
		return malformed("body without its hash")
	}
	if n := len(b.Chunks); n == 0 || n > MaxChunks {
		return malformed("body of %d chunks", n)
	}
	var sum int64
	for _, c := range b.Chunks {
		if (c.Back == 0) == (c.Lsn == 0) || c.Length > MaxChunk {
			return malformed("chunk at %d/-%d of %d octets", c.Lsn, c.Back, c.Length)
		}
		sum += int64(c.Length)
	}
	if sum != b.Size {
		return malformed("body of %d octets has chunks of %d", b.Size, sum)
	}
	return nil
}

func (s *UIDSet) validate() error {
	if s == nil || len(s.Bounds)%2 != 0 {
		return malformed("UID set without pairs")
	}
	last := uint64(0)
	for i := 0; i < len(s.Bounds); i += 2 {
		lo, hi := uint64(s.Bounds[i]), uint64(s.Bounds[i+1])
		// Ranges neither touch nor overlap, so there is one form of a set.
		if lo == 0 || lo > hi || i > 0 && lo <= last+1 {
			return malformed("UID range %d:%d after %d", lo, hi, last)
		}
		last = hi
	}
	return nil
}

func references(b []byte) error {
	if len(b)%idSize != 0 || len(b) > MaxReferences*idSize {
		return malformed("references of %d octets", len(b))
	}
	return nil
}

func ids(what string, list ...[]byte) error {
	for _, id := range list {
		if len(id) != idSize {
			return malformed("%s id has %d octets", what, len(id))
		}
	}
	return nil
}

// optional is ids for one that may be absent.
func optional(what string, id []byte) error {
	if len(id) == 0 {
		return nil
	}
	return ids(what, id)
}

func shapes(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
