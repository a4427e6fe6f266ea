package app

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/tandemail/tandemail/internal/api"
	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/coord"
)

// checkTime bounds what one machine looks at.
const checkTime = 20 * time.Second

// Check implements api.Backend: every machine looks at itself and at its way to all
// others; with a name, that machine does, and the others look at their way to it.
func (b *backend) Check(ctx context.Context, only cluster.Machine) ([]api.Check, error) {
	kvs, _, err := b.coord.List(ctx, coord.MachinesPrefix)
	if err != nil {
		return nil, unavailable(err)
	}
	var names []cluster.Machine
	for _, kv := range kvs {
		names = append(names, cluster.Machine(coord.NameOf(kv.Key)))
	}
	if only != "" && !slices.Contains(names, only) {
		return nil, notFound("there is no machine %s", only)
	}
	answers := make([][]api.Check, len(names))
	var wg sync.WaitGroup
	for i, name := range names {
		req := controlRequest{Method: "check", Self: only == "" || name == only}
		for _, to := range names {
			if to != name && (req.Self || to == only) {
				req.To = append(req.To, to)
			}
		}
		wg.Go(func() { answers[i] = b.checkOne(ctx, name, req) })
	}
	wg.Wait()
	return slices.Concat(answers...), nil
}

func (b *backend) checkOne(ctx context.Context, name cluster.Machine, req controlRequest) []api.Check {
	ctx, cancel := context.WithTimeout(ctx, checkTime)
	defer cancel()
	answer, err := b.askControl(ctx, name, req)
	if err != nil {
		return []api.Check{{Machine: name, About: "everything", State: api.CheckFail, Text: err.Error(), Hint: "it must run and be reached by " + string(b.name)}}
	}
	return answer.Checks
}

// check answers another machine's question.
func (m *machine) check(ctx context.Context, req controlRequest) []api.Check {
	var list []api.Check
	if req.Self {
		list = m.checkSelf()
	}
	for _, to := range req.To {
		list = append(list, m.checkReach(ctx, to)...)
	}
	return list
}

// askControl asks machine name what every machine answers.
func (m *machine) askControl(ctx context.Context, name cluster.Machine, req controlRequest) (controlAnswer, error) {
	var answer controlAnswer
	b, err := json.Marshal(req)
	if err != nil {
		return answer, fmt.Errorf("encode request: %w", err)
	}
	if b, err = m.remote.Call(ctx, name, b); err != nil {
		return answer, fmt.Errorf("ask %s: %w", name, err)
	}
	if err := json.Unmarshal(b, &answer); err != nil {
		return answer, fmt.Errorf("decode answer of %s: %w", name, err)
	}
	if answer.Error != "" {
		return answer, fmt.Errorf("%s: %s", name, answer.Error)
	}
	return answer, nil
}
