package tail

import (
	"fmt"
	"strings"

	"github.com/tandemail/tandemail/internal/mail"
	"github.com/tandemail/tandemail/internal/salvage"
	"github.com/tandemail/tandemail/internal/state"
	"github.com/tandemail/tandemail/internal/state/operation"
)

// change says what an operation changed but for messages that it inserted; "" if
// nothing that a person would miss.
func change(op salvage.LeftOp) string {
	if o := op.Outcome; o != nil && (o.Code != state.Done || o.Repeated) {
		return ""
	}
	switch k := op.Op.Kind.(type) {
	case *operation.Operation_Store:
		return touched(op, k.Store.Uids, flagsText(k.Store))
	case *operation.Operation_Expunge:
		return touched(op, k.Expunge.Uids, "expunged")
	case *operation.Operation_Move:
		return touched(op, k.Move.Uids, "moved elsewhere")
	case *operation.Operation_Copy:
		if op.Outcome == nil {
			return touched(op, k.Copy.Uids, "copied")
		}
	case *operation.Operation_Create:
		return fmt.Sprintf("mailbox %q created", k.Create.Name)
	case *operation.Operation_Delete:
		return fmt.Sprintf("mailbox %q deleted", k.Delete.Name)
	case *operation.Operation_Rename:
		return fmt.Sprintf("mailbox %q renamed to %q", k.Rename.From, k.Rename.To)
	case *operation.Operation_Subscribe:
		return fmt.Sprintf("mailbox %q subscribed: %v", k.Subscribe.Name, k.Subscribe.On)
	case *operation.Operation_SetAcl:
		return "rights changed in " + mailboxName(op.Mailbox)
	case *operation.Operation_SetQuota:
		return fmt.Sprintf("quota set to %d messages, %d octets", k.SetQuota.LimitMessages, k.SetQuota.LimitOctets)
	case *operation.Operation_Freeze:
		return fmt.Sprintf("account frozen: %v", k.Freeze.On)
	case *operation.Operation_DeleteAccount:
		return "account deleted"
	}
	return ""
}

// touched names the messages: those that were changed if that is known, else those
// that were asked for.
func touched(op salvage.LeftOp, asked *operation.UIDSet, what string) string {
	var set mail.UIDSet
	if op.Outcome == nil {
		for i := 0; i+1 < len(asked.GetBounds()); i += 2 {
			set = append(set, mail.UIDRange{Lo: mail.UID(asked.Bounds[i]), Hi: mail.UID(asked.Bounds[i+1])})
		}
	} else if set = op.Outcome.Result.UIDs; op.Op.GetMove() != nil {
		set = op.Outcome.Result.Source
	}
	if len(set) == 0 {
		return ""
	}
	return fmt.Sprintf("%s %s: %s", mailbox(op.Mailbox), set, what)
}

func mailbox(name string) string {
	if name == "" {
		return "a mailbox, messages"
	}
	return fmt.Sprintf("mailbox %q, messages", name)
}

func flagsText(s *operation.Store) string {
	words := mail.Flags(s.Flags).Names()
	words = append(words, s.Keywords...)
	verb := [...]string{mail.ReplaceFlags: "flags set to", mail.AddFlags: "flags added:", mail.RemoveFlags: "flags removed:"}[s.Mode]
	return verb + " " + strings.Join(words, " ")
}

// describe names a message without telling what is in it.
func describe(op salvage.LeftOp, m salvage.Added) string {
	how := "delivered"
	switch op.Op.Kind.(type) {
	case *operation.Operation_Append:
		how = "appended"
	case *operation.Operation_Copy:
		how = "copied"
	}
	return fmt.Sprintf("%s %s (%s, %d octets)", how, m.EmailID, mailboxName(m.Name), m.Size+int64(len(m.Prefix)))
}

func mailboxName(name string) string {
	if name == "" {
		return "mailbox not known"
	}
	return fmt.Sprintf("mailbox %q", name)
}
