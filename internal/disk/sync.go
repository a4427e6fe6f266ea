package disk

import (
	"fmt"
	"slices"
	"time"
)

// Syncer is what a File needs of an open file; vfs.File is one.
type Syncer interface {
	SyncData() error
}

// File is an open file whose syncs the Disk schedules.
type File struct {
	disk *Disk
	name string
	file Syncer

	// Guarded by disk.mu.
	waiting *request // in the queue, may still be joined
	busy    bool     // a sync is running
	err     error    // the first failure; final
}

// request is one sync that is waiting or running.
type request struct {
	file  *File
	asked time.Time
	start chan struct{} // closed when it may run
	done  chan struct{} // closed when err is set
	err   error
}

// File returns a handle that syncs f through d. The name is for error messages.
// Closing f is the caller's business, after its last Sync returned.
func (d *Disk) File(f Syncer, name string) *File {
	return &File{disk: d, name: name, file: f}
}

// Sync makes everything written to the file before the call durable. It shares
// a sync with other callers that wait, never with one that has already begun.
// After a failure it returns that same error for ever and does not try again.
func (f *File) Sync() error {
	d := f.disk
	d.mu.Lock()
	if f.err != nil {
		d.mu.Unlock()
		return f.err
	}
	if r := f.waiting; r != nil {
		d.mu.Unlock()
		d.count.joined.Add(1)
		<-r.done
		return r.err
	}
	r := &request{file: f, asked: d.cfg.Now(), start: make(chan struct{}), done: make(chan struct{})}
	f.waiting = r
	d.queue = append(d.queue, r)
	d.dispatch()
	d.mu.Unlock()

	<-r.start
	return d.run(r)
}

// dispatch starts what may start, oldest first; a file never has two syncs
// running. Called with mu held.
func (d *Disk) dispatch() {
	for i := 0; i < len(d.queue) && len(d.running) < d.cfg.MaxSyncs; {
		r := d.queue[i]
		if r.file.busy {
			i++
			continue
		}
		d.queue = slices.Delete(d.queue, i, i+1)
		d.running[r] = struct{}{}
		r.file.waiting, r.file.busy = nil, true
		close(r.start)
	}
}

// run performs r in the goroutine that asked for it.
func (d *Disk) run(r *request) error {
	d.mu.Lock()
	err := r.file.err // another request failed while this one waited
	d.mu.Unlock()
	if err == nil {
		begun := d.cfg.Now()
		if err = r.file.file.SyncData(); err != nil {
			err = fmt.Errorf("sync %s: %w", r.file.name, err)
		}
		d.count.observe(d.cfg.Now().Sub(begun), err)
	}

	d.mu.Lock()
	if r.file.err == nil {
		r.file.err = err
	}
	r.err = r.file.err
	r.file.busy = false
	delete(d.running, r)
	d.dispatch()
	d.mu.Unlock()
	close(r.done)
	return r.err
}
