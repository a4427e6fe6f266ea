package app

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/tandemail/tandemail/internal/api"
	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/coord"
	"github.com/tandemail/tandemail/internal/enrol"
	"github.com/tandemail/tandemail/internal/pki"
)

const (
	// stepTime bounds one machine's step: its member of the coordinator is restarted.
	stepTime = 30 * time.Second
	// rotatingTTL is how long a stage stays taken when who was at it is gone.
	rotatingTTL = 10 * time.Second
)

// nextStage is what follows a stage that all machines have done.
var nextStage = map[coord.Stage]coord.Stage{
	coord.StageBelieve: coord.StageRenew, coord.StageRenew: coord.StageForget, coord.StageForget: coord.StageDone,
}

// RotateCA implements api.Backend: one stage, machine by machine.
func (b *backend) RotateCA(ctx context.Context, req api.RotateRequest) (api.RotateReport, error) {
	list, recs, err := b.allPapers(ctx)
	if err != nil {
		return api.RotateReport{}, err
	}
	rec, rev, err := b.rotation(ctx)
	if err != nil {
		return api.RotateReport{}, unavailable(err)
	}
	if err := mayLeaveOut(list, req.Without); err != nil {
		return api.RotateReport{}, err
	}
	begins := !rec.UnderWay() || rec.Stage == coord.StageBelieve && !keyThere(rec, list)
	if begins {
		if rec, err = b.newRotation(req, list); err != nil {
			return api.RotateReport{}, err
		}
	}
	rec.Without = leftOut(rec, req.Without, list)
	r := api.RotateReport{Rotation: rotationOf(rec), Steps: steps(rec, list, recs), Waiting: silent(list, rec.Without)}
	if begins {
		tokens, err := enrol.List(ctx, b.coord)
		if err != nil {
			return r, unavailable(err)
		}
		r.Tokens = len(tokens)
	}
	if req.PlanOnly {
		return r, nil
	}
	done, err := b.takeTurn(ctx)
	if err != nil {
		return r, err
	}
	defer done()
	if begins {
		if rec, err = b.beginRotation(rec); err != nil {
			return r, err
		}
	}
	if rev, err = b.putRotation(ctx, rec, rev); err != nil {
		return r, err
	}
	if begins {
		if err := enrol.RevokeAll(ctx, b.coord); err != nil {
			return r, unavailable(err)
		}
	}
	return b.runStage(ctx, rec, rev, r)
}

// runStage has each machine take its step, and goes on to the next stage if all did.
func (b *backend) runStage(ctx context.Context, rec coord.RotationRecord, rev cluster.Rev, r api.RotateReport) (api.RotateReport, error) {
	r.Rotation = rotationOf(rec)
	for i, s := range r.Steps {
		ctx, cancel := context.WithTimeout(ctx, stepTime)
		_, err := b.askControl(ctx, s.Machine, controlRequest{Method: "rotate"})
		cancel()
		if err != nil {
			return r, conflict("see why, and ask again: it goes on from there", "the CA's change stopped at stage %q: %v", rec.Stage, err)
		}
		r.Steps[i].Done = true
	}
	if len(r.Waiting) > 0 {
		return r, nil
	}
	rec.Stage = nextStage[rec.Stage]
	if _, err := b.putRotation(ctx, rec, rev); err != nil {
		return r, err
	}
	r.Rotation, r.Done = rotationOf(rec), rec.Stage == coord.StageDone
	if r.Done {
		b.note(ctx, coord.HistoryEntry{
			At: rec.Begun, By: rec.By, Kind: "rotate-ca", Took: time.Since(rec.Begun),
			Reason: fmt.Sprintf("CA %s in place of %s", short(rec.New), short(rec.Old)),
		})
	}
	return r, nil
}

// mayLeaveOut: only machines of the cluster that do not answer.
func mayLeaveOut(list []api.MachinePapers, without []cluster.Machine) error {
	for _, m := range without {
		i := slices.IndexFunc(list, func(p api.MachinePapers) bool { return p.Machine == m })
		switch {
		case i < 0:
			return notFound("there is no machine %s", m)
		case !list[i].Silent:
			return conflict("ask again without --without", "machine %s answers: it need not be left out", m)
		}
	}
	return nil
}

