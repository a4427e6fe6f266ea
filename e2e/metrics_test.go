package e2e

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"github.com/tandemail/tandemail/internal/bench"
)

// figures are series with their labels as they are written, each summed over the
// machines.
type figures map[string]float64

// sum adds all series of a metric.
func (f figures) sum(metric string) (total float64) {
	for series, v := range f {
		if series == metric || strings.HasPrefix(series, metric+"{") {
			total += v
		}
	}
	return total
}

// page gets a page of a machine's API.
func (m machine) page(ctx context.Context, path string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+m.HTTP+path, nil)
	if err != nil {
		return "", err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s of %s: %s: %s", path, m.Name, resp.Status, b)
	}
	return string(b), err
}

func (c *cluster) figures(t *testing.T) figures {
	t.Helper()
	f := figures{}
	for _, m := range c.Machines {
		text, err := m.page(t.Context(), "/metrics")
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(text) {
			series, value, ok := cutLast(strings.TrimSpace(line), " ")
			if strings.HasPrefix(line, "#") || !ok {
				continue
			}
			v, err := strconv.ParseFloat(value, 64)
			if err != nil {
				t.Fatalf("%s: %v", line, err)
			}
			f[series] += v
		}
	}
	return f
}

func cutLast(s, sep string) (before, after string, ok bool) {
	i := strings.LastIndex(s, sep)
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+len(sep):], true
}

// moved fails the test unless each metric's sum has risen by so much.
func moved(t *testing.T, before, after figures, by map[string]float64) {
	t.Helper()
	for metric, want := range by {
		if got := after.sum(metric) - before.sum(metric); got != want {
			t.Errorf("%s rose by %v, want %v", metric, got, want)
		}
	}
}

// is fails the test unless each metric's sum is so much.
func is(t *testing.T, f figures, want map[string]float64) {
	t.Helper()
	moved(t, figures{}, f, want)
}

func TestMetricsFollowWhatHappens(t *testing.T) {
	needDev(t)
	dir := filepath.Join(t.TempDir(), "dev")
	c := startDev(t, dir)
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := c.settle(t.Context(), settleTime); err != nil {
		t.Fatal(err)
	}
	lintMetrics(t, c)
	t.Run("whole cluster", func(t *testing.T) { wholeCluster(t, c) })
	t.Run("deliveries", func(t *testing.T) { deliveriesCounted(t, c) })
	t.Run("sessions", func(t *testing.T) { sessionsCounted(t, c) })
	t.Run("switchover", func(t *testing.T) { switchCounted(t, c) })
}

func lintMetrics(t *testing.T, c *cluster) {
	for _, m := range c.Machines {
		text, err := m.page(t.Context(), "/metrics")
		if err != nil {
			t.Fatal(err)
		}
		problems, err := promlint.New(strings.NewReader(text)).Lint()
		if err != nil || len(problems) > 0 {
			t.Errorf("metrics of %s: %v, %v", m.Name, problems, err)
		}
		if _, err := m.page(t.Context(), "/debug/pprof/goroutine?debug=1"); err != nil {
			t.Error(err)
		}
	}
}

func wholeCluster(t *testing.T, c *cluster) {
	s, err := c.status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	machines, stores := float64(len(c.Machines)), float64(len(s.Stores))
	f := c.figures(t)
	is(t, f, map[string]float64{
		"tandemail_machine_info": machines, "tandemail_coordinator_reachable": machines, "tandemail_directory_live": machines,
		"tandemail_controller_leading": 1, `tandemail_problems_by_severity{severity="critical"}`: 0,
		"tandemail_slot_serving": stores, "tandemail_slot_info": 2 * stores, "tandemail_routes_without_master": 0,
		"tandemail_store_in_sync_copies": 2 * stores, "tandemail_store_degraded": 0, "tandemail_store_replica_streaming": stores,
		`tandemail_disk_level{disk="meta",level="refuse"}`: 0,
	})
	if f.sum("tandemail_disk_size_bytes") == 0 || f.sum("process_open_fds") == 0 || f.sum("go_goroutines") == 0 {
		t.Error("no figures of the processes and their disks")
	}
}

