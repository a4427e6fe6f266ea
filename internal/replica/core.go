package replica

import (
	"time"

	"github.com/tandemail/tandemail/internal/cluster"
)

// Core is the protocol state of one open of one slot. It is not safe for
// concurrent use; its owner steps it.
type Core struct {
	cfg Config
	now time.Duration
	out []Effect

	role        Role
	incarnation cluster.Incarnation
	counter     uint64
	health      Health
	frozen      *Problem

	log      logState
	coord    coordState
	epochs   epochState
	sessions []session
	follow   follow
	master   *master // nil unless RoleMaster
	space    Space
	// vouched is when this slot last acknowledged any master: the read lease of
	// that master ends Lease after it at the latest.
	vouched time.Duration
}

// session is a connection that stands.
type session struct {
	id   Session
	peer cluster.SlotID
	// hello is the newest Hello not yet decided on.
	hello *Hello
}

// New returns a Core that waits for Opened.
func New(cfg Config) *Core {
	cfg.Timing = cfg.Timing.withDefaults()
	if cfg.MinInSync == 0 {
		cfg.MinInSync = 1
	}
	return &Core{cfg: cfg}
}

// Step takes one event at the time now, on a clock that never goes back and
// counts while the machine sleeps, and returns what must be done.
func (c *Core) Step(now time.Duration, in Event) []Effect {
	if c.role >= RoleFailed {
		return nil
	}
	if now > c.now+lateBy {
		c.excuse(now - c.now)
	}
	c.now = max(c.now, now)
	c.out = nil
	c.take(in)
	c.settle()
	out := c.out
	c.out = nil
	return out
}

func (c *Core) take(in Event) {
	switch e := in.(type) {
	case Opened:
		c.onOpened(e)
	case RecordSeen:
		c.onRecordSeen(e)
	case ReadFailed:
		c.onReadFailed(e)
	case CASAnswered:
		c.onCASAnswered(e)
	case Nominate:
		c.onNominate(e)
	case SwitchTo:
		c.onSwitchTo(e)
	case Appended:
		c.onAppended(e)
	case AppendRefused:
		c.onAppendRefused(e)
	case Durable:
		c.onDurable(e)
	case DiskFailed:
		c.onDiskFailed(e)
	case EpochDurable:
		c.onEpochDurable(e)
	case CounterKept:
		c.onCounterKept(e)
	case Truncated:
		c.onTruncated(e)
	case Trimmed:
		c.log.low = max(c.log.low, e.Low)
	case Applied:
		c.log.applied = max(c.log.applied, e.LSN)
	case Located:
		c.onLocated(e)
	case SessionUp:
		c.onSessionUp(e)
	case SessionDown:
		c.onSessionDown(e.Session)
	case FrameIn:
		c.onFrame(e)
	case ControllerAnswered:
		c.onControllerAnswered(e)
	case SpaceLevel:
		c.space = e.Level
	case Tick:
	}
}

// settle derives what the facts now call for. Events only change facts.
func (c *Core) settle() {
	for _, step := range [...]func(*Core){
		(*Core).settleEpoch,    // adopt the record's epoch, durably, before anything under it
		(*Core).settleRole,     // step down, or start as master
		(*Core).settleHandover, // replica: ask the master for the stream, truncate
		(*Core).settlePeers,    // master: answer Hellos that waited
		(*Core).settleSync,
		(*Core).settleCommit,
		(*Core).settleServing,
		(*Core).settleMembers, // master: proposals for the set, switchover
		(*Core).settleCandidate,
		(*Core).settleRead, // questions to the coordinator that the steps above raised
		(*Core).settleLease,
		(*Core).settleHeartbeat,
		(*Core).settleAck,
	} {
		if c.role >= RoleFailed {
			return
		}
		step(c)
	}
}

func (c *Core) emit(e Effect) { c.out = append(c.out, e) }

func (c *Core) send(s Session, f Frame) { c.emit(Send{Session: s, Frame: f}) }

// endIncarnation: any failed journal write or sync is final (rule "failed sync").
func (c *Core) endIncarnation(reason string) {
	if c.role == RoleMaster {
		c.emit(ReadLease{})
		c.emit(StopServing{Reason: reason})
	}
	c.become(RoleEnded)
	c.master = nil
	c.emit(EndIncarnation{Reason: reason})
}

// fail takes the slot out of use: its data contradicts the store's history.
func (c *Core) fail(code Code, text string) {
	if c.role == RoleMaster {
		c.emit(ReadLease{})
		c.emit(StopServing{Reason: string(code)})
	}
	c.become(RoleFailed)
	c.master = nil
	c.emit(FailSlot{Problem{code, text}})
}

func (c *Core) onSessionUp(e SessionUp) {
	if len(c.sessions) >= maxSessions {
		c.emit(CloseSession{e.Session, "too many sessions"})
		return
	}
	c.sessions = append(c.sessions, session{id: e.Session, peer: e.Peer})
}

func (c *Core) onSessionDown(s Session) {
	for i := range c.sessions {
		if c.sessions[i].id == s {
			c.sessions = append(c.sessions[:i], c.sessions[i+1:]...)
			break
		}
	}
	if c.follow.session == s {
		c.follow.reset()
	}
	if c.master != nil {
		c.master.sessionDown(s)
	}
}

// closeSession ends a session from our side.
func (c *Core) closeSession(s Session, reason string) {
	c.emit(CloseSession{Session: s, Reason: reason})
	c.onSessionDown(s)
}

func (c *Core) session(id Session) *session {
	for i := range c.sessions {
		if c.sessions[i].id == id {
			return &c.sessions[i]
		}
	}
	return nil
}

// newestSession returns the latest session with peer, 0 if there is none.
func (c *Core) newestSession(peer cluster.SlotID) Session {
	var s Session
	for i := range c.sessions {
		if c.sessions[i].peer == peer {
			s = c.sessions[i].id
		}
	}
	return s
}

func (c *Core) onFrame(e FrameIn) {
	s := c.session(e.Session)
	if s == nil {
		return
	}
	switch f := e.Frame.(type) {
	case Hello:
		c.onHello(s, f)
	case Welcome:
		c.onWelcome(e.Session, f)
	case Batch:
		c.onBatch(e.Session, f)
	case Heartbeat:
		c.onHeartbeat(e.Session, f)
	case Ack:
		c.onAck(e.Session, f)
	case Record:
		c.learn(sighting{record: f.Record, rev: f.Rev})
	case Bye:
		c.onSessionDown(e.Session)
	}
}
