package campaign

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tandemail/tandemail/e2e/ledger"
)

var (
	runs     = flag.Int("campaign.runs", 12, "runs that the log shall have; with -short 3 at most")
	first    = flag.Uint64("campaign.seed", 1, "seed of the first run; the others follow")
	dir      = flag.String("campaign.dir", "", "where the log is, which is gone on with, and what failed runs leave; default: a new one")
	only     = flag.String("campaign.only", "", "names of faults to draw from, separated by commas; default: all")
	parallel = flag.Int("campaign.parallel", runtime.GOMAXPROCS(0), "runs at a time")
)

// A run has a process of its own, this test's with these variables: an index that
// failed leaves goroutines behind that never end, and a run that hangs is ended.
const (
	seedVar = "TANDEMAIL_CAMPAIGN_SEED"
	dirVar  = "TANDEMAIL_CAMPAIGN_DIR"
	onlyVar = "TANDEMAIL_CAMPAIGN_ONLY"
)

// runTime bounds one run in real time.
const runTime = 10 * time.Minute

// TestCampaign does the runs that the log does not have yet, one line each.
func TestCampaign(t *testing.T) {
	where := *dir
	if where == "" {
		var err error
		if where, err = os.MkdirTemp("", "campaign-"); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if !t.Failed() {
				os.RemoveAll(where)
			}
		})
	}
	path := filepath.Join(where, "runs.jsonl")
	done, err := readLog(path)
	if err != nil {
		t.Fatal(err)
	}
	out, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	var mu sync.Mutex
	note := func(rep Report) {
		mu.Lock()
		defer mu.Unlock()
		done[rep.Seed] = rep
		line, err := json.Marshal(rep)
		if err == nil {
			_, err = out.Write(append(line, '\n'))
		}
		if err != nil {
			t.Error(err)
		}
		if rep.Result != OK {
			t.Errorf("seed %d: %s\nfaults %q; %s has what it left; repeat with -campaign.seed=%d -campaign.runs=1", rep.Seed, rep.Result, rep.Faults, where, rep.Seed)
		}
	}
	want := uint64(*runs)
	if testing.Short() {
		want = min(want, 3)
	}
	var seeds, slow []uint64
	for i := range want {
		switch seed := *first + i; {
		case done[seed].Seed == seed:
		case RealTime(seed):
			slow = append(slow, seed)
		default:
			seeds = append(seeds, seed)
		}
	}
	var all sync.WaitGroup
	inParallel := func(n int, list []uint64) {
		next := make(chan uint64, len(list))
		for _, seed := range list {
			next <- seed
		}
		close(next)
		for range n {
			all.Go(func() {
				for seed := range next {
					note(inProcess(t.Context(), seed, where))
				}
			})
		}
	}
	inParallel(*parallel, seeds)
	inParallel(2**parallel, slow) // they wait most of the time
	all.Wait()
	t.Log(summary(slices.Collect(maps.Values(done))))
}

// TestSeedsThatFoundFaults has runs that failed once, by what they found.
func TestSeedsThatFoundFaults(t *testing.T) {
	for what, seed := range map[string]uint64{
		"octets of the journal that nobody gives back":           236,
		"an index that failed while it was opened is not closed": 283,
		"Pebble is slowed down while somebody waits for it":      313,
		"and so while a snapshot is closed":                      402,
		"a flush that fails again while a slow disk is awaited":  704,
	} {
		t.Run(what, func(t *testing.T) {
			where := t.TempDir()
			if rep := inProcess(t.Context(), seed, where); rep.Result != OK {
				t.Errorf("seed %d: %s", seed, rep.Result)
			}
		})
	}
}

// readLog returns the runs that a log has.
func readLog(path string) (map[uint64]Report, error) {
	done := map[uint64]Report{}
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return done, nil
	} else if err != nil {
		return nil, err
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		var rep Report
		if json.Unmarshal(lines.Bytes(), &rep) == nil { // else the campaign was killed in a line: that run is done again
			done[rep.Seed] = rep
		}
	}
	return done, nil
}

