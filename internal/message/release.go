//go:build !nextlevel

package message

// laterRules is 0 in a release.
const laterRules = 0
