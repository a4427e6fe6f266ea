package cli

import (
	"cmp"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/tandemail/tandemail/internal/api"
	"github.com/tandemail/tandemail/internal/mail"
	"github.com/tandemail/tandemail/internal/slot"
)

type userHistoryCmd struct {
	Address   string `arg:"" help:"user@domain; of a deleted user also the account's id"`
	Mailbox   string `help:"Only this mailbox, by its name or id." placeholder:"NAME"`
	UID       uint32 `help:"Only the message with this UID in --mailbox, wherever it went." placeholder:"N"`
	MessageID string `help:"Only the message with this Message-ID." name:"message-id" placeholder:"ID"`
	Since     string `help:"Only since then: 2d, or 2026-01-31 15:04." placeholder:"WHEN"`
	Limit     int    `help:"The newest so many." default:"100"`
}

// Run prints who changed what.
func (c userHistoryCmd) Run(e *env) error {
	since, err := parseWhen(c.Since, time.Now())
	if err != nil {
		return usageError{err}
	}
	cl, err := e.cluster()
	if err != nil {
		return err
	}
	h, err := cl.History(e.ctx, c.Address, api.HistoryRequest{
		Mailbox: c.Mailbox, UID: mail.UID(c.UID), MessageID: c.MessageID, Since: since, Limit: c.Limit,
	})
	if err != nil {
		return err
	}
	return e.print(h, func(w io.Writer) { printHistory(w, h) })
}

func printHistory(w io.Writer, h api.UserHistory) {
	for _, p := range h.Places {
		fmt.Fprintf(w, "UID %d in %s, there since %s", p.UID, p.Mailbox, when(p.Saved))
		if !p.Expunged.IsZero() {
			fmt.Fprintf(w, ", expunged %s", when(p.Expunged))
		}
		fmt.Fprintln(w)
	}
	if h.More {
		fmt.Fprintln(w, "(there are older ones: --limit)")
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "WHEN\tWHAT\tBY\tWHICH")
	for _, d := range h.Deeds {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\n", when(d.At), d.Kind, who(d.By), which(d))
	}
	t.Flush()
}

// which says in a few words what a deed was about.
func which(d slot.Deed) string {
	var parts []string
	add := func(format string, args ...any) { parts = append(parts, fmt.Sprintf(format, args...)) }
	switch {
	case d.Name != "" && d.NewName != "":
		add("%s to %s", d.Name, d.NewName)
	case d.Name != "" || d.NewName != "":
		add("%s%s", d.Name, d.NewName)
	case d.Mailbox != "":
		add("%s", d.Mailbox)
	}
	if d.Grantee != "" {
		add("%s: %s", d.Grantee, cmp.Or(d.Rights, "no rights"))
	}
	if d.UIDs != "" {
		add("UID %.80s", d.UIDs)
	}
	if d.To != "" {
		add("to %s", d.To)
	}
	if d.ToUIDs != "" {
		add("UID %.80s", d.ToUIDs)
	}
	return strings.Join(parts, " ")
}
