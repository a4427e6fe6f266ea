package salvage

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/tandemail/tandemail/internal/journal"
)

// Formats of what is written.
const (
	Maildir = "maildir" // Maildir++: a folder a mailbox, flags in the names, octets as stored
	Mbox    = "mbox"    // mboxrd: a file a mailbox
)

// Config of Run. FS, From and To are required.
type Config struct {
	FS   vfs.FS   // what From is in; it is only read
	From []string // directories: a slot's, or any above them
	To   string   // a directory of the local file system; made if it is not there
	// Format is Maildir, the default, or Mbox.
	Format string
	// User restricts it to one account: its id, or its address as far as it can be told.
	User string
}

// ErrNothing: no directory holds anything of a slot.
var ErrNothing = errors.New("nothing of a slot here")

// Run writes what the slots in cfg.From hold. An error means that it could not go on;
// what could not be read is in the Report and no error.
func Run(ctx context.Context, cfg Config) (*Report, error) {
	if cfg.Format == "" {
		cfg.Format = Maildir
	}
	if cfg.Format != Maildir && cfg.Format != Mbox {
		return nil, fmt.Errorf("format %q: there are %s and %s", cfg.Format, Maildir, Mbox)
	}
	if err := apart(cfg); err != nil {
		return nil, err
	}
	fs := readOnly{cfg.FS}
	slots, err := find(fs, cfg.From)
	if err != nil {
		return nil, err
	}
	r := &Report{To: cfg.To, Complete: true, Slots: []*SlotReport{}}
	for _, f := range slots {
		if !f.anything() {
			continue
		}
		w := &work{cfg: &cfg, fs: fs, from: f, on: vfs.Default, outs: map[string]*account{}, taken: map[string]bool{}}
		s, err := w.run(ctx)
		if err != nil {
			return r, fmt.Errorf("salvage %s: %w", strings.Join(f.dirs, ", "), err)
		}
		r.Slots = append(r.Slots, s)
		r.Complete = r.Complete && s.Complete
	}
	if len(r.Slots) == 0 {
		return r, fmt.Errorf("%s: %w", strings.Join(cfg.From, ", "), ErrNothing)
	}
	return r, nil
}

// apart refuses to write into what is read.
func apart(cfg Config) error {
	to, err := resolved(cfg.To)
	if err != nil {
		return err
	}
	for _, dir := range cfg.From {
		from, err := resolved(dir)
		if err != nil {
			return err
		}
		if rel, err := filepath.Rel(from, to); err == nil && rel != ".." && !strings.HasPrefix(rel, "../") {
			return fmt.Errorf("%s is inside %s, where salvage does not write", cfg.To, dir)
		}
	}
	return nil
}

// resolved is path without links, as far as it exists.
func resolved(path string) (string, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	rest := ""
	for at := path; ; at = filepath.Dir(at) {
		if real, err := filepath.EvalSymlinks(at); err == nil {
			return filepath.Join(real, rest), nil
		} else if !absent(err) || at == filepath.Dir(at) {
			return "", err
		}
		rest = filepath.Join(filepath.Base(at), rest)
	}
}

// run is all of one slot.
func (w *work) run(ctx context.Context) (*SlotReport, error) {
	w.report = &SlotReport{From: w.from.dirs, To: filepath.Join(w.cfg.To, w.from.name), Complete: true, Accounts: []*AccountReport{}}
	if err := os.MkdirAll(w.cfg.To, 0o700); err != nil {
		return nil, err
	}
	if err := os.Mkdir(w.report.To, 0o700); err != nil {
		return nil, err // one that exists is from another run, or another slot
	}
	w.scratch = filepath.Join(w.report.To, ".index")
	err := w.steps(ctx)
	for _, p := range w.packs {
		p.set.Close()
	}
	if w.journal != nil {
		err = errors.Join(err, w.journal.Close())
	}
	return w.report, errors.Join(err, w.closeIndex())
}

func (w *work) steps(ctx context.Context) error {
	if err := w.openJournal(); err != nil {
		return err
	}
	if err := w.restore(); err != nil {
		return err
	}
	if w.journal != nil {
		if err := w.replay(); err != nil {
			return err
		}
	}
	if err := w.indexPacks(); err != nil {
		return err
	}
	w.report.Cluster, w.report.Store, w.report.LSN = w.from.id.Cluster, w.from.id.Store, w.at.LSN
	if !w.from.id.Slot.IsZero() {
		w.report.Slot = w.from.id.Slot.String()
	}
	for _, step := range []func(context.Context) error{w.mailboxes, w.beyondPacks, w.beyondJournal} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return w.finish()
}

// openJournal opens what there is of the journal.
func (w *work) openJournal() error {
	if w.from.journal == "" {
		w.report.incomplete("no journal: what came after the newest snapshot is as packs say, if they have it")
		return nil
	}
	j, err := journal.OpenRemains(w.fs, w.from.journal)
	if err != nil {
		w.report.incomplete("journal cannot be opened: %w", err)
		return nil
	}
	w.journal = j
	return nil
}
