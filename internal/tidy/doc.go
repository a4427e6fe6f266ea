// Package tidy is the part of CONTRIBUTING.md that a machine can check: what may
// import what, where each library lives, and a few rules of form. It holds tests
// only. The tables at the top of layers_test.go and rules_test.go are meant to be
// read, and to be changed together with the code, each exception with its reason.
package tidy
