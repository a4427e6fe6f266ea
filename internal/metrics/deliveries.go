package metrics

import (
	"context"
	"time"

	"github.com/tandemail/tandemail/internal/latency"
	"github.com/tandemail/tandemail/internal/lmtpd"
	"github.com/tandemail/tandemail/internal/router"
)

// Deliveries times what an MTA waits for. Use NewDeliveries.
type Deliveries struct {
	now         func() time.Time
	took, holds *latency.Histogram
}

// NewDeliveries returns one that has timed nothing; now is its clock.
func NewDeliveries(now func() time.Time) *Deliveries {
	const msec = time.Millisecond
	return &Deliveries{
		now: now,
		took: latency.New(msec, 2500*time.Microsecond, 5*msec, 10*msec, 25*msec, 50*msec, 100*msec, 250*msec, 500*msec,
			time.Second, 2500*msec, 5*time.Second, 10*time.Second, 30*time.Second),
		holds: latency.New(10*msec, 25*msec, 50*msec, 100*msec, 250*msec, 500*msec,
			time.Second, 2500*msec, 5*time.Second, 10*time.Second, 30*time.Second),
	}
}

// Backend is b, timed: from a message's last octet to the last of its answers.
func (d *Deliveries) Backend(b lmtpd.Backend) lmtpd.Backend { return timedBackend{b, d} }

type timedBackend struct {
	lmtpd.Backend
	to *Deliveries
}

// NewSession implements lmtpd.Backend.
func (b timedBackend) NewSession(ctx context.Context, info lmtpd.ConnInfo) (lmtpd.Session, error) {
	s, err := b.Backend.NewSession(ctx, info)
	if err != nil {
		return nil, err
	}
	return timedSession{s, b.to}, nil
}

type timedSession struct {
	lmtpd.Session
	to *Deliveries
}

// Data implements lmtpd.Session.
func (s timedSession) Data(ctx context.Context, m *lmtpd.Message, answer func(int, lmtpd.Result)) {
	begun := s.to.now()
	defer func() { s.to.took.Observe(s.to.now().Sub(begun)) }()
	s.Session.Data(ctx, m, answer)
}

// Hold is take, a way to get a place among those that wait for a master, timed
// until the place is given back.
func (d *Deliveries) Hold(take func() (release func(), ok bool)) func() (release func(), ok bool) {
	return func() (func(), bool) {
		release, ok := take()
		if !ok {
			return nil, false
		}
		begun := d.now()
		return func() {
			d.holds.Observe(d.now().Sub(begun))
			release()
		}, true
	}
}

// deliveries are this machine's LMTP server and router.
type deliveries struct {
	results, took, holds *family

	router func() router.Stats
	timed  *Deliveries
}

func newDeliveries(t *table, s Sources) *deliveries {
	return &deliveries{
		results: t.counter("deliveries_total", "Deliveries by this machine's router, one a user, by what became of them.", "status"),
		took:    t.histogram("delivery_seconds", "From a message's last octet to the last answer to the MTA."),
		holds:   t.histogram("delivery_hold_seconds", "How long deliveries waited for a master, or a second and more for its answer."),
		router:  s.Router, timed: s.Deliveries,
	}
}

func (d *deliveries) collect(o out) {
	if d.router != nil {
		for status, n := range d.router().Deliveries {
			o.set(d.results, float64(n), status)
		}
	}
	if d.timed != nil {
		o.times(d.took, d.timed.took.Counts())
		o.times(d.holds, d.timed.holds.Counts())
	}
}
