package app

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/tandemail/tandemail/internal/agent"
	"github.com/tandemail/tandemail/internal/api"
	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/config"
	"github.com/tandemail/tandemail/internal/controller"
	"github.com/tandemail/tandemail/internal/coord"
	"github.com/tandemail/tandemail/internal/coord/etcd"
	"github.com/tandemail/tandemail/internal/link"
	"github.com/tandemail/tandemail/internal/pki"
	"github.com/tandemail/tandemail/internal/plan"
	"github.com/tandemail/tandemail/internal/slot"
	"github.com/tandemail/tandemail/internal/tail"
)

// startMember runs this machine's member of the embedded coordinator.
func (m *machine) startMember(g *group) error {
	c := m.cfg.Control.Member
	if c == nil {
		return nil
	}
	tls := m.coordinatorTLS()
	if m.ownMembers() {
		if err := m.struck.keepIn(m.cfg.PKI.Dir); err != nil {
			return err
		}
		tls.Revoked = pki.StruckPath(m.cfg.PKI.Dir)
	}
	member, err := newMember(etcd.MemberConfig{
		Name: m.cfg.Machine, Dir: c.Dir, ClientURL: c.Client, PeerURL: c.Peer,
		InitialCluster: c.Initial, Endpoints: m.knownMembers(), Token: "tandemail-" + m.cfg.Cluster,
		TLS: tls, Log: m.log, Refuse: m.struck.refuse, Join: len(c.Initial) == 0, Odd: len(c.Initial) == 0,
	})
	if err != nil {
		return err
	}
	m.member, m.voting = member, member.first.Ready()
	m.sources.Database = member.database
	g.run("coordinator member", member.Run)
	g.run("struck keys", func(ctx context.Context) error { return m.struck.follow(ctx, m.coord, m.log) })
	return nil
}

// coordinatorTLS: members of the cluster's own know each other and their clients by
// the cluster's certificates.
func (m *machine) coordinatorTLS() etcd.Files {
	c := m.cfg.Control
	switch {
	case c.Plain():
		return etcd.Files{}
	case c.CA != "":
		return etcd.Files{Cert: c.Certificate, Key: c.Key, CA: c.CA}
	}
	cert, key, ca := pki.Paths(m.cfg.PKI.Dir)
	return etcd.Files{Cert: cert, Key: key, CA: ca, ServerName: pki.HostName}
}

func (m *machine) buildControl(g *group) error {
	if !m.cfg.Has(config.RoleControl) {
		return nil
	}
	c, err := controller.New(controller.Config{
		Machine: m.name, Coord: m.coord, Eyes: eyes{m}, Agents: agents{m}, Log: m.log,
	})
	if err != nil {
		return fmt.Errorf("prepare controller: %w", err)
	}
	m.control = c
	m.sources.Controller, m.sources.Actions = c.Report, c.Actions
	g.run("controller", c.Run)
	return nil
}

// eyes implements controller.Eyes over the internal port.
type eyes struct{ m *machine }

// Probe implements controller.Eyes.
func (e eyes) Probe(ctx context.Context, rec coord.MachineRecord) error {
	_, err := e.m.callAgent(ctx, rec.Machine, []byte(ping))
	return err
}

// ping is what every machine answers, whatever its roles.
const ping = `{"method":"ping"}`

// Status implements controller.Eyes.
func (e eyes) Status(ctx context.Context, rec coord.MachineRecord) (controller.MachineStatus, error) {
	st, err := e.m.remote.Status(ctx, rec.Machine)
	if err != nil {
		return controller.MachineStatus{}, err
	}
	return controller.MachineStatus{Slots: planSlots(st), Tails: planTails(st), Accuses: st.Accuses}, nil
}

// planSlots puts what an agent says into the controller's words.
func planSlots(st agent.Status) []plan.SlotStatus {
	list := make([]plan.SlotStatus, 0, len(st.Slots))
	for _, s := range st.Slots {
		p := plan.SlotStatus{
			Slot: s.Slot, Store: s.Store, Role: s.Role, Incarnation: s.Incarnation, Counter: s.Counter,
			Epoch: s.Epoch, Rev: s.Rev, Durable: s.Durable, Reaches: s.Reaches, Left: s.Left, Stalled: st.SyncAge > stalledAfter, Damaged: damagedText(s.Damaged),
		}
		switch s.State {
		case slot.StateFrozen:
			p.Frozen = s.Reason
		case slot.StateFailed:
			p.Failed = s.Reason
			if s.Fault != nil {
				p.BadOp, p.BadNewer, p.Failed = s.Fault.LSN, s.Fault.Newer, s.Fault.Reason
			}
		}
		list = append(list, p)
	}
	for _, c := range st.Claims {
		list = append(list, plan.SlotStatus{Slot: c.Slot, Store: c.Store, Role: "idle", Epoch: c.Record.Epoch, Rev: c.Rev, Closed: true})
	}
	for _, l := range st.Lost {
		list = append(list, plan.SlotStatus{Slot: l.Slot, Store: l.Store, Role: "idle", Empty: true, Failed: l.Why})
	}
	return list
}

// planTails are those that are not done.
func planTails(st agent.Status) (list []plan.Tail) {
	for _, t := range st.Tails {
		if t.State == tail.StateOpen {
			list = append(list, plan.Tail{Store: t.Store, Text: cmp.Or(t.Error, fmt.Sprintf("%d of %d messages are left", t.Left, t.Found))})
		}
	}
	return list
}

