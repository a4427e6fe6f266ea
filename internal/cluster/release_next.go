//go:build nextlevel

package cluster

// laterLevels makes a build for tests of upgrades: of a release to come, which
// supports one level more and changes nothing under it.
const laterLevels = 1
