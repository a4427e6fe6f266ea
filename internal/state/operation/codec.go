package operation

import (
	"errors"
	"fmt"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/tandemail/tandemail/internal/cluster"
)

// MaxSize bounds an encoded operation. Bodies are not in it.
const MaxSize = 1 << 20

// ErrMalformed: octets that no release ever wrote, or an operation without shape.
var ErrMalformed = errors.New("malformed operation")

// Encode gives the octets of a valid operation. They are encoded once and never
// re-encoded: what the journal holds is what was proposed.
func Encode(op *Operation) ([]byte, error) {
	if err := op.validate(); err != nil {
		return nil, err
	}
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(op)
	switch {
	case err != nil:
		return nil, fmt.Errorf("encode operation: %w", err)
	case len(b) > MaxSize:
		return nil, fmt.Errorf("encode operation: %d octets, at most %d: %w", len(b), MaxSize, ErrMalformed)
	}
	return b, nil
}

// Decode parses an operation. cluster.ErrNewer when anything in it is unknown to
// this release; ErrMalformed when it cannot be one.
func Decode(b []byte) (*Operation, error) {
	if len(b) > MaxSize {
		return nil, fmt.Errorf("decode operation: %d octets: %w", len(b), ErrMalformed)
	}
	op := new(Operation)
	if err := proto.Unmarshal(b, op); err != nil {
		return nil, fmt.Errorf("decode operation: %w: %w", ErrMalformed, err)
	}
	if op.hasUnknown() {
		return nil, fmt.Errorf("decode operation: unknown field: %w", cluster.ErrNewer)
	}
	return op, op.validate()
}

// hasUnknown looks for unknown fields in every message of op. It is spelled out,
// because walking by reflection costs more than all the rest of decoding; a test
// holds it against the descriptor.
func (op *Operation) hasUnknown() bool {
	if unknown(op) || op.Actor != nil && unknown(op.Actor) || op.Id != nil && unknown(op.Id) {
		return true
	}
	switch k := op.Kind.(type) {
	case *Operation_CreateAccount:
		return unknown(k.CreateAccount) || anyUnknown(k.CreateAccount.Mailboxes)
	case *Operation_DeleteAccount:
		return unknown(k.DeleteAccount)
	case *Operation_Purge:
		return unknown(k.Purge)
	case *Operation_Freeze:
		return unknown(k.Freeze)
	case *Operation_Fork:
		return unknown(k.Fork)
	case *Operation_SetQuota:
		return unknown(k.SetQuota)
	case *Operation_Append:
		if unknown(k.Append) {
			return true
		}
		for _, m := range k.Append.Messages {
			if unknown(m) || m.Body.hasUnknown() {
				return true
			}
		}
		return false
	case *Operation_Store:
		return unknown(k.Store) || k.Store.Uids.hasUnknown()
	case *Operation_Copy:
		return unknown(k.Copy) || k.Copy.Uids.hasUnknown()
	case *Operation_Move:
		return unknown(k.Move) || k.Move.Uids.hasUnknown()
	case *Operation_Expunge:
		return unknown(k.Expunge) || k.Expunge.Uids.hasUnknown()
	case *Operation_Undelete:
		return unknown(k.Undelete) || k.Undelete.Uids.hasUnknown()
	case *Operation_UndeleteMailbox:
		return unknown(k.UndeleteMailbox)
	case *Operation_UndeleteAccount:
		return unknown(k.UndeleteAccount)
	case *Operation_Recent:
		return unknown(k.Recent)
	case *Operation_Create:
		return unknown(k.Create)
	case *Operation_Delete:
		return unknown(k.Delete)
	case *Operation_Rename:
		return unknown(k.Rename)
	case *Operation_Subscribe:
		return unknown(k.Subscribe)
	case *Operation_SetAcl:
		return unknown(k.SetAcl)
	case *Operation_SetMetadata:
		return unknown(k.SetMetadata) || anyUnknown(k.SetMetadata.Entries)
	case *Operation_SetAccess:
		return unknown(k.SetAccess)
	case *Operation_Deliver:
		return unknown(k.Deliver) || k.Deliver.Body.hasUnknown() || anyUnknown(k.Deliver.Recipients)
	case *Operation_SettleDeliveries:
		return unknown(k.SettleDeliveries) || anyUnknown(k.SettleDeliveries.Confirmed) || anyUnknown(k.SettleDeliveries.InDoubt)
	}
	return false // without a kind: validate refuses it
}

func (b *Body) hasUnknown() bool {
	return b != nil && (unknown(b) || anyUnknown(b.Chunks))
}

func (s *UIDSet) hasUnknown() bool { return s != nil && unknown(s) }

type message interface {
	ProtoReflect() protoreflect.Message
}

func unknown(m message) bool { return len(m.ProtoReflect().GetUnknown()) > 0 }

func anyUnknown[M message](list []M) bool {
	for _, m := range list {
		if unknown(m) {
			return true
		}
	}
	return false
}
