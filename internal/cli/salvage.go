package cli

import (
	"errors"
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/tandemail/tandemail/internal/salvage"
)

type salvageCmd struct {
	From   []string `arg:"" name:"from" help:"Directories of slots, or above them." type:"existingdir"`
	To     string   `help:"Where to write; each slot makes a new directory there." required:"" placeholder:"DEST" type:"path"`
	Format string   `help:"What to write." enum:"maildir,mbox" default:"maildir" placeholder:"FORMAT"`
	User   string   `help:"Only this account: its address or id." placeholder:"USER"`
}

// Run writes mail files and says what could not be read; exit code 1 if anything.
func (c salvageCmd) Run(e *env) error {
	r, err := salvage.Run(e.ctx, salvage.Config{FS: vfs.Default, From: c.From, To: c.To, Format: c.Format, User: c.User})
	if errors.Is(err, salvage.ErrNothing) {
		return hinted{err, "give a slot's meta and spool directories, or the directories of a machine"}
	}
	if err != nil {
		return err
	}
	if err := e.print(r, func(w io.Writer) { printSalvage(w, r) }); err != nil {
		return err
	}
	if !r.Complete {
		return errors.New("not everything could be read, or nothing tells whether it could")
	}
	return nil
}

func printSalvage(w io.Writer, r *salvage.Report) {
	for i, s := range r.Slots {
		if i > 0 {
			fmt.Fprintln(w)
		}
		fmt.Fprintf(w, "slot %s of store %s, as it was at %d: %d messages, %d octets, in %s\n", orDash(s.Slot), orDash(string(s.Store)), s.LSN, s.Messages, s.Octets, s.To)
		t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
		fmt.Fprintln(t, "ADDRESS\tACCOUNT\tMAILBOXES\tMESSAGES\tUNPLACED\tOCTETS")
		for _, a := range s.Accounts {
			fmt.Fprintf(t, "%s\t%s\t%d\t%d\t%d\t%d\n", orDash(a.Address), a.Account, a.Mailboxes, a.Messages, a.Unplaced, a.Octets)
		}
		t.Flush()
		for _, d := range s.Damage {
			fmt.Fprintf(w, "damage: %s\n", d)
		}
		if more := s.DamageCount - len(s.Damage); more > 0 {
			fmt.Fprintf(w, "damage: and %d more\n", more)
		}
		for _, l := range s.Lost {
			fmt.Fprintf(w, "lost: %s %s, mailbox %q, UID %d: %s\n", orDash(l.Address), l.Account, l.Mailbox, l.UID, l.Why)
		}
		if more := s.LostCount - len(s.Lost); more > 0 {
			fmt.Fprintf(w, "lost: and %d more\n", more)
		}
	}
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
