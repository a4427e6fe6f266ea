//go:build nextlevel

package message

// laterRules makes a build for tests of upgrades: what the release before has derived
// it derives anew.
const laterRules = 1
