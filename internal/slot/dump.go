package slot

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/journal"
	"github.com/tandemail/tandemail/internal/pack"
	"github.com/tandemail/tandemail/internal/state/operation"
)

// Entry is one thing that Dump found. One of its fields is set.
type Entry struct {
	Identity *Identity    `json:"identity,omitempty"`
	Journal  *Extent      `json:"journal,omitempty"`
	Pack     *PackEntry   `json:"pack,omitempty"`
	Damaged  *Damaged     `json:"damaged,omitempty"`
	Batch    *BatchEntry  `json:"batch,omitempty"`
	Record   *RecordEntry `json:"record,omitempty"`
}

// Extent is what a journal holds.
type Extent struct {
	Low cluster.LSN `json:"low"` // what is below was trimmed
	End cluster.LSN `json:"end"`
}

// PackEntry is one pack.
type PackEntry struct {
	ID      string `json:"id"`
	Entries int    `json:"entries"`
	Size    int64  `json:"size"`              // of the file, in octets
	Damaged string `json:"damaged,omitempty"` // what is wrong with the file's ends
}

// DumpPacks shows the packs in a slot's spool directory, and then what is known to
// be damaged in them. It only reads their ends, and a running slot may go on beside it.
func DumpPacks(fs vfs.FS, spool string, show func(Entry) error) error {
	packs, err := pack.List(fs, fs.PathJoin(spool, packsDir))
	if err != nil {
		return err
	}
	for _, p := range packs {
		e := PackEntry{ID: p.ID.String(), Entries: p.Entries, Size: p.Size}
		if p.Damage != nil {
			e.Damaged = p.Damage.Error()
		}
		if err := show(Entry{Pack: &e}); err != nil {
			return err
		}
	}
	var known damaged
	if err := known.load(fs, spool); err != nil {
		return err
	}
	for _, d := range known.list() {
		if err := show(Entry{Damaged: &d}); err != nil {
			return err
		}
	}
	return nil
}

// BatchEntry is a batch of the journal.
type BatchEntry struct {
	Base    cluster.LSN   `json:"base"`
	End     cluster.LSN   `json:"end"`
	Epoch   cluster.Epoch `json:"epoch"`
	Commit  cluster.LSN   `json:"commit"`
	Chain   cluster.Chain `json:"chain"`
	Records int           `json:"records"`
}

// RecordEntry is a record of the batch before it.
type RecordEntry struct {
	LSN       cluster.LSN     `json:"lsn"`
	Kind      string          `json:"kind"`
	Length    int             `json:"length"`
	Summary   string          `json:"summary,omitempty"`
	Operation json.RawMessage `json:"operation,omitempty"`
}

// Dump shows a slot's identity, where its journal begins and ends, and at most batches of its journal from LSN from on
// (0: the oldest). It only reads, and a running slot may go on beside it.
func Dump(fs vfs.FS, meta string, from cluster.LSN, batches int, show func(Entry) error) error {
	var id Identity
	if err := readSealed(fs, meta, identityFile, &id); err != nil {
		return fmt.Errorf("read identity of slot: %w", err)
	}
	if err := show(Entry{Identity: &id}); err != nil {
		return err
	}
	cfg := journal.Config{FS: fs, Dir: fs.PathJoin(meta, "journal"), StoreID: id.StoreID}
	low, end, err := journal.Extent(cfg)
	if err == nil {
		err = show(Entry{Journal: &Extent{low, end}})
	}
	if err != nil {
		return fmt.Errorf("read journal: %w", err)
	}
	for b, err := range journal.Scan(cfg, from) {
		if err != nil {
			return fmt.Errorf("read journal: %w", err)
		}
		if batches--; batches < 0 {
			return nil
		}
		if err := dumpBatch(b, show); err != nil {
			return err
		}
	}
	return nil
}

func dumpBatch(b journal.Batch, show func(Entry) error) error {
	e := BatchEntry{Base: b.Base, End: b.End, Epoch: b.Epoch, Commit: b.Commit, Chain: b.Chain, Records: b.Len()}
	if err := show(Entry{Batch: &e}); err != nil {
		return err
	}
	for lsn, rec := range b.Records() {
		if err := show(Entry{Record: dumpRecord(lsn, rec)}); err != nil {
			return err
		}
	}
	return nil
}

func dumpRecord(lsn cluster.LSN, rec journal.Record) *RecordEntry {
	e := &RecordEntry{LSN: lsn, Kind: rec.Kind.String(), Length: len(rec.Payload)}
	switch rec.Kind {
	case journal.KindOperation, journal.KindFork:
		op, err := operation.Decode(rec.Payload)
		if err != nil {
			e.Summary = err.Error()
			return e
		}
		e.Summary = kindOf(op)
		e.Operation = operation.JSON(op)
	case journal.KindStoreRecord:
		e.Summary = string(rec.Payload)
	case journal.KindBodyChunk:
		head, _, _ := strings.Cut(string(rec.Payload[:min(len(rec.Payload), 200)]), "\r\n")
		e.Summary = fmt.Sprintf("%q", head)
	}
	return e
}
