package app

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/tandemail/tandemail/internal/api"
	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/coord"
)

// drainAtOnce is how many stores of a machine are switched at a time.
const drainAtOnce = 4

// Drain implements api.Backend: the mark first, so that nothing returns, then
// every master off the machine.
func (b *backend) Drain(ctx context.Context, m cluster.Machine) (api.DrainReport, error) {
	begun := time.Now()
	p, err := b.look(ctx)
	if err != nil {
		return api.DrainReport{}, unavailable(err)
	}
	if err := b.setDraining(ctx, m, true); err != nil {
		return api.DrainReport{}, err
	}
	r := api.DrainReport{Machine: m, Switches: []api.SwitchReport{}, Failed: []string{}}
	var mu sync.Mutex
	var wg sync.WaitGroup
	places := make(chan struct{}, drainAtOnce)
	for _, rec := range p.stores {
		if rec.MachineOf(rec.Master) != m {
			continue
		}
		wg.Add(1)
		go func() {
			defer wg.Done()
			places <- struct{}{}
			defer func() { <-places }()
			s, err := b.drainStore(ctx, rec)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				r.Failed = append(r.Failed, fmt.Sprintf("store %s: %v", rec.Store, err))
				return
			}
			r.Switches = append(r.Switches, s)
		}()
	}
	wg.Wait()
	r.Seconds = time.Since(begun).Seconds()
	return r, nil
}

// drainStore switches one store away. That the controller, which has seen the mark
// too, was faster is no failure.
func (b *backend) drainStore(ctx context.Context, rec cluster.StoreRecord) (api.SwitchReport, error) {
	target, err := b.target(rec, "")
	if err != nil {
		return api.SwitchReport{}, err
	}
	s, err := b.switchTo(ctx, rec, target, "machine "+string(rec.MachineOf(rec.Master))+" is drained")
	if err == nil {
		return s, nil
	}
	now, _, readErr := b.record(ctx, rec.Store)
	if readErr == nil && now.Epoch > rec.Epoch && now.MachineOf(now.Master) != rec.MachineOf(rec.Master) {
		s.Epoch, s.To = now.Epoch, now.MachineOf(now.Master)
		return s, b.remote.AwaitServing(ctx, s.To, rec.Store, now.Epoch)
	}
	return s, err
}

// Undrain implements api.Backend.
func (b *backend) Undrain(ctx context.Context, m cluster.Machine) error {
	return b.setDraining(ctx, m, false)
}

func (b *backend) setDraining(ctx context.Context, m cluster.Machine, on bool) error {
	_, rev, err := b.coord.Get(ctx, coord.MachineKey(m))
	if err != nil {
		return unavailable(err)
	}
	if rev == 0 {
		return notFound("there is no machine %s", m)
	}
	return b.changeMachine(ctx, m, func(rec *coord.MachineRecord) { rec.Draining = on })
}
