package coord

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/tandemail/tandemail/internal/cluster"
)

// MachineRecord is what the cluster knows of a machine whether it is up or not.
type MachineRecord struct {
	Machine cluster.Machine `json:"machine"`
	// Zone is its failure domain; empty means that it is a zone of its own.
	Zone cluster.Zone `json:"zone,omitempty"`
	// Weight is its share of stores; 0 means 1.
	Weight int `json:"weight,omitempty"`
	// Link and HTTP are host:port of the internal port and of the API.
	Link string `json:"link"`
	HTTP string `json:"http"`
	// Key names the public key of its certificate, in hexadecimal; "" in records of
	// releases that did not write it.
	Key string `json:"key,omitempty"`
	// Storage and Control are the roles it runs that decisions depend on.
	Storage bool `json:"storage"`
	Control bool `json:"control"`
	// Issuer: it has the CA's key, and lets new machines in.
	Issuer bool `json:"issuer,omitempty"`
	// CertificateEnds is when its certificate should be renewed at the latest.
	CertificateEnds time.Time `json:"certificate_ends,omitzero"`
	// Draining: no master shall stay or come here. DrainReason is the operator's.
	Draining    bool   `json:"draining,omitempty"`
	DrainReason string `json:"drain_reason,omitempty"`
}

// TokenRecord lets new machines join, for a while. Its secret is not in it.
type TokenRecord struct {
	// Machine is the only name that may use it; "" is any.
	Machine cluster.Machine `json:"machine,omitempty"`
	// Roles are those that who uses it may have.
	Roles []string `json:"roles"`
	// Replace: it may take the name of a machine that is known by another key.
	Replace bool      `json:"replace,omitempty"`
	Made    time.Time `json:"made"`
	Expires time.Time `json:"expires"`
	// Uses is how many machines may use it, Used who has.
	Uses int        `json:"uses"`
	Used []TokenUse `json:"used,omitempty"`
}

// TokenUse is one machine's. The same machine with the same key may ask again.
type TokenUse struct {
	Machine cluster.Machine `json:"machine"`
	Key     string          `json:"key"`
	At      time.Time       `json:"at"`
}

// StruckRecord says that a key is no machine's any more, for ever.
type StruckRecord struct {
	Machine cluster.Machine `json:"machine"`
	At      time.Time       `json:"at"`
	By      string          `json:"by"`
}

// Stage is how far a change of the cluster's CA is. Each is begun when all machines
// have done the one before.
type Stage string

// The stages, in their order.
const (
	StageBelieve Stage = "believe" // every machine believes the new CA, too
	StageRenew   Stage = "renew"   // every machine gets its certificate from the new CA
	StageForget  Stage = "forget"  // every machine believes the new CA alone
	StageDone    Stage = "done"
)

// RotationRecord is a change of the cluster's CA. One that is done stays, for
// machines that were away.
type RotationRecord struct {
	Stage Stage `json:"stage"`
	// Old and New name the keys of the CAs, in hexadecimal.
	Old string `json:"old"`
	New string `json:"new"`
	// Certificate is the new CA's, in PEM, and Proof the old CA's word for it.
	Certificate string `json:"certificate"`
	Proof       []byte `json:"proof"`
	// Without are machines that nobody waits for.
	Without []cluster.Machine `json:"without,omitempty"`
	By      string            `json:"by"`
	Begun   time.Time         `json:"begun"`
}

// UnderWay: nobody joins meanwhile.
func (r RotationRecord) UnderWay() bool { return r.Stage != "" && r.Stage != StageDone }

// LiveRecord is the value of a machine's leased key.
type LiveRecord struct {
	Machine cluster.Machine `json:"machine"`
	Boot    string          `json:"boot"` // drawn anew by every start of the process
	Since   time.Time       `json:"since"`
	Version string          `json:"version"`
	Level   cluster.Level   `json:"level"` // the highest it supports
}

