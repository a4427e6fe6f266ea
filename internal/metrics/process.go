package metrics

import (
	"runtime"
	"runtime/debug"
	"strconv"
	"time"

	"github.com/tandemail/tandemail/internal/accept"
	"github.com/tandemail/tandemail/internal/cluster"
)

// process says what runs here, and how it is connected to other machines.
type process struct {
	build, machine, level   *family
	renewBy                 *family
	open, accepted, refused *family

	labels        []string // of build
	cluster, name string
	link          func() accept.Stats
	renew         func() time.Time
}

func newProcess(t *table, s Sources) *process {
	return &process{
		build:    t.gauge("build_info", "1, with the version of the program.", "version", "revision", "goversion"),
		machine:  t.gauge("machine_info", "1, with the names of cluster and machine.", "cluster", "machine"),
		level:    t.gauge("level", "The level of operations that this build writes."),
		renewBy:  t.gauge("certificate_renew_by_timestamp_seconds", "When the machine's certificate should be renewed at the latest, in Unix time."),
		open:     t.gauge("link_connections_open", "Connections of other machines to the internal port."),
		accepted: t.counter("link_connections_total", "Connections of other machines that were accepted."),
		refused:  t.counter("link_connections_refused_total", "Connections to the internal port that were refused, since there were too many."),
		labels:   buildLabels(), cluster: s.Cluster, name: string(s.Machine), link: s.Link, renew: s.RenewBy,
	}
}

// buildLabels are the module's version, the commit, and Go's version. A build with
// changes that were not committed says so.
func buildLabels() []string {
	version, revision, modified := "unknown", "unknown", false
	if info, ok := debug.ReadBuildInfo(); ok {
		version = info.Main.Version
		for _, s := range info.Settings {
			switch s.Key {
			case "vcs.revision":
				revision = s.Value
			case "vcs.modified":
				modified, _ = strconv.ParseBool(s.Value) // the tool's own word
			}
		}
	}
	if modified {
		revision += "-modified"
	}
	return []string{version, revision, runtime.Version()}
}

func (p *process) collect(o out) {
	o.set(p.build, 1, p.labels...)
	o.set(p.machine, 1, p.cluster, p.name)
	o.set(p.level, float64(cluster.CurrentLevel))
	if p.renew != nil {
		o.set(p.renewBy, float64(p.renew().Unix()))
	}
	if p.link == nil {
		return
	}
	st := p.link()
	o.set(p.open, float64(st.Open))
	o.set(p.accepted, float64(st.Accepted))
	o.set(p.refused, float64(st.Refused))
}
