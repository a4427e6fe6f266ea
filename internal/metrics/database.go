package metrics

// Database is how large a member of the coordinator is, in octets.
type Database struct{ File, Used, Quota int64 }

// database is this machine's member of the coordinator.
type database struct {
	file, used, quota *family
	now               func() Database
}

func newDatabase(t *table, s Sources) *database {
	return &database{
		file:  t.gauge("coordinator_database_bytes", "Size of the file of this machine's member of the coordinator."),
		used:  t.gauge("coordinator_database_used_bytes", "What of that file is in use."),
		quota: t.gauge("coordinator_database_quota_bytes", "Size of that file at which the coordinator refuses changes."),
		now:   s.Database,
	}
}

func (d *database) collect(o out) {
	if d.now == nil {
		return
	}
	s := d.now()
	if s.Quota == 0 {
		return // not looked at yet
	}
	o.set(d.file, float64(s.File))
	o.set(d.used, float64(s.Used))
	o.set(d.quota, float64(s.Quota))
}
