//go:build !nextlevel

package cluster

// laterLevels is 0 in a release.
const laterLevels = 0
