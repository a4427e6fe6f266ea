package app

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/tandemail/tandemail/internal/agent"
	"github.com/tandemail/tandemail/internal/api"
	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/coord"
	"github.com/tandemail/tandemail/internal/plan"
	"github.com/tandemail/tandemail/internal/slot"
)

// backend implements api.Backend.
type backend struct{ *machine }

var _ api.Backend = (*backend)(nil)

const (
	// askTime bounds a question to a machine that may be gone.
	askTime = time.Second
	// stalledAfter is how long a sync may take before the disk counts as hanging.
	stalledAfter = 5 * time.Second
)

// picture is what all machines and the coordinator say at about one time.
type picture struct {
	machines []coord.MachineRecord
	stores   []cluster.StoreRecord
	agents   map[cluster.Machine]agent.Status
	answers  map[cluster.Machine]bool // those without storage
	settings coord.Settings
	blind    bool // the coordinator does not answer: see lookBlind
}

// look asks the coordinator, then everybody at once.
func (b *backend) look(ctx context.Context) (picture, error) {
	p, err := b.records(ctx)
	if err != nil {
		return p, err
	}
	b.askAll(ctx, &p)
	return p, nil
}

func newPicture() picture {
	return picture{agents: map[cluster.Machine]agent.Status{}, answers: map[cluster.Machine]bool{}}
}

// records are what the coordinator knows.
func (b *backend) records(ctx context.Context) (picture, error) {
	p := newPicture()
	kvs, _, err := b.coord.List(ctx, coord.MachinesPrefix)
	if err != nil {
		return p, err
	}
	for _, kv := range kvs {
		if rec, err := coord.Decode[coord.MachineRecord](kv); err == nil {
			p.machines = append(p.machines, rec)
		}
	}
	if kvs, _, err = b.coord.List(ctx, coord.StoresPrefix); err != nil {
		return p, err
	}
	for _, kv := range kvs {
		if rec, err := cluster.DecodeStoreRecord(kv.Value); err == nil {
			p.stores = append(p.stores, rec)
		}
	}
	if v, rev, err := b.coord.Get(ctx, coord.SettingsKey); err == nil && rev != 0 {
		if p.settings, err = coord.Decode[coord.Settings](coord.KV{Key: coord.SettingsKey, Value: v}); err != nil {
			return p, err
		}
	}
	return p, nil
}

// askAll asks every machine. One that does not answer is missing in agents.
func (b *backend) askAll(ctx context.Context, p *picture) {
	var wg sync.WaitGroup
	var mu sync.Mutex
	for _, rec := range p.machines {
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(ctx, askTime)
			defer cancel()
			if rec.Storage {
				if st, err := b.remote.Status(ctx, rec.Machine); err == nil {
					mu.Lock()
					defer mu.Unlock()
					p.agents[rec.Machine] = st
					return
				}
			}
			if rec.Storage && !p.blind {
				return
			}
			_, err := b.remote.Call(ctx, rec.Machine, []byte(ping))
			mu.Lock()
			defer mu.Unlock()
			p.answers[rec.Machine] = err == nil
		})
	}
	wg.Wait()
}

// Status implements api.Backend. Without the coordinator it says what the machines
// know: that is when it is needed most.
func (b *backend) Status(ctx context.Context) (api.Status, error) {
	p, err := b.lookSoon(ctx)
	switch {
	case errors.Is(err, coord.ErrUnavailable):
		p = b.lookBlind(ctx)
	case err != nil:
		return api.Status{}, unavailable(err)
	}
	s := api.Status{Cluster: b.cfg.Cluster, Stores: []api.StoreStatus{}, Machines: []api.MachineStatus{}, Problems: []api.Problem{}}
	for _, rec := range p.stores {
		s.Stores = append(s.Stores, p.store(rec))
	}
	for _, rec := range p.machines {
		s.Machines = append(s.Machines, p.machine(rec))
	}
	if p.settings.Paused {
		s.Paused = cmp.Or(p.settings.PausedReason, "no reason was given")
	}
	if p.blind {
		s.Problems = apiProblems(b.blindProblems(&p, time.Now()))
	} else {
		s.Problems = b.problems(ctx)
		if rec, _, err := b.rotation(ctx); err == nil && rec.UnderWay() {
			s.Problems = append(s.Problems, rotationProblem(rotationOf(rec)))
		}
		if b.full(ctx) {
			s.Problems = append(s.Problems, coordinatorFull)
		}
	}
	if b.users.Stats().Incomplete {
		s.Problems = append(s.Problems, directoryIncomplete)
	}
	return s, nil
}

