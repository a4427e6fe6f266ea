package api

import (
	"maps"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tandemail/tandemail/internal/slot"
)

const page = "../../docs/http.md"

func readPage(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestThePageHasEveryMethodAndNoOther(t *testing.T) {
	var documented []string
	for _, m := range regexp.MustCompile("(?m)^\\| `([A-Z]+ /[^`]+)`").FindAllStringSubmatch(readPage(t), -1) {
		documented = append(documented, m[1])
	}
	slices.Sort(documented)
	known := slices.Concat(slices.Collect(maps.Keys((&server{}).routes())), slices.Collect(maps.Keys(processRoutes(nil))))
	slices.Sort(known)
	if diff := cmp.Diff(known, documented); diff != "" {
		t.Errorf("%s: methods of the server (-) and of the page (+):\n%s", page, diff)
	}
}

// documents are what methods take and give; what they contain is found from them.
var documents = []any{
	Status{},
	User{},
	NewUser{},
	UserChange{},
	ACLRequest{},
	ACLReport{},
	PasswordRequest{},
	SCRAM{},
	SwitchRequest{},
	SwitchReport{},
	FailoverRequest{},
	FailoverReport{},
	Tail{},
	DrainReport{},
	Check{},
	DigestReport{},
	StoresRequest{},
	StoresReport{},
	TokenRequest{},
	Token{},
	RemoveRequest{},
	RemoveReport{},
	Error{},
	ReseedRequest{},
	SkipRequest{},
	SkipReport{},
	ThawRequest{},
	ClusterLevel{},
	UpgradeRequest{},
	RecoverRequest{},
	RecoverReport{},
	Retention{},
	DeletedUser{},
	UndeleteRequest{},
	UndeleteReport{},
	HistoryRequest{},
	UserHistory{},
	PurgeRequest{},
	PurgeReport{},
	slot.Actor{},
	slot.Deed{},
	slot.Place{},
	PKI{},
	RotateRequest{},
	RotateReport{},
	TokenStatus{},
}

func TestThePageHasEveryFieldOfEveryDocument(t *testing.T) {
	known := map[string][]string{}
	for _, d := range documents {
		addFields(known, reflect.TypeOf(d))
	}
	if diff := cmp.Diff(known, documentedFields(readPage(t))); diff != "" {
		t.Errorf("%s: fields of the program (-) and of the page (+):\n%s", page, diff)
	}
}

// addFields adds the fields of a struct, "?" behind those that may be absent, and
// of the structs of this package that it contains.
func addFields(m map[string][]string, typ reflect.Type) {
	m[typ.Name()] = []string{}
	for f := range typ.Fields() {
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		if name == "-" {
			continue
		}
		if strings.HasPrefix(options, "omit") {
			name += "?"
		}
		m[typ.Name()] = append(m[typ.Name()], name)
		inner := f.Type
		if inner.Kind() == reflect.Slice {
			inner = inner.Elem()
		}
		if inner.Kind() == reflect.Struct && inner.PkgPath() == typ.PkgPath() {
			addFields(m, inner)
		}
	}
	slices.Sort(m[typ.Name()])
}

var (
	fieldRow  = regexp.MustCompile("^\\| (`[^|]+`) \\| (.*) \\|$")
	fieldName = regexp.MustCompile("`([a-z_]+)`")
)

// documentedFields reads the tables of the page's last part.
func documentedFields(text string) map[string][]string {
	m := map[string][]string{}
	_, text, _ = strings.Cut(text, "\n## Documents\n")
	document := ""
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if name, ok := strings.CutPrefix(line, "### "); ok {
			document = name
			continue
		}
		row := fieldRow.FindStringSubmatch(line)
		if row == nil {
			continue
		}
		optional := ""
		if strings.HasPrefix(row[2], "optional") {
			optional = "?"
		}
		for _, name := range fieldName.FindAllStringSubmatch(row[1], -1) {
			m[document] = append(m[document], name[1]+optional)
		}
	}
	for _, fields := range m {
		slices.Sort(fields)
	}
	return m
}
