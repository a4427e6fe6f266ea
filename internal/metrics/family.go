package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tandemail/tandemail/internal/latency"
)

// prefix begins the name of every metric of ours.
const prefix = "tandemail_"

// Kinds of metrics, as Prometheus calls them.
const (
	counterKind   = "counter"
	gaugeKind     = "gauge"
	histogramKind = "histogram"
)

// family is one metric with all its labels' values.
type family struct {
	name, kind string
	labels     []string
	desc       *prometheus.Desc
}

// table is all families there are.
type table struct{ families []*family }

func (t *table) add(kind, name, help string, labels []string) *family {
	f := &family{prefix + name, kind, labels, prometheus.NewDesc(prefix+name, help, labels, nil)}
	t.families = append(t.families, f)
	return f
}

func (t *table) counter(name, help string, labels ...string) *family {
	return t.add(counterKind, name, help, labels)
}

func (t *table) gauge(name, help string, labels ...string) *family {
	return t.add(gaugeKind, name, help, labels)
}

func (t *table) histogram(name, help string, labels ...string) *family {
	return t.add(histogramKind, name, help, labels)
}

// out is where values go during a scrape.
type out struct{ ch chan<- prometheus.Metric }

// set gives a counter's or gauge's value.
func (o out) set(f *family, v float64, labels ...string) {
	kind := prometheus.GaugeValue
	if f.kind == counterKind {
		kind = prometheus.CounterValue
	}
	m, err := prometheus.NewConstMetric(f.desc, kind, v, labels...)
	o.send(f, m, err)
}

// flag gives 1 or 0.
func (o out) flag(f *family, on bool, labels ...string) {
	v := 0.0
	if on {
		v = 1
	}
	o.set(f, v, labels...)
}

// one gives a flag for each of the values of the last label: 1 for the one that is
// so, 0 for the others.
func (o out) one(f *family, is string, all []string, labels ...string) {
	for _, v := range all {
		o.flag(f, v == is, append(labels[:len(labels):len(labels)], v)...)
	}
}

// times gives a histogram's value.
func (o out) times(f *family, c latency.Counts, labels ...string) {
	cumulative, n := make(map[float64]uint64, len(c.Bounds)), uint64(0)
	for i, b := range c.Bounds {
		n += c.Buckets[i]
		cumulative[b.Seconds()] = n
	}
	m, err := prometheus.NewConstHistogram(f.desc, c.Total(), c.Sum.Seconds(), cumulative, labels...)
	o.send(f, m, err)
}

func (o out) send(f *family, m prometheus.Metric, err error) {
	if err != nil {
		m = prometheus.NewInvalidMetric(f.desc, err)
	}
	o.ch <- m
}

// seconds is a moment as Prometheus has it.
func seconds(t time.Time) float64 { return float64(t.UnixMicro()) / 1e6 }
