// Package bench generates load and measures it: LMTP deliveries and IMAP commands,
// with percentiles, for developers and for users who size a machine
// (`tandemail bench lmtp|imap`).
//
// It is not a test: it checks only that the server says yes. It is lean, because
// it shares the processors with what it measures: one goroutine and one
// connection a client, one write a step, no allocation a message.
//
// Each connection works in a closed loop: it sends the next message or command
// when the one before is answered. A latency is the time from the first octet of
// the command written to the last octet of the answer read. An answer that never
// came has no latency; it is counted among the errors.
//
// Every goroutine started by a Run ends before it returns. Time is the real one.
package bench
