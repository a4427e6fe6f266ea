// Package metrics shows a machine's figures to Prometheus. It reads what the other
// packages count anyway, at each scrape; only what none of them can see, since it
// lies between two of them, is counted here, by wrapping their interfaces
// ([Deliveries], [Coord]).
//
// Invariants. Labels have few values: stores and slots of this machine, names of a
// table of the program; never a user, an address or a message. docs/metrics.md
// lists every metric; a test holds it and the program to each other. Scraping waits
// for no disk and no other machine.
//
// Concurrency: everything is safe for concurrent use.
package metrics

import (
	"fmt"
	"log/slog"
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Registry is all metrics of a machine. Use New.
type Registry struct {
	prom *prometheus.Registry
	http http.Handler
}

// New builds the metrics of what s has. log gets what goes wrong with a scrape.
func New(s Sources, log *slog.Logger) (*Registry, error) {
	r := &Registry{prom: prometheus.NewRegistry()}
	r.http = promhttp.HandlerFor(r.prom, promhttp.HandlerOpts{
		ErrorLog: scrapeLog{log}, ErrorHandling: promhttp.ContinueOnError, MaxRequestsInFlight: maxScrapes,
	})
	for _, c := range []prometheus.Collector{
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), newMachine(s),
	} {
		if err := r.prom.Register(c); err != nil {
			return nil, fmt.Errorf("register metrics: %w", err)
		}
	}
	return r, nil
}

// maxScrapes are served at a time; more are answered 503.
const maxScrapes = 4

// ServeHTTP answers a scrape. What cannot be collected is left out and logged.
func (r *Registry) ServeHTTP(w http.ResponseWriter, req *http.Request) { r.http.ServeHTTP(w, req) }

type scrapeLog struct{ *slog.Logger }

// Println implements promhttp.Logger.
func (l scrapeLog) Println(v ...any) { l.Error("metrics cannot be collected", "err", fmt.Sprint(v...)) }

// machine is the one collector of all that is ours.
type machine struct {
	*table
	areas []area
}

// area is the metrics of one part, which it reads anew each time.
type area interface{ collect(out) }

func newMachine(s Sources) *machine {
	t := &table{}
	return &machine{t, []area{
		newProcess(t, s), newDisks(t, s), newSlots(t, s), newStores(t, s), newTails(t, s), newDeliveries(t, s), newSessions(t, s), newCommands(t, s), newAccounts(t, s),
		newCluster(t, s), newController(t, s), newCoordinator(t, s), newDatabase(t, s),
	}}
}

// Describe implements prometheus.Collector.
func (m *machine) Describe(ch chan<- *prometheus.Desc) {
	for _, f := range m.families {
		ch <- f.desc
	}
}

// Collect implements prometheus.Collector.
func (m *machine) Collect(ch chan<- prometheus.Metric) {
	for _, a := range m.areas {
		a.collect(out{ch})
	}
}