var directoryIncomplete = api.Problem{
	Code: "directory-incomplete", Severity: "critical",
	Text: "Users and aliases may be missing since the coordinator went back or was recovered; an unknown address is answered with a temporary error.",
	Next: "restore them by `tandemail control recover --from EXPORT`; when nobody is missing, `tandemail control recover --complete`",
}

var coordinatorFull = api.Problem{
	Code: "coordinator-full", Severity: "critical",
	Text: "The coordinator's database has met its quota: nothing can be changed, and no master either. Mail flows as long as nothing fails.",
	Next: "its members make room within ten minutes if the past fills it; if they do not, the log of the control machines says why",
}

// full reports whether the coordinator says so; who cannot ask has another problem.
func (b *backend) full(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	if b.etcd == nil {
		return false // another kind of coordinator, in tests
	}
	full, err := b.etcd.Full(ctx)
	return err == nil && full
}

// problems are the elected controller's.
func (b *backend) problems(ctx context.Context) []api.Problem {
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	r, err := b.report(ctx)
	if err != nil {
		return []api.Problem{{
			Code: "controller-silent", Severity: "warning", Text: "No controller answers: " + err.Error() + ".",
			Next: "it elects another within seconds if the coordinator has a quorum",
		}}
	}
	return apiProblems(r.Problems)
}

func apiProblems(problems []plan.Problem) []api.Problem {
	list := make([]api.Problem, 0, len(problems))
	for _, p := range problems {
		list = append(list, api.Problem{
			Code: string(p.Code), Severity: string(p.Severity), Store: p.Store, Machine: p.Machine, Text: p.Text, Next: p.Next,
		})
	}
	return list
}

func (p *picture) store(rec cluster.StoreRecord) api.StoreStatus {
	s := api.StoreStatus{
		Name: rec.Store, Epoch: rec.Epoch, Master: rec.MachineOf(rec.Master),
		InSync: []cluster.Machine{}, Slots: []api.SlotStatus{},
	}
	for _, id := range rec.InSync {
		s.InSync = append(s.InSync, rec.MachineOf(id))
	}
	slices.Sort(s.InSync)
	var end cluster.LSN
	for _, ref := range rec.Slots {
		sl := p.slot(ref)
		end = max(end, sl.LSN)
		s.Slots = append(s.Slots, sl)
	}
	for i := range s.Slots {
		if s.Slots[i].Role != "unknown" {
			s.Slots[i].LagBytes = uint64(end - s.Slots[i].LSN)
		}
	}
	return s
}

func (p *picture) slot(ref cluster.SlotRef) api.SlotStatus {
	s := api.SlotStatus{Slot: ref.Slot, Machine: ref.Machine, Role: "unknown", State: "unreachable"}
	st, ok := p.agents[ref.Machine]
	if !ok {
		return s
	}
	s.Role, s.State, s.Reason = "idle", slot.StateOpening, ""
	for _, l := range st.Lost {
		if l.Slot == ref.Slot {
			s.Role, s.State, s.Reason = "failed", slot.StateFailed, l.Why
		}
	}
	for _, x := range st.Slots {
		if x.Slot == ref.Slot {
			s.Role, s.LSN, s.State, s.Reason = x.Role, x.Durable, x.State, x.Reason
			s.SnapshotLSN, s.SnapshotAt = x.SnapshotLSN, x.SnapshotAt
		}
	}
	return s
}

func (p *picture) machine(rec coord.MachineRecord) api.MachineStatus {
	s := api.MachineStatus{Name: rec.Machine, State: "down", Address: rec.Link}
	for _, st := range p.stores {
		for _, ref := range st.Slots {
			switch {
			case ref.Machine != rec.Machine:
			case ref.Slot == st.Master:
				s.Masters++
			default:
				s.Replicas++
			}
		}
	}
	if st, ok := p.agents[rec.Machine]; ok {
		s.PID, s.State = st.PID, "up"
		switch {
		case rec.Draining && s.Masters == 0:
			s.State = "drained"
		case rec.Draining:
			s.State = "draining"
		}
	} else if p.answers[rec.Machine] {
		s.State = "up"
	}
	return s
}
