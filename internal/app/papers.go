package app

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/tandemail/tandemail/internal/api"
	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/coord"
	"github.com/tandemail/tandemail/internal/pki"
)

// Before these times the end of a certificate is a problem. A machine's is renewed
// months earlier; a CA is replaced by a person.
const (
	papersNotice = 30 * 24 * time.Hour
	caNotice     = 365 * 24 * time.Hour
)

// papers are this machine's own.
func (m *machine) papers() (*api.MachinePapers, error) {
	issuer, err := m.identity.Issuer()
	if err != nil {
		return nil, err
	}
	trust, err := m.identity.Trust()
	if err != nil {
		return nil, err
	}
	p := &api.MachinePapers{Machine: m.name, Key: m.identity.Key.String(), RenewBy: m.identity.RenewBy(), Issuer: issuer.String()}
	for _, a := range trust {
		p.Trust = append(p.Trust, api.Authority{Key: a.Key.String(), NotAfter: a.NotAfter})
	}
	if m.issues() {
		ca, err := pki.LoadCA(m.cfg.PKI.Dir, time.Now)
		if err != nil {
			return nil, err
		}
		key, err := ca.Key()
		if err != nil {
			return nil, err
		}
		p.Issues = key.String()
	}
	if next, there, err := pki.NextKey(m.cfg.PKI.Dir); err != nil {
		return nil, err
	} else if there {
		p.Next = next.String()
	}
	return p, nil
}

// allPapers asks every machine.
func (b *backend) allPapers(ctx context.Context) ([]api.MachinePapers, []coord.MachineRecord, error) {
	kvs, _, err := b.coord.List(ctx, coord.MachinesPrefix)
	if err != nil {
		return nil, nil, unavailable(err)
	}
	recs, list := make([]coord.MachineRecord, len(kvs)), make([]api.MachinePapers, len(kvs))
	var wg sync.WaitGroup
	for i, kv := range kvs {
		rec, err := coord.Decode[coord.MachineRecord](kv)
		if err != nil {
			return nil, nil, err
		}
		recs[i] = rec
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(ctx, dialTime)
			defer cancel()
			p := &api.MachinePapers{Machine: rec.Machine, Silent: true, RenewBy: rec.CertificateEnds, Trust: []api.Authority{}}
			if answer, err := b.askControl(ctx, rec.Machine, controlRequest{Method: "papers"}); err == nil && answer.Papers != nil {
				p = answer.Papers
			}
			p.Listed = rec.Key
			list[i] = *p
		})
	}
	wg.Wait()
	return list, recs, nil
}

// PKI implements api.Backend.
func (b *backend) PKI(ctx context.Context) (api.PKI, error) {
	list, _, err := b.allPapers(ctx)
	if err != nil {
		return api.PKI{}, err
	}
	rec, _, err := b.rotation(ctx)
	if err != nil {
		return api.PKI{}, unavailable(err)
	}
	p := api.PKI{Cluster: b.cfg.Cluster, Machines: list, Authorities: authorities(list)}
	if rec.UnderWay() {
		r := rotationOf(rec)
		p.Rotation = &r
	}
	p.Problems = paperProblems(p, time.Now())
	return p, nil
}

// authorities are those that a machine believes.
func authorities(list []api.MachinePapers) []api.Authority {
	out := []api.Authority{}
	for _, m := range list {
		for _, a := range m.Trust {
			if !slices.ContainsFunc(out, func(o api.Authority) bool { return o.Key == a.Key }) {
				out = append(out, a)
			}
		}
	}
	return out
}

func rotationOf(rec coord.RotationRecord) api.Rotation {
	return api.Rotation{
		Stage: string(rec.Stage), Old: rec.Old, New: rec.New, Begun: rec.Begun, By: rec.By,
		Without: append([]cluster.Machine{}, rec.Without...),
	}
}

func rotationProblem(r api.Rotation) api.Problem {
	return api.Problem{
		Code: "ca-rotation", Severity: "note", Next: rotateNext,
		Text: fmt.Sprintf("The CA is being replaced, since %s, and is at stage %q.", r.Begun.UTC().Format(time.DateTime), r.Stage),
	}
}

const rotateNext = "tandemail pki rotate-ca"

// paperProblems says what is wrong with the machines' papers.
func paperProblems(p api.PKI, now time.Time) []api.Problem {
	out := []api.Problem{}
	add := func(code, severity string, m cluster.Machine, next, format string, args ...any) {
		out = append(out, api.Problem{Code: code, Severity: severity, Machine: m, Text: fmt.Sprintf(format, args...), Next: next})
	}
	if p.Rotation != nil {
		out = append(out, rotationProblem(*p.Rotation))
	}
	issued := false
	for _, a := range p.Authorities {
		if a.NotAfter.Sub(now) < caNotice {
			add("ca-ends", "warning", "", rotateNext, "The CA %s ends on %s.", short(a.Key), a.NotAfter.UTC().Format(time.DateOnly))
		}
	}
	for _, m := range p.Machines {
		issued = issued || m.Issues != ""
		switch {
		case m.Silent:
			add("papers-unknown", "warning", m.Machine, "", "Machine %s does not answer: what it shows and believes is not known.", m.Machine)
			continue
		case m.Listed != "" && m.Listed != m.Key:
			add("key-differs", "critical", m.Machine, "tandemail token create --replace --machine "+string(m.Machine), "Machine %s has the key %s, and the membership lists %s: the others refuse it.", m.Machine, short(m.Key), short(m.Listed))
		}
		if m.RenewBy.Sub(now) < papersNotice {
			add("certificate-ends", "warning", m.Machine, "see why in its log: a machine with the role control renews it", "The certificate of machine %s should be renewed by %s, and was not.", m.Machine, m.RenewBy.UTC().Format(time.DateOnly))
		}
		for _, o := range p.Machines {
			if !o.Silent && !believes(o, m.Issuer) {
				add("ca-unknown", "critical", m.Machine, "tandemail token create --replace --machine "+string(m.Machine), "The certificate of machine %s is from the CA %s, which %s does not believe.", m.Machine, short(m.Issuer), o.Machine)
			}
		}
		if p.Rotation == nil && len(m.Trust) > 1 {
			add("ca-kept", "warning", m.Machine, "it forgets the old CA within an hour, or when it is restarted", "Machine %s believes %d CAs although none is being replaced.", m.Machine, len(m.Trust))
		}
	}
	if !issued && len(p.Machines) > 0 {
		add("ca-key-missing", "warning", "", "put a copy of ca.key back on a machine with the role control", "No machine that answers has the CA's key: nothing is renewed, and nobody joins.")
	}
	return out
}

func believes(m api.MachinePapers, ca string) bool {
	return slices.ContainsFunc(m.Trust, func(a api.Authority) bool { return a.Key == ca })
}

// short is enough of a key's name to compare by eye.
func short(key string) string { return key[:min(len(key), 12)] }
