// Package api is the HTTP and JSON interface of a machine: what the command line
// and operators' scripts talk to. Any machine answers for the whole cluster.
//
// It holds the documents (stable field names), the server, which maps requests to
// a [Backend], and the client. It decides nothing: a Backend does, in app.
package api

import (
	"context"
	"time"

	"github.com/tandemail/tandemail/internal/cluster"
)

// Status is the whole cluster on one screen.
type Status struct {
	Cluster  string          `json:"cluster"`
	Stores   []StoreStatus   `json:"stores"`
	Machines []MachineStatus `json:"machines"`
	Problems []Problem       `json:"problems"`
	// Paused: automatic action is off, and why.
	Paused string `json:"paused,omitempty"`
}

// StoreStatus is one store: who may write it, and each of its copies.
type StoreStatus struct {
	Name   cluster.Store     `json:"name"`
	Epoch  cluster.Epoch     `json:"epoch"`
	Master cluster.Machine   `json:"master"` // "" before the first
	InSync []cluster.Machine `json:"in_sync"`
	Slots  []SlotStatus      `json:"slots"`
}

// SlotStatus is one copy as its machine reports it.
type SlotStatus struct {
	Slot    cluster.SlotID  `json:"slot"`
	Machine cluster.Machine `json:"machine"`
	// Role: "master", "candidate", "replica", "seeding", "idle", "failed"; "unknown"
	// when its machine does not answer.
	Role string `json:"role"`
	// LSN is the end of what is on its disk.
	LSN cluster.LSN `json:"lsn"`
	// LagBytes is how far that is behind the master's end.
	LagBytes uint64 `json:"lag_bytes"`
	// State: "opening", "ok", "catching up", "frozen", "failed", "unreachable".
	// Reason says why it is frozen or failed.
	State  string `json:"state"`
	Reason string `json:"reason,omitempty"`
	// SnapshotLSN is the position of the newest snapshot of its state, and SnapshotAt
	// when it was taken; without any both are zero.
	SnapshotLSN cluster.LSN `json:"snapshot_lsn,omitempty"`
	SnapshotAt  time.Time   `json:"snapshot_at,omitzero"`
}

// MachineStatus is one machine.
type MachineStatus struct {
	Name     cluster.Machine `json:"name"`
	PID      int             `json:"pid,omitempty"`
	State    string          `json:"state"` // "up", "draining", "drained", "down"
	Masters  int             `json:"masters"`
	Replicas int             `json:"replicas"`
	Address  string          `json:"address"`
}

// Problem is something a person should know. Codes are stable.
type Problem struct {
	Code     string          `json:"code"`
	Severity string          `json:"severity"` // "note", "warning", "critical"
	Store    cluster.Store   `json:"store,omitempty"`
	Machine  cluster.Machine `json:"machine,omitempty"`
	Text     string          `json:"text"`
	Next     string          `json:"next,omitempty"`
}

// User is a directory entry without its secret.
type User struct {
	Address string        `json:"user"`
	Account string        `json:"account"`
	Store   cluster.Store `json:"store"`
	State   string        `json:"state"`
	// SCRAM: the user has a verifier for it.
	SCRAM bool `json:"scram,omitempty"`
	// Shared: the account is nobody's own.
	Shared bool `json:"shared,omitempty"`
	// Master is where the store is served now; only in answers of where.
	Master cluster.Machine `json:"master,omitempty"`
}

// NewUser asks for a user. Store "" lets the cluster choose.
type NewUser struct {
	Address  string        `json:"user"`
	Password string        `json:"password,omitempty"` // required unless it is shared
	Store    cluster.Store `json:"store,omitempty"`
	Shared   bool          `json:"shared,omitempty"`
}

// UserChange changes what is said of a user; what is missing stays as it is.
type UserChange struct {
	Shared *bool  `json:"shared,omitempty"`
	By     string `json:"by,omitempty"`
}

// PasswordRequest sets a user's password.
type PasswordRequest struct {
	Password string `json:"password"`
	By       string `json:"by,omitempty"`
}

