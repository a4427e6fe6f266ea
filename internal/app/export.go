package app

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/coord"
)

// export is what a machine keeps of the coordinator: docs/format/export.md.
type export struct {
	Format  int           `json:"format"`
	Cluster string        `json:"cluster"`
	At      time.Time     `json:"at"`
	Rev     cluster.Rev   `json:"revision"`
	Sum     string        `json:"sha256"` // of keys
	Keys    []exportedKey `json:"keys"`
}

type exportedKey struct {
	Key   string          `json:"key"`
	Value json.RawMessage `json:"value"`
}

const (
	exportFormat = 1
	exportEvery  = 6 * time.Hour
	exportRetry  = 5 * time.Second
	exportsKept  = 8
	exportPrefix = "export-"
)

func (m *machine) exportDir() string { return filepath.Join(m.cfg.Meta, "coordinator") }

// keepExports writes what the coordinator knows to this machine's disk, now and
// every six hours.
func (m *machine) keepExports(ctx context.Context) error {
	for {
		pause := exportEvery
		if err := m.exportOnce(ctx, time.Now()); err != nil {
			pause = exportRetry
			if !errors.Is(err, errNothingToExport) && ctx.Err() == nil {
				m.log.Warn("the coordinator's keys were not exported", "err", err)
			}
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// errNothingToExport: the cluster has no store or no user yet, or was wiped.
var errNothingToExport = errors.New("the coordinator knows no store or no user")

// exportOnce writes one export, unless the coordinator is empty: it must not push
// out those from before it was wiped.
func (m *machine) exportOnce(ctx context.Context, at time.Time) error {
	e := export{Format: exportFormat, Cluster: m.cfg.Cluster, At: at.UTC().Truncate(time.Second)}
	prefixes := slices.Concat(
		[]string{coord.SettingsKey, coord.SCRAMKey, coord.StoresPrefix, coord.MachinesPrefix, coord.DeletedPrefix, coord.StruckPrefix},
		coord.ShardPrefixes(coord.UsersPrefix), coord.ShardPrefixes(coord.AliasesPrefix),
	)
	stores, users := 0, 0
	for _, prefix := range prefixes {
		kvs, rev, err := m.coord.List(ctx, prefix)
		if err != nil {
			return err
		}
		e.Rev = max(e.Rev, rev)
		for _, kv := range kvs {
			if !json.Valid(kv.Value) {
				continue // no release wrote it
			}
			e.Keys = append(e.Keys, exportedKey{kv.Key, kv.Value})
			switch {
			case strings.HasPrefix(kv.Key, coord.StoresPrefix):
				stores++
			case coord.ShardedName(coord.UsersPrefix, kv.Key) != "":
				users++
			}
		}
	}
	if stores == 0 || users == 0 {
		return errNothingToExport
	}
	return e.write(m.exportDir())
}

// sum is over the keys as they are written.
func (e *export) sum() string {
	h := sha256.New()
	for _, k := range e.Keys {
		fmt.Fprintf(h, "%s\n%s\n", k.Key, k.Value)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// write makes a file of its own, readable by its owner alone since credentials are
// in it, if only as hashes. Of older ones the newest stay.
func (e *export) write(dir string) (err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("write export: %w", err)
	}
	e.Sum = e.sum()
	name := filepath.Join(dir, exportPrefix+e.At.Format("20060102T150405Z")+".json")
	f, err := os.OpenFile(name+".new", os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return fmt.Errorf("write export: %w", err)
	}
	out := bufio.NewWriter(f)
	encoder := json.NewEncoder(out)
	encoder.SetEscapeHTML(false) // as it would be hashed
	err = errors.Join(encoder.Encode(e), out.Flush(), f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(name+".new", name)
	}
	if err != nil {
		return fmt.Errorf("write export: %w", err)
	}
	return removeOldExports(dir)
}

func removeOldExports(dir string) error {
	names, err := filepath.Glob(filepath.Join(dir, exportPrefix+"*.json"))
	if err != nil {
		return fmt.Errorf("remove old exports: %w", err)
	}
	slices.Sort(names) // by time
	for len(names) > exportsKept {
		if err := os.Remove(names[0]); err != nil {
			return fmt.Errorf("remove old exports: %w", err)
		}
		names = names[1:]
	}
	return nil
}

// readExport reads an export back and checks it.
func readExport(path string) (*export, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read export: %w", err)
	}
	var e export
	if err := json.Unmarshal(b, &e); err != nil {
		return nil, fmt.Errorf("read export %s: %w", path, err)
	}
	switch {
	case e.Format > exportFormat:
		return nil, fmt.Errorf("read export %s: format %d: %w", path, e.Format, cluster.ErrNewer)
	case e.Format != exportFormat || e.Sum != e.sum():
		return nil, fmt.Errorf("read export %s: checksum mismatch: %w", path, cluster.ErrDamaged)
	}
	return &e, nil
}

// restored are the keys that an export brings back. Stores come from the slots,
// which know better; machines register themselves, and those that were removed must
// not. Shards' own keys are no entries.
func restored(key string) bool {
	return key == coord.SettingsKey || key == coord.SCRAMKey || strings.HasPrefix(key, coord.StruckPrefix) || strings.HasPrefix(key, coord.DeletedPrefix) ||
		coord.ShardedName(coord.UsersPrefix, key) != "" || coord.ShardedName(coord.AliasesPrefix, key) != ""
}

// restore puts the keys of the directory, and the settings, that are missing. What
// is there is kept: it is newer.
func (b *backend) restore(ctx context.Context, e *export) (put, kept int, err error) {
	var ops []coord.Op
	for _, k := range e.Keys {
		if restored(k.Key) {
			ops = append(ops, coord.Put(k.Key, k.Value))
		}
	}
	for len(ops) > 0 {
		n := min(len(ops), coord.MaxOps)
		all, some := ops[:n], 0
		ops = ops[n:]
		ok, err := b.putMissing(ctx, all)
		for i := 0; err == nil && !ok && i < len(all); i++ { // some of them are there
			var one bool
			if one, err = b.putMissing(ctx, all[i:i+1]); one {
				some++
			}
		}
		if err != nil {
			return put, kept, unavailable(err)
		}
		if ok {
			some = len(all)
		}
		put, kept = put+some, kept+len(all)-some
	}
	return put, kept, nil
}

// putMissing puts all of ops, or none if one of their keys is there.
func (b *backend) putMissing(ctx context.Context, ops []coord.Op) (bool, error) {
	t := coord.Txn{Then: ops}
	for _, op := range ops {
		t.If = append(t.If, coord.Compare{Key: op.Key})
	}
	ok, _, err := b.coord.Txn(ctx, t)
	return ok, err
}
