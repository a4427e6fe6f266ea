package state

import (
	"fmt"
	"math/bits"

	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/mail"
	"github.com/tandemail/tandemail/internal/state/operation"
)

// Apply makes op happen to the state. It is deterministic: the same state, LSN,
// level and operation give the same state and outcome on every copy and in every
// release that supports the level. at is the LSN of the operation's own record.
//
// A refusal is an outcome. An error means that the database failed, a record is
// damaged, or the operation needs a newer release (cluster.ErrNewer): then what
// was written to kv must be thrown away and the slot stops. op comes from
// [operation.Decode] or a [Builder], which check its shape.
func Apply(kv KV, at cluster.LSN, level cluster.Level, op *operation.Operation) (Outcome, error) {
	if cluster.Level(op.Level) > level || level > cluster.CurrentLevel {
		return Outcome{}, fmt.Errorf("apply operation of level %d at level %d of %d: %w",
			op.Level, level, cluster.CurrentLevel, cluster.ErrNewer)
	}
	s := &store{kv: kv, key: make(key, 0, 96), buf: make(writer, 0, 512)}
	var out Outcome
	switch k := op.Kind.(type) {
	case *operation.Operation_Fork:
		s.forkSlot(k.Fork.Count, mail.Instant(op.Time))
	case *operation.Operation_Deliver:
		out = s.deliver(at, op, k.Deliver)
	case *operation.Operation_SettleDeliveries:
		s.settle(at, op, k.SettleDeliveries)
	case *operation.Operation_CreateAccount:
		out = s.createAccount(at, op, k.CreateAccount)
	case *operation.Operation_Purge:
		out = s.purge(at, op, k.Purge)
	case *operation.Operation_UndeleteAccount:
		out = s.undeleteAccount(at, op)
	default:
		out = s.applyToAccount(at, op)
	}
	if s.err != nil {
		return Outcome{}, fmt.Errorf("apply operation at %d: %w", at, s.err)
	}
	return out, nil
}

// applyToAccount does an operation that one account's state decides.
func (s *store) applyToAccount(at cluster.LSN, op *operation.Operation) Outcome {
	t, ok := s.begin(mail.AccountID(op.Account), at, mail.Instant(op.Time))
	if !ok {
		return Outcome{Code: NoAccount}
	}
	cmd, first := t.recall(op.Id)
	if first != nil {
		return *first
	}
	if t.acc.frozen && !passesFrozen(op) {
		return Outcome{Code: Frozen}
	}
	copy(t.user[:], op.User)
	var out Outcome
	out.Code, out.Result = t.do(op)
	t.note(op, &out)
	t.remember(cmd, out.Code, &out.Result)
	t.expire(expirePerOperation)
	if c := t.flush(); len(c.Mailboxes) > 0 {
		out.Changed = []Changed{c}
	}
	return out
}

// passesFrozen: what an operator does about a frozen account.
func passesFrozen(op *operation.Operation) bool {
	switch op.Kind.(type) {
	case *operation.Operation_Freeze, *operation.Operation_DeleteAccount, *operation.Operation_SetQuota:
		return true
	}
	return false
}

func (t *tx) do(op *operation.Operation) (Code, mail.Result) {
	switch k := op.Kind.(type) {
	case *operation.Operation_Append:
		return t.append(k.Append)
	case *operation.Operation_Store:
		return t.storeFlags(k.Store)
	case *operation.Operation_Copy:
		return t.copyMessages(k.Copy, false)
	case *operation.Operation_Move:
		return t.copyMessages(k.Move, true)
	case *operation.Operation_Expunge:
		return t.expunge(k.Expunge)
	case *operation.Operation_Undelete:
		return t.undelete(k.Undelete)
	case *operation.Operation_UndeleteMailbox:
		return t.undeleteMailbox(k.UndeleteMailbox)
	case *operation.Operation_Recent:
		return t.recent(k.Recent)
	case *operation.Operation_Create:
		return t.create(k.Create)
	case *operation.Operation_Delete:
		return t.deleteMailbox(k.Delete)
	case *operation.Operation_Rename:
		return t.rename(k.Rename)
	case *operation.Operation_Subscribe:
		return t.subscribe(k.Subscribe)
	case *operation.Operation_SetAcl:
		return t.setACL(k.SetAcl)
	case *operation.Operation_SetMetadata:
		return t.setMetadata(k.SetMetadata)
	case *operation.Operation_SetAccess:
		return t.setAccess(k.SetAccess)
	case *operation.Operation_SetQuota:
		return t.setQuota(k.SetQuota)
	case *operation.Operation_Freeze:
		return t.freeze(k.Freeze)
	case *operation.Operation_DeleteAccount:
		return t.deleteAccount()
	}
	t.fail(fmt.Errorf("operation of kind %T: %w", op.Kind, cluster.ErrNewer))
	return Done, mail.Result{}
}

func uidSet(s *operation.UIDSet) mail.UIDSet {
	set := make(mail.UIDSet, 0, len(s.Bounds)/2)
	for i := 0; i+1 < len(s.Bounds); i += 2 {
		set = append(set, mail.UIDRange{Lo: mail.UID(s.Bounds[i]), Hi: mail.UID(s.Bounds[i+1])})
	}
	return set
}

func popcount(v uint64) int      { return bits.OnesCount64(v) }
func trailingZeros(v uint64) int { return bits.TrailingZeros64(v) }
