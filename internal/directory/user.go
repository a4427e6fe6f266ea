package directory

import (
	"errors"
	"fmt"

	"github.com/tandemail/tandemail/internal/cluster"
	"github.com/tandemail/tandemail/internal/mail"
)

// Errors. ErrNoUser and ErrBadAddress are certain and may be told to a client;
// everything else is temporary.
var (
	ErrNoUser     = errors.New("no such user")
	ErrBadAddress = errors.New("bad address")
	ErrExists     = errors.New("user or alias exists")
	// ErrNotReady: nothing certain is known now, since the coordinator has not
	// been heard, or not for a while, and the name is not in the copy here.
	ErrNotReady = errors.New("directory not ready")
	// ErrIncomplete: entries may be missing, since the coordinator was wiped or went
	// back and nobody has said yet that they are all there. It is an ErrNotReady.
	ErrIncomplete = fmt.Errorf("entries of the directory may be missing: %w", ErrNotReady)
	// ErrAlias: an alias leads in a circle, to nobody, or to too many.
	ErrAlias = errors.New("alias leads nowhere")
	// ErrConflict: others changed the entry all the time.
	ErrConflict = errors.New("entry changed under us")
)

// State of a user.
type State string

// States. A frozen user's account takes no writes: a delivery is held, a log-in
// refused for now.
const (
	Active State = ""
	Frozen State = "frozen"
)

// User is a directory entry.
type User struct {
	// Name is the canonical address or name (Policy.Parse), the key.
	Name string `json:"name"`
	// Display is the address as it is shown and written in headers.
	Display string         `json:"display,omitempty"`
	Account mail.AccountID `json:"account"`
	Store   cluster.Store  `json:"store"`
	// Credential is what auth verifies a password against; "" cannot log in.
	Credential string `json:"credential,omitempty"`
	// Verifier is what auth holds a proof of SCRAM against; "" cannot log in so.
	Verifier string `json:"verifier,omitempty"`
	// MayProxy: may log in as any other user, with its own password.
	MayProxy bool `json:"may_proxy,omitempty"`
	// Shared: the account is nobody's own. Others find its mailboxes below Shared/.
	Shared bool  `json:"shared,omitempty"`
	Quota  int64 `json:"quota,omitempty"` // octets; 0 is unlimited
	State  State `json:"state,omitempty"`
	Move   *Move `json:"move,omitempty"`
}

// Move is a move of the user to another store under way. The entry's Store is
// always the one that serves the user.
type Move struct {
	ID    string        `json:"id"`
	To    cluster.Store `json:"to"`
	Phase string        `json:"phase"`
}

// Alias sends an address, or with "@domain" all unknown addresses of a domain,
// to other addresses of this directory.
type Alias struct {
	Address string   `json:"address"`
	Targets []string `json:"targets"`
}
