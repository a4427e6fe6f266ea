// Package tail brings back what a forced failover left behind: the messages that the
// history which was left had, and the one that goes on never had, are delivered again,
// to wherever their users live now, under ids of their own. All other changes are
// listed and not made.
//
// What holds:
//
//   - A message is delivered again exactly once, however often this is interrupted and
//     repeated: the id of its delivery follows from the operation that brought it, and
//     what came of it is written down, durably.
//   - One that cannot be delivered again holds nobody else up, and stays: the tail is
//     not done, says so, and is tried again.
//   - The files of the tail are only read. What is written is in a directory beside
//     them (docs/format/slot.md): a log with a line for each message and change, and a
//     report.
//
// A Worker does one tail at a time and is not safe for concurrent use.
package tail
