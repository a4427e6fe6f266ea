package api

import (
	"time"

	"github.com/tandemail/tandemail/internal/cluster"
)

// PKI says who certifies the cluster's machines, and how.
type PKI struct {
	Cluster     string          `json:"cluster"`
	Authorities []Authority     `json:"authorities"` // that a machine believes
	Machines    []MachinePapers `json:"machines"`
	// Rotation is the change of the CA that is under way.
	Rotation *Rotation `json:"rotation,omitempty"`
	Problems []Problem `json:"problems"`
}

// Authority is a CA. Keys are named by the SHA-256 of their SubjectPublicKeyInfo, in
// hexadecimal.
type Authority struct {
	Key      string    `json:"key"`
	NotAfter time.Time `json:"not_after"`
}

// MachinePapers is what a machine shows to others and whom it believes.
type MachinePapers struct {
	Machine cluster.Machine `json:"machine"`
	// Silent: it does not answer, and only what the membership says is known.
	Silent bool `json:"silent,omitempty"`
	// Listed is the key that the membership has for it, Key the one that it has.
	Listed string `json:"listed"`
	Key    string `json:"key"`
	// RenewBy is when its certificate should be renewed at the latest.
	RenewBy time.Time `json:"renew_by"`
	Issuer  string    `json:"issuer"` // the CA's key that its certificate is from
	// Issues is the key of the CA that it issues with; "" if it does not.
	Issues string `json:"issues,omitempty"`
	// Next is the key of the CA that it has ready to take that one's place.
	Next string `json:"next,omitempty"`
	// Trust lists the CAs that it believes.
	Trust []Authority `json:"trust"`
}

// Rotation is a change of the cluster's CA.
type Rotation struct {
	Stage   string            `json:"stage"` // "believe", "renew", "forget", "done"
	Old     string            `json:"old"`   // keys of the CAs
	New     string            `json:"new"`
	Begun   time.Time         `json:"begun"`
	By      string            `json:"by"`
	Without []cluster.Machine `json:"without"`
}

// RotateRequest asks for the next stage of a change of the CA, which begins if none
// is under way. Without are machines that are not waited for. PlanOnly changes nothing.
type RotateRequest struct {
	By       string            `json:"by"`
	Without  []cluster.Machine `json:"without,omitempty"`
	PlanOnly bool              `json:"plan_only,omitempty"`
}

// RotateReport says how a stage went, or what it would mean.
type RotateReport struct {
	// Rotation is as it is after the stage; in a plan, before it.
	Rotation Rotation `json:"rotation"`
	// Steps are those of the machines; in a plan, those that they will take.
	Steps []RotateStep `json:"steps"`
	// Waiting are the machines that the next stage waits for. They do not answer.
	Waiting []cluster.Machine `json:"waiting"`
	// Tokens is how many tokens end: they name the old CA.
	Tokens int  `json:"tokens"`
	Done   bool `json:"done"`
}

// RotateStep is one machine's.
type RotateStep struct {
	Machine cluster.Machine `json:"machine"`
	Member  bool            `json:"member"` // its member of the coordinator is restarted
	Done    bool            `json:"done"`
}

// TokenStatus is a token that was made, without its secret. ID is enough to revoke it.
type TokenStatus struct {
	ID      string            `json:"id"`
	Machine cluster.Machine   `json:"machine,omitempty"` // "" is any
	Roles   []string          `json:"roles"`
	Replace bool              `json:"replace,omitempty"`
	Made    time.Time         `json:"made"`
	Expires time.Time         `json:"expires"`
	Uses    int               `json:"uses"`
	Used    []cluster.Machine `json:"used"`
}
