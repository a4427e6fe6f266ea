package bench

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"text/tabwriter"
	"time"
)

// Report is what a run measured. Field names of the JSON form are stable.
type Report struct {
	Protocol    string      `json:"protocol"` // "lmtp" or "imap"
	Connections int         `json:"connections"`
	Seconds     float64     `json:"seconds"`
	Operations  []Operation `json:"operations"`
	// Intervals holds one entry a second of all operations together, at most maxIntervals.
	Intervals []Interval `json:"intervals"`
}

// Operation is what happened to one kind of operation.
type Operation struct {
	Name      string           `json:"name"`
	Count     int64            `json:"count"` // answered with yes
	PerSecond float64          `json:"per_second"`
	Octets    int64            `json:"octets"` // of message content moved
	Latency   Latency          `json:"latency"`
	Errors    map[string]int64 `json:"errors"` // by code or kind
}

// Latency of the operations that succeeded, in milliseconds.
type Latency struct {
	Mean float64 `json:"mean_ms"`
	P50  float64 `json:"p50_ms"`
	P90  float64 `json:"p90_ms"`
	P99  float64 `json:"p99_ms"`
	Max  float64 `json:"max_ms"`
}

// Interval is one second of a run.
type Interval struct {
	Second float64 `json:"second"` // its end, since the start
	Count  int64   `json:"count"`
	Errors int64   `json:"errors"`
	P99    float64 `json:"p99_ms"`
	Max    float64 `json:"max_ms"`
}

// Failed counts the operations that did not succeed.
func (r Report) Failed() int64 {
	var n int64
	for _, o := range r.Operations {
		n += o.failed()
	}
	return n
}

// Count counts the operations that succeeded.
func (r Report) Count() int64 {
	var n int64
	for _, o := range r.Operations {
		n += o.Count
	}
	return n
}

func (o Operation) failed() int64 {
	var n int64
	for _, c := range o.Errors {
		n += c
	}
	return n
}

// WriteText writes r for people.
func (r Report) WriteText(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, r.Protocol+"\tcount\tper second\tMB/s\tmean ms\tp50\tp90\tp99\tmax\terrors\t")
	for _, o := range r.Operations {
		l := o.Latency
		fmt.Fprintf(t, "%s\t%d\t%.0f\t%.1f\t%.2f\t%.2f\t%.2f\t%.2f\t%.2f\t%d\t\n", o.Name, o.Count, o.PerSecond,
			float64(o.Octets)/1e6/max(r.Seconds, 1e-9), l.Mean, l.P50, l.P90, l.P99, l.Max, o.failed())
	}
	if err := t.Flush(); err != nil {
		return fmt.Errorf("write report: %w", err)
	}
	for _, o := range r.Operations {
		for _, code := range slices.Sorted(maps.Keys(o.Errors)) {
			if _, err := fmt.Fprintf(w, "  %s: %d times %s\n", o.Name, o.Errors[code], code); err != nil {
				return fmt.Errorf("write report: %w", err)
			}
		}
	}
	_, err := fmt.Fprintf(w, "%d connections, %.1f s\n", r.Connections, r.Seconds)
	return err
}

func (i Interval) writeText(w io.Writer) {
	// Progress is a courtesy: a reader that is gone must not end the run.
	_, _ = fmt.Fprintf(w, "%5.0f s  %7d done  %5d failed  p99 %8.2f ms  max %8.2f ms\n", i.Second, i.Count, i.Errors, i.P99, i.Max)
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

func latencyOf(h *Histogram) Latency {
	return Latency{ms(h.Mean()), ms(h.Quantile(0.5)), ms(h.Quantile(0.9)), ms(h.Quantile(0.99)), ms(h.Max())}
}
