package cli

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/slot"
)

type slotCmd struct {
	Inspect slotInspectCmd `cmd:"" help:"Print a slot's identity, its packs, and the batches and records of its journal."`
}

type slotInspectCmd struct {
	Meta  string      `arg:"" help:"The slot's meta directory." type:"existingdir"`
	Spool string      `help:"The slot's spool directory: print its packs too." placeholder:"DIR" type:"existingdir"`
	From  cluster.LSN `help:"Begin at this batch. Default: the first." placeholder:"LSN"`
	Batch int         `help:"Print at most so many batches." default:"100"`
	Body  bool        `help:"Print operations in full."`
}

// Run reads the files of a slot that nobody else need have open.
func (c slotInspectCmd) Run(e *env) error {
	out := json.NewEncoder(e.stdout)
	show := func(x slot.Entry) error {
		if e.json {
			return out.Encode(x)
		}
		return c.text(e.stdout, x)
	}
	if c.Spool != "" {
		if err := slot.DumpPacks(vfs.Default, c.Spool, show); err != nil {
			return err
		}
	}
	return slot.Dump(vfs.Default, c.Meta, c.From, c.Batch, show)
}

func (c slotInspectCmd) text(w io.Writer, x slot.Entry) error {
	var err error
	switch {
	case x.Identity != nil:
		_, err = fmt.Fprintf(w, "slot %v of store %s in cluster %s, opened %d times\n", x.Identity.Slot, x.Identity.Store, x.Identity.Cluster, x.Identity.Opens)
	case x.Journal != nil:
		_, err = fmt.Fprintf(w, "journal %d-%d\n", x.Journal.Low, x.Journal.End)
	case x.Pack != nil:
		_, err = fmt.Fprintf(w, "pack %s %d entries %d octets %s\n", x.Pack.ID, x.Pack.Entries, x.Pack.Size, cmp.Or(x.Pack.Damaged, "whole"))
	case x.Damaged != nil:
		_, err = fmt.Fprintf(w, "damaged body %d in %s: %s\n", x.Damaged.Body, cmp.Or(x.Damaged.Pack, "the journal"), x.Damaged.Why)
	case x.Batch != nil:
		_, err = fmt.Fprintf(w, "batch %d-%d epoch %d commit %d chain %v, %d records\n", x.Batch.Base, x.Batch.End, x.Batch.Epoch, x.Batch.Commit, x.Batch.Chain, x.Batch.Records)
	case x.Record != nil:
		_, err = fmt.Fprintf(w, "  %d %s %d octets %s\n", x.Record.LSN, x.Record.Kind, x.Record.Length, x.Record.Summary)
		if err == nil && c.Body && len(x.Record.Operation) > 0 {
			_, err = fmt.Fprintf(w, "    %s\n", x.Record.Operation)
		}
	}
	return err
}
