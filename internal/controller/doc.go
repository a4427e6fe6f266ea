// Package controller compares the cluster with what it should be, and acts.
//
// Every control machine runs one Controller. All of them look at all machines
// all the time; one, elected, also asks the agents how their slots are, runs
// package plan, and asks agents for what the plan says. A successor therefore
// knows at once who has been silent for how long.
//
// It is not needed for mail to flow, and it changes nothing itself: nominees and
// masters do, by compare-and-swap on the store's record, and refuse what was
// decided on an older epoch. So two controllers do no harm, a controller may die
// at any step, and whatever was asked may be asked again. All it writes is
// history, guarded by its term.
//
// Times. A machine that dies with the coordinator's leader keeps its lease for 4.5
// to 6 s, so the lease alone would be too slow. The controller's own probe is the
// first observer, and the second is whoever speaks first: a replica that lost
// its stream, a front end, another candidate, the lease. With the defaults:
//
//	ProbeEvery 250 ms, RefusedAfter 500 ms, SilentAfter 1 s, AlertTick 250 ms
//
//	killed process:  ProbeEvery + RefusedAfter + ProbeEvery                 = 1.0 s at most
//	dead machine:    ProbeEvery + SilentAfter + ProbeEvery + ProbeTimeout   = 1.7 s at most
//
// to the nomination. A new master answers no earlier than 1.1 s after the last
// confirmation of the old one (replica's LeaseWait), which runs meanwhile. What
// must hold between the times is checked by Timing.Check:
//
//	ProbeTimeout <= ProbeEvery                  an answer comes before the next question
//	2 ProbeEvery <= RefusedAfter <= SilentAfter more than one probe agrees
//	3 ProbeEvery <= SilentAfter
//	Tick + StatusTimeout <= StatusFresh         what is known stays fresh between two looks
//	SilentAfter < ElectionTTL                   probes speak before leases do
//	both sums above <= Target                   the promise
//
// An observer that was itself late accuses nobody: a probe whose turn came more
// than a tick late, or that took longer than it was allowed, says nothing.
package controller