// SCRAM says whether the cluster offers SCRAM, and how many users have a verifier for it.
type SCRAM struct {
	On bool   `json:"on"`
	By string `json:"by,omitempty"` // who sets it; not in answers
	// Iterations of the verifiers that are made. In answers only, as what follows.
	Iterations int `json:"iterations,omitempty"`
	Users      int `json:"users"`     // that there are
	Verifiers  int `json:"verifiers"` // of them with one
}

// SwitchRequest asks for a planned change of master. To "" means any other copy.
type SwitchRequest struct {
	To     cluster.Machine `json:"to,omitempty"`
	Reason string          `json:"reason,omitempty"`
}

// ReseedRequest names a copy that is to be made anew.
type ReseedRequest struct {
	Machine cluster.Machine `json:"machine"`
	Reason  string          `json:"reason,omitempty"`
}

// SwitchReport says how a planned change of master went.
type SwitchReport struct {
	Store    cluster.Store   `json:"store"`
	From     cluster.Machine `json:"from"`
	To       cluster.Machine `json:"to"`
	Epoch    cluster.Epoch   `json:"epoch"`
	HeldMsec float64         `json:"held_ms"` // how long writes were held
}

// DrainReport lists the switches of a drain.
type DrainReport struct {
	Machine  cluster.Machine `json:"machine"`
	Switches []SwitchReport  `json:"switches"`
	Failed   []string        `json:"failed"`
	Seconds  float64         `json:"seconds"`
}

// DigestReport compares the copies of a store at one LSN.
type DigestReport struct {
	Store  cluster.Store `json:"store"`
	LSN    cluster.LSN   `json:"lsn"`
	Equal  bool          `json:"equal"`
	Copies []CopyDigest  `json:"copies"`
}

// CopyDigest is the digest of one copy.
type CopyDigest struct {
	Machine  cluster.Machine `json:"machine"`
	LSN      cluster.LSN     `json:"lsn"`
	Digest   string          `json:"digest"`
	Accounts int             `json:"accounts"`
	Error    string          `json:"error,omitempty"`
}

// SkipRequest asks to give up an operation that no copy can apply. PlanOnly shows
// what that means and changes nothing.
type SkipRequest struct {
	LSN      cluster.LSN `json:"lsn"`
	By       string      `json:"by"`
	Reason   string      `json:"reason"`
	PlanOnly bool        `json:"plan_only,omitempty"`
}

// SkipReport says what giving up an operation means.
type SkipReport struct {
	Store cluster.Store `json:"store"`
	LSN   cluster.LSN   `json:"lsn"`
	Kind  string        `json:"kind"`  // of the operation
	Error string        `json:"error"` // why it cannot be applied
	// Frozen are the accounts that the operation names.
	Frozen []FrozenAccount `json:"frozen"`
	// Stopped are the machines whose copies stopped at it. Silent ones do not answer:
	// a copy there that has applied it makes its index anew.
	Stopped []cluster.Machine `json:"stopped"`
	Silent  []cluster.Machine `json:"silent"`
	Done    bool              `json:"done"` // false: a plan
}

// FrozenAccount refuses changes until it is thawed.
type FrozenAccount struct {
	Account string `json:"account"`
	Address string `json:"user,omitempty"` // "" if no user has it
}

// ThawRequest says who lets a frozen account take changes again, and why.
type ThawRequest struct {
	By     string `json:"by"`
	Reason string `json:"reason"`
}

// ClusterLevel says which operations and behaviours the cluster uses, and what its
// machines support.
type ClusterLevel struct {
	Cluster  string         `json:"cluster"`
	Level    cluster.Level  `json:"level"`
	Machines []MachineLevel `json:"machines"`
	// Next is the level that an upgrade can be finished to; that of the cluster if to none.
	Next cluster.Level `json:"next"`
}

// MachineLevel is the highest level that a machine's release supports, 0 if it does
// not answer.
type MachineLevel struct {
	Machine cluster.Machine `json:"machine"`
	Level   cluster.Level   `json:"level"`
}

// UpgradeRequest asks to finish an upgrade to a level.
type UpgradeRequest struct {
	Level cluster.Level `json:"level"`
	By    string        `json:"by"`
}

