package index

import (
	"cmp"
	"errors"
	"fmt"
	"time"
)

// Err returns why the DB failed or was closed, nil while it works.
func (d *DB) Err() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.err
}

// fail makes the first error final and returns the final one.
func (d *DB) fail(err error) error {
	d.mu.Lock()
	first := d.err == nil
	if first {
		d.err = fmt.Errorf("index %s: %w", d.cfg.Dir, err)
	}
	err = d.err
	d.mu.Unlock()
	if first {
		close(d.failed)
		if d.cfg.Fail != nil {
			go d.cfg.Fail(err) // Pebble may hold its locks here
		}
	}
	return err
}

// guard calls f, which may wait for Pebble's locks, in a goroutine that can be left
// behind: a parked goroutine may hold those locks for ever. A panic of Pebble's
// becomes an error, since it must not take the process and its other slots along.
func (d *DB) guard(f func() error) error {
	if err := d.Err(); err != nil {
		return err
	}
	g := guarded{f, make(chan error, 1)}
	select {
	case d.idle <- g: // the goroutine of an earlier call
	default:
		go d.work(g)
	}
	done := g.done
	select {
	case err := <-done:
		return err
	case <-d.failed:
		return d.Err()
	}
}

// insist calls f also after the DB has failed, unless Pebble is parked: what it opens has
// to be closed, and an iterator that is left open makes closing panic.
func (d *DB) insist(f func() error) error {
	done := make(chan error, 1)
	go func() { done <- guarded{f: f}.call() }()
	select {
	case err := <-done:
		return err
	case <-d.parked:
		return cmp.Or(d.Err(), errParked) // why is said a moment later
	}
}

// abandon calls f, and waits for it no longer than the DB works: f may be waiting for a lock
// of who is parked, or held until the DB is closed.
func (d *DB) abandon(f func() error) error {
	done := make(chan error, 1)
	go func() { done <- guarded{f: f}.call() }()
	select {
	case err := <-done:
		return err
	case <-d.failed:
		return d.Err()
	}
}

// errParked: a goroutine of Pebble's holds its locks for ever.
var errParked = errors.New("index met a fatal error")

// guarded is a call on its way to a goroutine that makes it.
type guarded struct {
	f    func() error
	done chan error // buffer of one
}

// work makes g's call, and then others until nobody has one for a while: commits
// come in a row, and a goroutine that is used again keeps its grown stack.
func (d *DB) work(g guarded) {
	lull := time.NewTimer(workerLull)
	defer lull.Stop()
	for {
		g.done <- g.call()
		lull.Reset(workerLull)
		select {
		case g = <-d.idle:
		case <-lull.C:
			return
		case <-d.closing:
			return
		}
	}
}

// workerLull is how long a goroutine waits for its next call.
const workerLull = time.Second

func (g guarded) call() (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic in the index: %v", p)
		}
	}()
	return g.f()
}

// hold has whatever a failed DB would still change wait until that is closed: Pebble tries
// a flush again at once and for ever.
func (d *DB) hold() error {
	if !d.open.Load() {
		return nil
	}
	select {
	case <-d.failed:
		<-d.closing
		return d.Err()
	default:
		return nil
	}
}

// retryPause slows Pebble down, which tries a compaction of what cannot be read again at
// once and for ever, too. Its lock is held meanwhile, and so it is not slowed down while
// it opens.
const retryPause = 100 * time.Millisecond

func (d *DB) backgroundError(err error) {
	_ = d.fail(fmt.Errorf("in the background: %w", classify(err)))
	if !d.open.Load() || d.cfg.NoPause {
		return
	}
	select {
	case <-d.closing:
	case <-time.After(retryPause):
	}
}

// logger is Pebble's. The default one ends the process.
type logger struct{ d *DB }

func (l logger) Infof(format string, args ...any) {
	l.d.cfg.Log.Debug("pebble", "text", fmt.Sprintf(format, args...))
}

func (l logger) Errorf(format string, args ...any) {
	l.d.cfg.Log.Warn("pebble", "text", fmt.Sprintf(format, args...))
}

// Fatalf never returns, as Pebble expects, and ends nothing but this DB.
func (l logger) Fatalf(format string, args ...any) {
	l.d.parkOnce.Do(func() { close(l.d.parked) })
	_ = l.d.fail(fmt.Errorf("fatal: %s", fmt.Sprintf(format, args...)))
	select {}
}
