package e2e

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

var (
	ledgerRounds     = flag.Int("ledger.rounds", 0, "rounds of the ledger test; 0 is one short round")
	ledgerSeed       = flag.Uint64("ledger.seed", 0, "seed of the first round; 0 draws one")
	ledgerTime       = flag.Duration("ledger.time", 30*time.Second, "how long a round changes mail and breaks machines")
	ledgerDeliveries = flag.Int64("ledger.deliveries", 60_000, "deliveries a round at most; reading them back takes time too")
	failuresToo      = flag.Bool("failures", false, "run the rows of docs/failures.md and the partitions, which take minutes")
	partitionRounds  = flag.Int("partition.rounds", 1, "rounds of the test of partitions")
	measure          = flag.Bool("measure", false, "run the measurements")
	measureMessages  = flag.Int64("measure.messages", 100_000, "messages in the store that is switched")
	measureTimes     = flag.Int("measure.times", 9, "switches of each kind")
	measureStores    = flag.Int("measure.stores", 20, "masters on the machine that is drained")
	measureSlots     = flag.Int("measure.slots", 40, "slots of each machine whose memory is measured")
)

// binary is the program, built once; noBinary says why there is none.
var (
	binary   string
	noBinary error
)

func TestMain(m *testing.M) {
	if path := os.Getenv(etcdConfig); path != "" {
		if err := runEtcd(path); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	flag.Parse()
	dir, err := os.MkdirTemp("", "tandemail-e2e-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	binary = filepath.Join(dir, "tandemail")
	noBinary = build(binary)
	code := m.Run()
	os.RemoveAll(dir)
	os.Exit(code)
}

func build(to string, flags ...string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, "go", append(append([]string{"build", "-o", to}, flags...), "../cmd/tandemail")...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("build: %w\n%s", err, out)
	}
	return nil
}

// needFailures skips what takes minutes, unless it is asked for.
func needFailures(t *testing.T) {
	t.Helper()
	needDev(t)
	if !*failuresToo {
		t.Skip("takes minutes; run it with -failures")
	}
}

// needDev fails the test when there is no program to test.
func needDev(t *testing.T) {
	t.Helper()
	if noBinary != nil {
		t.Fatalf("the program does not build: %v", noBinary)
	}
}