// leftOut are those that were and that shall be. Who answers again is not, as long as
// the others believe the CA that certifies it.
func leftOut(rec coord.RotationRecord, more []cluster.Machine, list []api.MachinePapers) []cluster.Machine {
	var out []cluster.Machine
	for _, p := range list {
		was := slices.Contains(rec.Without, p.Machine) && (p.Silent || rec.Stage == coord.StageForget)
		if was || slices.Contains(more, p.Machine) {
			out = append(out, p.Machine)
		}
	}
	return out
}

// steps are those of the machines that answer: who issues goes first, since the others
// are certified by it.
func steps(rec coord.RotationRecord, list []api.MachinePapers, recs []coord.MachineRecord) []api.RotateStep {
	out := []api.RotateStep{}
	for _, issues := range []bool{true, false} {
		for i, p := range list {
			if !p.Silent && (p.Issues != "") == issues && !slices.Contains(rec.Without, p.Machine) {
				out = append(out, api.RotateStep{Machine: p.Machine, Member: recs[i].Control && rec.Stage != coord.StageRenew})
			}
		}
	}
	return out
}

func silent(list []api.MachinePapers, without []cluster.Machine) []cluster.Machine {
	out := []cluster.Machine{}
	for _, p := range list {
		if p.Silent && !slices.Contains(without, p.Machine) {
			out = append(out, p.Machine)
		}
	}
	return out
}

// keyThere: a machine that answers has the new CA's key. Without it the change begins
// anew, as long as nobody is certified by that CA.
func keyThere(rec coord.RotationRecord, list []api.MachinePapers) bool {
	return slices.ContainsFunc(list, func(p api.MachinePapers) bool { return p.Next == rec.New || p.Issues == rec.New })
}

// newRotation is the record of a change that has not begun.
func (b *backend) newRotation(req api.RotateRequest, list []api.MachinePapers) (coord.RotationRecord, error) {
	if !b.issues() {
		var issuers []cluster.Machine
		for _, p := range list {
			if p.Issues != "" {
				issuers = append(issuers, p.Machine)
			}
		}
		return coord.RotationRecord{}, conflict(fmt.Sprintf("ask one that has it: %v", issuers), "machine %s has not the CA's key", b.name)
	}
	old, err := b.identity.Issuer()
	return coord.RotationRecord{Stage: coord.StageBelieve, Old: old.String(), By: req.By, Begun: time.Now()}, err
}

// beginRotation makes the new CA.
func (b *backend) beginRotation(rec coord.RotationRecord) (coord.RotationRecord, error) {
	ca, err := pki.LoadCA(b.cfg.PKI.Dir, time.Now)
	if err != nil {
		return rec, err
	}
	s, err := ca.CreateSuccessor(b.cfg.PKI.Dir, b.cfg.Cluster)
	if err != nil {
		return rec, err
	}
	a, err := s.Authority()
	rec.New, rec.Certificate, rec.Proof = a.Key.String(), s.Certificate, s.Proof
	return rec, err
}

func (b *backend) putRotation(ctx context.Context, rec coord.RotationRecord, rev cluster.Rev) (cluster.Rev, error) {
	ok, next, err := b.coord.Txn(ctx, coord.Txn{
		If:   []coord.Compare{{Key: coord.RotationKey, Rev: rev}},
		Then: []coord.Op{coord.Put(coord.RotationKey, coord.Encode(rec))},
	})
	switch {
	case err != nil:
		return rev, unavailable(err)
	case !ok:
		return rev, conflict("ask again", "somebody else changes the CA")
	}
	return next, nil
}

// takeTurn lets one at a time work at a stage, so that two members of the coordinator
// are not restarted at once. done gives the turn back.
func (b *backend) takeTurn(ctx context.Context) (done func(), err error) {
	lease, err := b.coord.Lease(ctx, rotatingTTL)
	if err != nil {
		return nil, unavailable(err)
	}
	done = func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		if err := lease.Close(ctx); err != nil {
			b.log.Debug("turn not given back", "err", err)
		}
	}
	holder := coord.Holder{Machine: b.name, Nonce: randomNonce(), Since: time.Now()}
	ok, _, err := lease.Txn(ctx, coord.Txn{
		If:   []coord.Compare{{Key: coord.RotatingKey}},
		Then: []coord.Op{coord.Put(coord.RotatingKey, coord.Encode(holder))},
	})
	if err == nil && ok {
		return done, nil
	}
	done()
	if err != nil {
		return nil, unavailable(err)
	}
	return nil, conflict("wait until it is done, then ask again", "somebody else changes the CA")
}