// damagedText names the first of the bodies that a slot cannot give; its own status
// has all.
func damagedText(list []slot.Damaged) string {
	if len(list) == 0 {
		return ""
	}
	where := "the journal"
	if p := list[0].Pack; p != "" {
		where = "pack " + p
	}
	switch first := list[0]; {
	case first.Body == 0:
		return fmt.Sprintf("octets of %s (%d such places)", where, len(list))
	case len(list) == 1:
		return fmt.Sprintf("body %d in %s", first.Body, where)
	default:
		return fmt.Sprintf("%d bodies, of them %d in %s", len(list), first.Body, where)
	}
}

// agents implements controller.Agents over the internal port.
type agents struct{ m *machine }

// Nominate implements controller.Agents.
func (a agents) Nominate(ctx context.Context, rec coord.MachineRecord, act plan.Action) error {
	return a.m.remote.Nominate(ctx, rec.Machine, act.Store, act.Slot, act.Epoch)
}

// Switchover implements controller.Agents.
func (a agents) Switchover(ctx context.Context, rec coord.MachineRecord, act plan.Action) error {
	return a.m.remote.Switch(ctx, rec.Machine, act.Store, act.Slot)
}

// Reseed implements controller.Agents: a slot whose data is gone is replaced, in
// the store's record, by a new and empty one on the same machine, which then
// follows the master, or becomes a copy of it if the journal was trimmed.
func (a agents) Reseed(ctx context.Context, _ coord.MachineRecord, act plan.Action) error {
	return a.m.replaceSlot(ctx, act.Store, act.Slot)
}

// controlAnswer is what a machine without its agent's help answers.
type controlAnswer struct {
	Pong   bool               `json:"pong,omitempty"`
	Report *controller.Report `json:"report,omitempty"`
	Error  string             `json:"error,omitempty"`
	// Certificate, in PEM, is the answer to renew.
	Certificate string `json:"certificate,omitempty"`
	// Papers are the answer to papers, Key that to next-key.
	Papers *api.MachinePapers `json:"papers,omitempty"`
	Key    string             `json:"key,omitempty"`
	// Checks are the answer to check; Now and Level are part of that to ping.
	Checks []api.Check   `json:"checks,omitempty"`
	Now    time.Time     `json:"now,omitzero"`
	Level  cluster.Level `json:"level,omitempty"`
}

// controlRequest is a question to any machine, whatever its roles.
type controlRequest struct {
	Method string `json:"method"`
	CSR    string `json:"csr,omitempty"`   // of renew, in PEM
	Proof  []byte `json:"proof,omitempty"` // of next-key
	// Self and To are of check: look at this host, and at the way to those.
	Self bool              `json:"self,omitempty"`
	To   []cluster.Machine `json:"to,omitempty"`
}

// answerControl answers "ping", "report", "renew", "check", and what concerns the CA:
// "papers", "rotate" and "next-key".
func (m *machine) answerControl(ctx context.Context, peer link.Peer, b []byte) ([]byte, bool) {
	var req controlRequest
	if json.Unmarshal(b, &req) != nil {
		return nil, false
	}
	var out controlAnswer
	switch req.Method {
	case "ping":
		out.Pong, out.Now, out.Level = true, time.Now(), cluster.CurrentLevel
	case "report":
		if m.control == nil {
			out.Error = "no controller here"
			break
		}
		r := m.control.Report()
		out.Report = &r
	case "renew":
		cert, err := m.issue([]byte(req.CSR), peer)
		out.Certificate, out.Error = string(cert), text(err)
	case "check":
		out.Checks = m.check(ctx, req)
	case "papers":
		p, err := m.papers()
		out.Papers, out.Error = p, text(err)
	case "rotate":
		out.Error = text(m.keepStep(ctx))
	case "next-key":
		key, err := m.giveKey(ctx, peer, req.Proof)
		out.Key, out.Error = string(key), text(err)
	default:
		return nil, false
	}
	answer, err := json.Marshal(out)
	if err != nil {
		m.log.Error("report cannot be encoded", "err", err)
	}
	return answer, true
}

// report finds the elected controller and asks it.
func (m *machine) report(ctx context.Context) (controller.Report, error) {
	b, rev, err := m.coord.Get(ctx, coord.ControllerKey)
	if err != nil || rev == 0 {
		return controller.Report{}, errors.Join(errNoController, err)
	}
	h, err := coord.Decode[coord.Holder](coord.KV{Key: coord.ControllerKey, Value: b})
	if err != nil {
		return controller.Report{}, err
	}
	out, err := m.callAgent(ctx, h.Machine, []byte(`{"method":"report"}`))
	if err != nil {
		return controller.Report{}, fmt.Errorf("ask the controller on %s: %w", h.Machine, err)
	}
	var answer controlAnswer
	if err := json.Unmarshal(out, &answer); err != nil || answer.Report == nil {
		return controller.Report{}, errors.Join(fmt.Errorf("the controller on %s has no report", h.Machine), err)
	}
	return *answer.Report, nil
}

var errNoController = errors.New("no controller is elected")

// suspects is what this machine's probe cannot reach: it goes into the agent's status.
func (m *machine) suspects() []cluster.Machine {
	if m.control == nil {
		return nil
	}
	return m.control.Suspects()
}