// Settings are the cluster's. The zero value is what a new cluster has; a zero
// duration or count means the default that package plan states.
type Settings struct {
	// Paused stops every automatic action; problems are still shown.
	Paused       bool      `json:"paused,omitempty"`
	PausedBy     string    `json:"paused_by,omitempty"`
	PausedReason string    `json:"paused_reason,omitempty"`
	PausedAt     time.Time `json:"paused_at,omitzero"`
	// AcceptDeadBefore: an operator says that the machines silent since before
	// are dead, however many they are.
	AcceptDeadBefore time.Time `json:"accept_dead_before,omitzero"`
	// DryRun shows what would be done and does not do it.
	DryRun bool `json:"dry_run,omitempty"`
	// NoReturn leaves masters where a failover put them.
	NoReturn bool `json:"no_return,omitempty"`

	ReseedGrace    time.Duration `json:"reseed_grace,omitempty"`    // before a missing copy is urgent
	ReturnAfter    time.Duration `json:"return_after,omitempty"`    // a machine must be up this long to get its masters back
	ActionPeriod   time.Duration `json:"action_period,omitempty"`   // one unforced move a store in this time
	MaxSwitchovers int           `json:"max_switchovers,omitempty"` // at once, in the cluster
	// Retention is how long what was deleted can come back; 0 means DefaultRetention.
	Retention time.Duration `json:"retention,omitempty"`
	// Level of the cluster; rises only when an upgrade is finished.
	Level cluster.Level `json:"level,omitempty"`
}

// Bounds of Settings.Retention. Nothing is kept for ever: that would be another feature,
// and full disks.
const (
	DefaultRetention = 14 * 24 * time.Hour
	MinRetention     = time.Hour
	MaxRetention     = 400 * 24 * time.Hour
)

// Keep is how long what was deleted can come back. A setting out of bounds counts as
// the nearest within.
func (s Settings) Keep() time.Duration {
	if s.Retention == 0 {
		return DefaultRetention
	}
	return min(max(s.Retention, MinRetention), MaxRetention)
}

// DeletedUser is a user who was deleted and can come back: below DeletedPrefix, by the
// account's id, since a name may be given away meanwhile.
type DeletedUser struct {
	// User is the directory's entry as it was.
	User json.RawMessage `json:"entry"`
	At   time.Time       `json:"at"`
	By   string          `json:"by,omitempty"`
}

// HistoryEntry says who did what, why, and how it ended. Kept, the newest 1000,
// below HistoryPrefix.
type HistoryEntry struct {
	At      time.Time       `json:"at"`
	By      string          `json:"by"` // "controller m1", "operator root@m2"
	Kind    string          `json:"kind"`
	Store   cluster.Store   `json:"store,omitempty"`
	Machine cluster.Machine `json:"machine,omitempty"`
	From    cluster.SlotID  `json:"from,omitzero"`
	To      cluster.SlotID  `json:"to,omitzero"`
	Epoch   cluster.Epoch   `json:"epoch,omitempty"` // before the action
	Reason  string          `json:"reason"`
	Took    time.Duration   `json:"took"`
	Error   string          `json:"error,omitempty"` // empty: done
}

// MaxHistory is the number of history entries that are kept.
const MaxHistory = 1000

// Holder is the value of an elected key.
type Holder struct {
	Machine cluster.Machine `json:"machine"`
	Nonce   string          `json:"nonce"`
	Since   time.Time       `json:"since"`
}

// Encode returns v as JSON. v is one of the types of this file.
func Encode(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // no field can fail to marshal
	}
	return b
}

// Decode parses the value of kv into one of the types of this file. Fields that
// a newer release added are ignored.
func Decode[T any](kv KV) (T, error) {
	var v T
	if err := json.Unmarshal(kv.Value, &v); err != nil {
		return v, fmt.Errorf("decode %s: %w", kv.Key, err)
	}
	return v, nil
}
