package peers

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// The tables.
const (
	again     = "Warm: the median of several times"
	fromDisk  = "Server just started, nothing of its files in memory"
	firstTime = "The first time: nothing was derived of the messages before"
	changing  = "Changes"
)

// report gathers samples by table, row and column, each in the order in which they
// come first.
type report struct {
	columns []string
	tables  map[string]*table
	idle    []string // lines
	servers []string // and their versions
}

type table struct {
	rows  []string
	cells map[string]map[string][]sample // by row and column
}

func newReport() *report { return &report{tables: map[string]*table{}} }

func (r *report) add(in, row, column string, s ...sample) {
	if !slices.Contains(r.columns, column) {
		r.columns = append(r.columns, column)
	}
	t := r.tables[in]
	if t == nil {
		t = &table{cells: map[string]map[string][]sample{}}
		r.tables[in] = t
	}
	if t.cells[row] == nil {
		t.rows = append(t.rows, row)
		t.cells[row] = map[string][]sample{}
	}
	t.cells[row][column] = append(t.cells[row][column], s...)
}

// remember notes what idle sessions take.
func (r *report) remember(column string, sessions int, octets int64) {
	r.idle = append(r.idle, fmt.Sprintf(
		"| %s | %d | %.0f | %.1f |", column, sessions, float64(octets)/(1<<20), float64(octets)/(1<<10)/float64(sessions)))
}

func (r *report) print(w io.Writer, o options) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s; %d messages of about %d octets.\n\n", strings.Join(r.servers, ", "), o.messages, o.size)
	for _, name := range []string{again, fromDisk, firstTime, changing} {
		if t := r.tables[name]; t != nil {
			t.append(&b, name, r.columns)
		}
	}
	if len(r.idle) > 0 {
		b.WriteString("### Idle sessions\n\n| | sessions | MiB | KiB a session |\n|---|---|---|---|\n")
		b.WriteString(strings.Join(r.idle, "\n") + "\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// append writes a table: of each cell the seconds that the client waited, and in
// brackets the processor seconds of the server.
func (t *table) append(b *strings.Builder, name string, columns []string) {
	fmt.Fprintf(b, "### %s\n\nSeconds, and in brackets processor seconds of the server.\n\n| |", name)
	columns = slices.DeleteFunc(slices.Clone(columns), func(c string) bool {
		return !slices.ContainsFunc(t.rows, func(row string) bool { return len(t.cells[row][c]) > 0 })
	})
	for _, c := range columns {
		fmt.Fprintf(b, " %s |", c)
	}
	b.WriteString("\n|---|" + strings.Repeat("---|", len(columns)) + "\n")
	for _, row := range t.rows {
		fmt.Fprintf(b, "| %s |", row)
		for _, c := range columns {
			fmt.Fprintf(b, " %s |", cell(t.cells[row][c]))
		}
		b.WriteString("\n")
	}
	b.WriteString("\n")
}

// cell is the median wait, and the mean processor time, whose clock is coarse.
func cell(samples []sample) string {
	if len(samples) == 0 {
		return ""
	}
	var waits []time.Duration
	used := time.Duration(0)
	for _, s := range samples {
		waits = append(waits, s.wall)
		used += s.processor
	}
	return fmt.Sprintf("%.3f (%.2f)", median(waits).Seconds(), (used / time.Duration(len(samples))).Seconds())
}
