// Package salvage gets mail out of a slot's files with nothing else: no
// coordinator, no index, no configuration, no other process, and no other copy.
//
// What a mailbox holds comes from the newest snapshot that is whole, and from the
// journal behind it; octets come from packs and from the journal. Behind a hole in
// the journal operations cannot be trusted any more (UIDs may have shifted): from
// there on every message that was delivered or appended is written, as it came in.
// Without snapshot and journal the packs' own words serve: whose a message was, where,
// with which flags, when it was stored.
//
// A message is written only if its octets have the right hash. What is not written, and
// every stretch that could not be read, is in the [Report].
//
// It never writes into the directories it reads; everything it makes, a temporary
// index too, is under Config.To. Memory is bounded whatever the size of the store.
// It reads every older format.
package salvage
