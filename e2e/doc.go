// Package e2e drives the program from outside: it builds the one binary, starts
// `tandemail dev --json`, speaks LMTP and IMAP to it, kills and stops its machines,
// and compares what is there with what was acknowledged. It knows only what an
// operator or a client knows.
//
//	go test ./e2e                                          sessions across switches, one short ledger round
//	go test ./e2e -run Ledger -v -ledger.rounds=50         many long ones
//	TANDEMAIL_CORPUS=DIR go test ./e2e -run Corpus -v      real mail, a machine killed half way
//	go test ./e2e -run Measure -v -measure -timeout 60m    how long switches take
//
// The rules by which it judges are in package ledger.
package e2e