// RecoverRequest asks to recover a coordinator that was wiped or went back. From is
// an export, a file of the machine that is asked. Complete says that the directory has
// every entry. PlanOnly changes nothing.
type RecoverRequest struct {
	By       string `json:"by"`
	Reason   string `json:"reason"`
	From     string `json:"from,omitempty"`
	Complete bool   `json:"complete,omitempty"`
	PlanOnly bool   `json:"plan_only,omitempty"`
}

// RecoverReport says what the coordinator is recovered to.
type RecoverReport struct {
	Generation uint64            `json:"generation"` // that begins
	Revision   cluster.Rev       `json:"revision"`   // the coordinator's, before
	Seen       cluster.Rev       `json:"seen"`       // the highest that any slot has seen
	Stores     []RecoveredStore  `json:"stores"`
	Silent     []cluster.Machine `json:"silent"` // machines that do not answer
	// From is when the export was made, FromRevision the coordinator's revision then.
	From         time.Time   `json:"from,omitzero"`
	FromRevision cluster.Rev `json:"from_revision,omitempty"`
	Restored     int         `json:"restored"` // entries of the export that were missing
	Kept         int         `json:"kept"`     // entries of the export that were there
	// Users and Aliases are those that the directory had before.
	Users   int  `json:"users"`
	Aliases int  `json:"aliases"`
	Done    bool `json:"done"` // false: a plan
}

// RecoveredStore is the highest claim about one store.
type RecoveredStore struct {
	Store    cluster.Store     `json:"store"`
	Claimant cluster.Machine   `json:"claimant"` // whose slot says so; "": the coordinator itself
	Epoch    cluster.Epoch     `json:"epoch"`
	Master   cluster.Machine   `json:"master"`
	InSync   []cluster.Machine `json:"in_sync"`
	Silent   []cluster.Machine `json:"silent"` // machines with a copy that do not answer
}

// Backend is what the server needs of the cluster. Errors are an *Error for what
// the caller did wrong or asked in vain; any other is an internal failure.
type Backend interface {
	Status(ctx context.Context) (Status, error)
	Users(ctx context.Context) ([]User, error)
	// DeletedUsers are those that can come back, the latest first.
	DeletedUsers(ctx context.Context) ([]DeletedUser, error)
	AddUser(ctx context.Context, u NewUser) (User, error)
	DeleteUser(ctx context.Context, address, by string) error
	WhereUser(ctx context.Context, address string) (User, error)
	SetPassword(ctx context.Context, address string, req PasswordRequest) (User, error)
	SCRAM(ctx context.Context) (SCRAM, error)
	// SetSCRAM has verifiers made from now on, or takes all of them away.
	SetSCRAM(ctx context.Context, req SCRAM) (SCRAM, error)
	ThawUser(ctx context.Context, address string, req ThawRequest) (User, error)
	Undelete(ctx context.Context, address string, req UndeleteRequest) (UndeleteReport, error)
	History(ctx context.Context, address string, req HistoryRequest) (UserHistory, error)
	Purge(ctx context.Context, address string, req PurgeRequest) (PurgeReport, error)
	ChangeUser(ctx context.Context, address string, req UserChange) (User, error)
	ACL(ctx context.Context, address string, req ACLRequest) (ACLReport, error)
	Retention(ctx context.Context) (Retention, error)
	SetRetention(ctx context.Context, req Retention) (Retention, error)
	Switchover(ctx context.Context, store cluster.Store, req SwitchRequest) (SwitchReport, error)
	Failover(ctx context.Context, store cluster.Store, req FailoverRequest) (FailoverReport, error)
	// Tails are what forced failovers of the store, or of any, left on machines that answer.
	Tails(ctx context.Context, store cluster.Store) ([]Tail, error)
	Digest(ctx context.Context, store cluster.Store) (DigestReport, error)
	// Reseed has the copy on a machine give its data up and copy the master.
	Reseed(ctx context.Context, store cluster.Store, req ReseedRequest) error
	SkipOp(ctx context.Context, store cluster.Store, req SkipRequest) (SkipReport, error)
	Drain(ctx context.Context, m cluster.Machine) (DrainReport, error)
	Undrain(ctx context.Context, m cluster.Machine) error
	Level(ctx context.Context) (ClusterLevel, error)
	FinishUpgrade(ctx context.Context, req UpgradeRequest) (ClusterLevel, error)
	Recover(ctx context.Context, req RecoverRequest) (RecoverReport, error)
	// CreateStores makes stores, spread over the machines that keep mail, which must
	// all be up.
	CreateStores(ctx context.Context, req StoresRequest) (StoresReport, error)
	// CreateToken makes a token with which another machine may join.
	CreateToken(ctx context.Context, req TokenRequest) (Token, error)
	// Tokens lists those that can still be used, and RevokeToken ends one.
	Tokens(ctx context.Context) ([]TokenStatus, error)
	RevokeToken(ctx context.Context, id string) error
	// PKI says who certifies the machines. RotateCA takes the next stage of a change of
	// the CA.
	PKI(ctx context.Context) (PKI, error)
	RotateCA(ctx context.Context, req RotateRequest) (RotateReport, error)
	// Check looks at all machines and their ways to each other, or at one and the ways
	// from and to it.
	Check(ctx context.Context, only cluster.Machine) ([]Check, error)
	RemoveMachine(ctx context.Context, m cluster.Machine, req RemoveRequest) (RemoveReport, error)
}

