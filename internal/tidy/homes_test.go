package tidy

import (
	"slices"
	"strings"
	"testing"
)

// homes says which packages may import a library, by the longest prefix of its
// path. One library has one home: to replace it is to rewrite one package.
// "tests" are test files and test packages, "any" is everything.
var homes = map[string]string{
	"github.com/alecthomas/kong":           "cli",
	"github.com/cockroachdb/datadriven":    "tests",
	"github.com/cockroachdb/pebble/v2":     "index",
	"github.com/cockroachdb/pebble/v2/vfs": "disk spool journal pack snapshot index slot salvage tail agent lmtpd app cli", // the file system, which tests crash
	"github.com/coder/websocket":           "web",
	"github.com/d--j/go-milter":            "scan",
	"github.com/emersion/go-imap/v2":       "transfer tests", // its client; the server is ours
	"github.com/emersion/go-message":       "tests",          // an oracle
	"github.com/emersion/go-sasl":          "auth",
	"github.com/emersion/go-smtp":          "dev tests", // its client; the server is ours
	"github.com/go-jose/go-jose/v4":        "oidc",
	"github.com/google/go-cmp":             "tests",
	"github.com/hashicorp/yamux":           "link",
	"github.com/jhillyerd/enmime/v2":       "tests", // an oracle
	"github.com/klauspost/compress":        "compress",
	"github.com/pelletier/go-toml/v2":      "config",
	"github.com/prometheus/client_golang":  "metrics",
	"github.com/rogpeppe/go-internal":      "tests",
	"github.com/tidwall/btree":             "state", // the map behind the in-memory KV
	"go.etcd.io":                           "coord/etcd",
	"go.uber.org/zap":                      "coord/etcd", // etcd's logger, bridged
	"golang.org/x":                         "any",        // the standard library's annex
	"golang.org/x/crypto":                  "auth pki",
	"golang.org/x/sys":                     "disk lmtpd dev app",
	"google.golang.org/grpc":               "coord/etcd", // its status codes
	"google.golang.org/protobuf":           "state state/operation",
	"pgregory.net/rapid":                   "tests",
}

func TestEachLibraryHasOneHome(t *testing.T) {
	known := places(t)
	for _, f := range source(t) {
		for _, path := range f.imports() {
			if strings.HasPrefix(path, module) || !strings.Contains(strings.Split(path, "/")[0], ".") {
				continue
			}
			library, home := homeOf(path)
			switch {
			case library == "":
				t.Errorf("%s imports %s, which has no home: add it to the table in internal/tidy/homes_test.go, with the one package that may use it", f.path, path)
			case f.test || known[f.pkg].layer == testLayer:
				// Tests may look behind every curtain.
			case home == "any", slices.ContainsFunc(strings.Fields(home), func(h string) bool { return dir(h) == f.pkg }):
			default:
				t.Errorf("%s imports %s, whose home is %s", f.path, path, home)
			}
		}
	}
}

func homeOf(path string) (library, home string) {
	for l, h := range homes {
		if (path == l || strings.HasPrefix(path, l+"/")) && len(l) > len(library) {
			library, home = l, h
		}
	}
	return library, home
}
