// Package plan decides: what is wrong with a cluster, what to do about it, where
// new stores go, whether a machine may be stopped. It is pure: a snapshot, a
// policy and the time in, problems and actions out. No clock, goroutine, I/O,
// randomness, and no map order shows in an answer.
//
// It does not act, and it trusts nobody to act only once: every action is safe
// to repeat and to do on an outdated decision, because what it asks for is done
// by the nominee or the master itself, by compare-and-swap on the store's record.
//
// Rules that never bend here. Only slots of the recorded in-sync set are
// nominated. One observer alone declares nobody dead. An answer that is not
// fresh is no answer. When many machines look dead at once, more likely the
// observer is sick: nothing automatic happens.
package plan