// StoresRequest asks for stores.
type StoresRequest struct {
	// Names of them; those that exist are left as they are. Without any, Count new
	// ones are named s01, s02 and so on.
	Names []cluster.Store `json:"names,omitempty"`
	// Count 0 is one for each pair of machines, in either order, but at most four a
	// machine.
	Count  int `json:"count,omitempty"`
	Copies int `json:"copies,omitempty"` // of each; 0 is 2
	// Machines that must be up: with fewer, the stores would be spread over those.
	Machines int `json:"machines,omitempty"`
	// DryRun says where they would be and makes none.
	DryRun bool `json:"dry_run,omitempty"`
}

// StoresReport says where new stores are, the preferred master first.
type StoresReport struct {
	Stores []StorePlacement `json:"stores"`
	DryRun bool             `json:"dry_run,omitempty"`
}

// StorePlacement is where one store is.
type StorePlacement struct {
	Store    cluster.Store     `json:"store"`
	Machines []cluster.Machine `json:"machines"`
}

// TokenRequest says what a token is good for.
type TokenRequest struct {
	Machine cluster.Machine `json:"machine,omitempty"` // "" is any
	Roles   []string        `json:"roles,omitempty"`   // none: all
	Uses    int             `json:"uses,omitempty"`    // 0 is 1
	Minutes int             `json:"minutes,omitempty"` // 0 is 60
	Replace bool            `json:"replace,omitempty"` // a new machine takes that name
}

// Token lets a machine join. Who has it may: it is a secret, and shown once.
type Token struct {
	Token string `json:"token"`
	// ID names it, for those who may not have it.
	ID      string    `json:"id"`
	Expires time.Time `json:"expires"`
}

// States of a Check.
const (
	CheckOK   = "ok"
	CheckWarn = "warn"
	CheckFail = "fail"
)

// Check is one thing that a machine has looked at.
type Check struct {
	Machine cluster.Machine `json:"machine"` // who looked
	About   string          `json:"about"`
	State   string          `json:"state"`
	Text    string          `json:"text"`
	Hint    string          `json:"hint,omitempty"` // what to do, if it is not ok
}

// RemoveRequest says how a machine is removed.
type RemoveRequest struct {
	// Force removes it although stores lose a master or their only copy in sync.
	Force bool `json:"force,omitempty"`
}

// RemoveReport says what removing a machine did.
type RemoveReport struct {
	Machine cluster.Machine `json:"machine"`
	// Moved are the stores with a copy on it, and where that is made anew now.
	Moved []StorePlacement `json:"moved"`
	// Left are sentences about what could not be done.
	Left []string `json:"left"`
}

// Error is an answer the caller can act on.
type Error struct {
	Status  int    `json:"-"` // of HTTP
	Message string `json:"error"`
	Hint    string `json:"hint,omitempty"`
}

// Error is the message; the hint is shown apart.
func (e *Error) Error() string { return e.Message }
