package metrics

import "github.com/tandemail/tandemail/internal/disk"

// disks are the devices: how they sync and how full they are.
type disks struct {
	syncs, joined, failed, took, waiting, running, oldest *family
	size, available, level, readAt, readFailed            *family

	all map[string]*disk.Disk
}

func newDisks(t *table, s Sources) *disks {
	const label = "disk"
	return &disks{
		syncs:      t.counter("disk_syncs_total", "Sync calls of journals, failed ones included.", label),
		joined:     t.counter("disk_syncs_joined_total", "Requests that shared the sync call of another.", label),
		failed:     t.counter("disk_sync_failures_total", "Sync calls that failed. A file whose sync failed is given up.", label),
		took:       t.histogram("disk_sync_seconds", "How long sync calls took, without the wait for their turn.", label),
		waiting:    t.gauge("disk_syncs_waiting", "Syncs that wait for their turn.", label),
		running:    t.gauge("disk_syncs_running", "Sync calls under way.", label),
		oldest:     t.gauge("disk_sync_oldest_seconds", "Age of the oldest sync that was asked for and is not done.", label),
		size:       t.gauge("disk_size_bytes", "Size of the file system.", label),
		available:  t.gauge("disk_available_bytes", "What is available to us in the file system.", label),
		level:      t.gauge("disk_level", "1 for the watermark that the disk is at: plenty, warn or refuse.", label, "level"),
		readAt:     t.gauge("disk_space_read_timestamp_seconds", "When the space was read last.", label),
		readFailed: t.gauge("disk_space_read_failed", "1 if the last try to read the space failed.", label),
		all:        s.Disks,
	}
}

func (d *disks) collect(o out) {
	for name, x := range d.all {
		st, space := x.Stats(), x.Space()
		o.set(d.syncs, float64(st.Syncs), name)
		o.set(d.joined, float64(st.Joined), name)
		o.set(d.failed, float64(st.Failed), name)
		o.times(d.took, st.Latency, name)
		o.set(d.waiting, float64(st.Waiting), name)
		o.set(d.running, float64(st.Running), name)
		o.set(d.oldest, x.Outstanding().Seconds(), name)
		o.flag(d.readFailed, space.Err != nil, name)
		if space.At.IsZero() {
			continue // never read
		}
		o.set(d.size, float64(space.Total), name)
		o.set(d.available, float64(space.Avail), name)
		o.set(d.readAt, seconds(space.At), name)
		o.one(d.level, space.Level().String(), levels(), name)
	}
}

func levels() []string {
	return []string{disk.Plenty.String(), disk.Warn.String(), disk.Refuse.String()}
}