func deliveriesCounted(t *testing.T, c *cluster) {
	const count = 20
	before := c.figures(t)
	conn, err := net.DialTimeout("tcp", c.Machines[0].LMTP, dialTime)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	l, err := bench.NewLMTP(conn, "metrics.invalid")
	if err != nil {
		t.Fatal(err)
	}
	for i := range count {
		to := []string{c.Users[i%len(c.Users)].User}
		replies, err := l.Data("metrics@example.test", to, fmt.Appendf(nil, "Subject: %d\r\n\r\n", i))
		if err != nil || !replies[0].OK() {
			t.Fatalf("delivery %d: %v, %v", i, replies, err)
		}
	}
	after := c.figures(t)
	moved(t, before, after, map[string]float64{
		`tandemail_deliveries_total{status="delivered"}`: count, `tandemail_deliveries_total{status="deferred"}`: 0,
		"tandemail_slot_deliveries_total": count, "tandemail_delivery_seconds_count": count,
		`tandemail_connections_total{protocol="lmtp"}`: 1,
	})
	for _, metric := range []string{"tandemail_disk_syncs_total", "tandemail_slot_batches_total", "tandemail_slot_operations_total", "tandemail_slot_journal_end_bytes"} {
		if after.sum(metric) <= before.sum(metric) {
			t.Errorf("%s did not rise", metric)
		}
	}
	syncs := after.sum("tandemail_disk_syncs_total") - before.sum("tandemail_disk_syncs_total")
	if syncs < 2*count { // one after the other, each on two disks
		t.Errorf("%v sync calls for %d deliveries", syncs, count)
	}
	t.Logf("%.1f sync calls a delivery", syncs/count)
}

func sessionsCounted(t *testing.T, c *cluster) {
	before := c.figures(t)
	if _, err := login(t.Context(), c.Machines[0].IMAP, user{c.Users[0].User, "wrong"}); err == nil {
		t.Fatal("logged in with a wrong password")
	}
	s, err := c.loginAnywhere(t.Context(), rand.New(rand.NewPCG(1, 1)), c.Users[0])
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := s.do(func() error { _, err := s.Select("INBOX", nil).Wait(); return err }); err != nil {
		t.Fatal(err)
	}
	if err := s.do(func() error { _, err := s.Select("Nowhere", nil).Wait(); return err }); err == nil {
		t.Fatal("selected what is not there")
	}
	moved(t, before, c.figures(t), map[string]float64{
		`tandemail_logins_total{protocol="imap",result="ok"}`: 1, `tandemail_logins_total{protocol="imap",result="wrong"}`: 1,
		`tandemail_sessions_open{protocol="imap"}`: 1, "tandemail_hosted_sessions_open": 1,
		`tandemail_commands_total{command="SELECT",result="OK"}`: 1, `tandemail_commands_total{command="SELECT",result="NO"}`: 1,
	})
}

func switchCounted(t *testing.T, c *cluster) {
	s, err := c.status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	store := s.Stores[0].Name
	before := c.figures(t)
	if _, err := c.run(t.Context(), "store", "switchover", store); err != nil {
		t.Fatal(err)
	}
	if err := c.settle(t.Context(), settleTime); err != nil {
		t.Fatal(err)
	}
	label := fmt.Sprintf(`{store=%q}`, store)
	want := map[string]float64{
		"tandemail_slot_promotions_total" + label: 1, "tandemail_slot_hold_seconds_count" + label: 1,
		"tandemail_slot_epoch" + label: 2, // one a copy
	}
	// A replica hears of the epoch a moment later.
	ctx, cancel := context.WithTimeout(t.Context(), settleTime)
	defer cancel()
	after := c.figures(t)
	for after.sum("tandemail_slot_epoch"+label) < before.sum("tandemail_slot_epoch"+label)+2 && pause(ctx, 50*time.Millisecond) {
		after = c.figures(t)
	}
	moved(t, before, after, want)
}
