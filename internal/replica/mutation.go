package replica

// Mutation is a set of safety rules switched off. Only the simulator sets it,
// to show that each rule is needed: see TestEachSafetyRuleIsNeeded in package sim.
type Mutation uint32

// One bit for each rule that can be switched off.
const (
	KeepEpochOnRestart   Mutation = 1 << iota // a restarted master goes on under its old epoch
	ActBeforeEpochSynced                      // acts under an epoch before its file is synced
	RequireRecordedOnly                       // the required set leaves out sets whose outcome is unknown
	RequireAfterAnswer                        // a joining slot is required only once the proposal was answered
	ShrinkBeforeKnown                         // a leaving slot is not required from the proposal on
	CommitAlone                               // commit on the master's own sync
	ApplyBeforeCommit                         // apply what is durable here
	JoinUnchecked                             // propose a slot that is not durable past commit
	SkipTruncate                              // keep a tail that the master does not have
	IgnoreFailedSync                          // take a failed sync for a successful one
	SkipLeaseWait                             // serve at once as a new master
	ReadWithoutLease                          // serve reads without confirmation
	IgnoreMinInSync                           // commit on fewer machines than asked for
	IgnoreCounter                             // accept an older disk or a clone
	TrustRewound                              // believe a coordinator that went back
	ForgetForced                              // a forced epoch that never served counts as an ordinary one
	KeepStaleTail                             // a forced master commits a tail of its own
	SkipForcedWait                            // serve as a forced master without waiting out the old one
	AloneForEver                              // a lone master needs no confirmation
	TruncateBelowCommit                       // cut whatever the master does not have
	ForkUncounted                             // a fork goes one further than what its copy has seen, not than all others
)

func (c *Core) mutated(m Mutation) bool { return c.cfg.Mutate&m != 0 }
