package tidy

import (
	"slices"
	"strings"
	"testing"
)

// layers is the map of the module, from the bottom up. A package imports only
// packages of rows above its own in this table. Test packages at the end are
// imported by tests and by each other, never by the program.
var layers = []struct {
	layer    string
	packages string
}{
	{"words", "cluster mail"},
	{"mechanisms", "compress latency oidc"},
	{"mechanisms", "accept disk fields spool line pki message state/operation"},
	{"mechanisms", "journal imapwire link state sieve"},
	{"mechanisms", "index pack scan seed session snapshot"},
	{"a slot", "replica"},
	{"a slot", "slot imapd pop3d sieved"},
	{"a slot", "salvage"},
	{"the cluster", "coord lmtpd"},
	{"the cluster", "coord/etcd coord/memory"},
	{"the cluster", "directory plan route enrol"},
	{"the cluster", "tail"},
	{"the cluster", "auth agent transfer deliver host"},
	{"the cluster", "controller router proxy remote"},
	{"surfaces", "config metrics api"},
	{"surfaces", "web bench dev install"},
	{"surfaces", "app"},
	{"surfaces", "cli"},
	{"surfaces", "/cmd/tandemail"},
	{testLayer, "mail/mailtest coord/coordtest imapwire/imaptest simnet simfs heap"},
	{testLayer, "sim tidy /e2e/ledger"},
	{testLayer, "campaign"},
	{testLayer, "/e2e /interop /interop/peers"},
}

const testLayer = "tests"

// against lists imports that go against the table, with the reason. Keys are
// "importing -> imported", below internal/.
var against = map[string]string{}

// protocolServers see a mailbox only as mail.Account, so that they run on the
// memory twin in tests and know nothing of copies, epochs and machines.
var (
	protocolServers = []string{"internal/imapd", "internal/pop3d", "internal/sieved"}
	protocolImports = []string{"mail", "imapwire", "message", "sieve", "session"}
)

// dir returns the directory of a name of the table.
func dir(name string) string {
	if strings.HasPrefix(name, "/") {
		return name[1:]
	}
	return "internal/" + name
}

type place struct {
	row   int
	layer string
}

func places(t *testing.T) map[string]place {
	m := map[string]place{}
	for i, l := range layers {
		for _, name := range strings.Fields(l.packages) {
			if _, twice := m[dir(name)]; twice {
				t.Errorf("%s is in the table of layers twice", name)
			}
			m[dir(name)] = place{i, l.layer}
		}
	}
	return m
}

func TestEveryPackageHasALayer(t *testing.T) {
	known := places(t)
	for _, p := range packages(source(t)) {
		if _, ok := known[p]; !ok {
			t.Errorf("%s is in no layer: add it to the table in internal/tidy/layers_test.go, above everything that imports it", p)
		}
	}
}

func TestImportsGoDown(t *testing.T) {
	known := places(t)
	used := map[string]bool{}
	for _, f := range source(t) {
		from := known[f.pkg]
		for _, path := range f.imports() {
			imported, ours := strings.CutPrefix(path, module+"/")
			to, ok := known[imported]
			if !ours || !ok || imported == f.pkg {
				continue
			}
			if to.layer == testLayer && (f.test || from.layer == testLayer && to.row < from.row) {
				continue
			}
			if to.layer != testLayer && to.row < from.row {
				continue
			}
			edge := strings.TrimPrefix(f.pkg, "internal/") + " -> " + strings.TrimPrefix(imported, "internal/")
			if used[edge] = true; against[edge] == "" {
				t.Errorf("%s: %s must not import %s: it is not below it in the table of layers", f.path, f.pkg, imported)
			}
		}
	}
	for edge := range against {
		if !used[edge] {
			t.Errorf("the exception %q is not needed any more: delete it", edge)
		}
	}
}

func TestProtocolServersSeeOnlyAccounts(t *testing.T) {
	for _, f := range source(t) {
		if f.test || !slices.Contains(protocolServers, f.pkg) {
			continue
		}
		for _, path := range f.imports() {
			imported, ours := strings.CutPrefix(path, module+"/internal/")
			if ours && !slices.Contains(protocolImports, imported) {
				t.Errorf("%s imports %s; a protocol server imports only %s", f.path, imported, strings.Join(protocolImports, ", "))
			}
		}
	}
}
