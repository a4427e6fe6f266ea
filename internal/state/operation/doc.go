// Package operation is the encoding of a store's operations in its journal:
// operation.proto as Go types, and a decoder that accepts nothing it does not
// know. What operations do is said by package state.
//
// Invariants: Decode accepts no unknown field at any depth (a newer release
// wrote it, so this one must not guess), and every id it returns has its length.
package operation

//go:generate protoc --go_out=. --go_opt=paths=source_relative operation.proto
