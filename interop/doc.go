// Package interop tests a running cluster with the clients that people use: mbsync,
// offlineimap, neomutt, getmail, fetchmail, gsasl, curl, Python's imaplib and poplib, imapflow. A
// client that is not installed is skipped, and named; .ci/run installs all.
package interop