// inProcess does one run. Its directory goes if it passed.
func inProcess(ctx context.Context, seed uint64, where string) Report {
	mine := filepath.Join(where, fmt.Sprint("seed-", seed))
	failed := Report{Seed: seed}
	if err := errors.Join(os.RemoveAll(mine), os.MkdirAll(mine, 0o700)); err != nil {
		failed.Result = err.Error()
		return failed
	}
	ctx, cancel := context.WithTimeout(ctx, runTime)
	defer cancel()
	cmd := exec.CommandContext(ctx, os.Args[0], "-test.run=^TestOneRun$", "-test.count=1")
	cmd.Env = append(os.Environ(), fmt.Sprint(seedVar, "=", seed), dirVar+"="+mine, onlyVar+"="+*only, "GOMAXPROCS=2", "GOTRACEBACK=all")
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGQUIT) } // it shows what it waits for
	cmd.WaitDelay = 10 * time.Second
	begun := time.Now()
	said, err := cmd.CombinedOutput()
	var rep Report
	b, failedRead := os.ReadFile(filepath.Join(mine, "report"))
	if failedRead == nil {
		failedRead = json.Unmarshal(b, &rep)
	}
	if err = errors.Join(err, ctx.Err(), failedRead); err != nil {
		_ = os.WriteFile(filepath.Join(mine, "output"), said, 0o600) // for people
		failed.Result = err.Error()
		rep = failed
	}
	rep.Msec = time.Since(begun).Milliseconds()
	if rep.Result == OK {
		os.RemoveAll(mine)
	}
	return rep
}

// TestOneRun is what the process of one run does.
func TestOneRun(t *testing.T) {
	seed, err := strconv.ParseUint(os.Getenv(seedVar), 10, 64)
	if err != nil {
		t.Skip("this is a part of TestCampaign")
	}
	mine := os.Getenv(dirVar)
	log, err := os.Create(filepath.Join(mine, "log"))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	if s := os.Getenv(onlyVar); s != "" {
		names = strings.Split(s, ",")
	}
	do := func(t *testing.T) {
		rep := Run(seed, slog.New(slog.NewTextHandler(log, nil)), names, func(machine string, fs *FS, history []ledger.Event) {
			if err := errors.Join(fs.Save(filepath.Join(mine, machine)), saveHistory(filepath.Join(mine, "history"), history)); err != nil {
				t.Error(err)
			}
		})
		b, err := json.Marshal(rep)
		if err == nil {
			err = os.WriteFile(filepath.Join(mine, "report"), b, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
		os.Exit(0) // what a failed index left never ends
	}
	if RealTime(seed) {
		do(t)
	}
	synctest.Test(t, do)
}

func saveHistory(path string, history []ledger.Event) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	w := bufio.NewWriter(f)
	for _, e := range history {
		fmt.Fprintf(w, "%d-%d %d %T %+v\n", e.Begin, e.End, e.Outcome, e.Change, e.Change)
	}
	return errors.Join(w.Flush(), f.Close())
}

// summary is the table of docs/reliability.md.
func summary(reports []Report) string {
	var b strings.Builder
	faults, kinds := map[string]int{}, map[string]int{}
	var sum Report
	bad := 0
	for _, r := range reports {
		if r.Result != OK {
			bad++
		}
		for _, f := range r.Faults {
			faults[f]++
		}
		for k, n := range r.Kinds {
			kinds[k] += n
		}
		sum.Acked, sum.Refused, sum.Unknown, sum.Met = sum.Acked+r.Acked, sum.Refused+r.Refused, sum.Unknown+r.Unknown, sum.Met+r.Met
		sum.Replaced, sum.Reseeded, sum.Repaired, sum.Seconds = sum.Replaced+r.Replaced, sum.Reseeded+r.Reseeded, sum.Repaired+r.Repaired, sum.Seconds+r.Seconds
		sum.Msec += r.Msec
	}
	write := func(w io.Writer, m map[string]int) {
		for _, k := range slices.Sorted(maps.Keys(m)) {
			fmt.Fprintf(w, "| %s | %d |\n", k, m[k])
		}
	}
	fmt.Fprintf(&b, "%d runs, %d failed; %d changes acknowledged; %d deliveries refused for lack of room, %d given up by their sender; %d accesses met trouble; "+
		"%d slots replaced, %d made anew, %d bodies repaired; %d s of virtual time, %d s of real time\n",
		len(reports), bad, sum.Acked, sum.Refused, sum.Unknown, sum.Met, sum.Replaced, sum.Reseeded, sum.Repaired, sum.Seconds, sum.Msec/1000)
	write(&b, kinds)
	write(&b, faults)
	return b.String()
}
