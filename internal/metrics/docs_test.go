package metrics

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// row is a line of the page: | `name` | type | labels | unit | what for |
var row = regexp.MustCompile("(?m)^\\| `(tandemail_[a-z_]+)` \\| ([a-z]+) \\| (.*) \\| (.*) \\| .+ \\|$")

func TestThePageHasEveryMetricAndNoOther(t *testing.T) {
	const page = "../../docs/metrics.md"
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	var documented, known []string
	for _, m := range row.FindAllStringSubmatch(string(text), -1) {
		documented = append(documented, strings.Join(m[1:], " | "))
	}
	for _, f := range newMachine(Sources{}).families {
		labels := ""
		if len(f.labels) > 0 {
			labels = "`" + strings.Join(f.labels, "`, `") + "`"
		}
		known = append(known, strings.Join([]string{f.name, f.kind, labels, unit(f.name)}, " | "))
	}
	slices.Sort(documented)
	slices.Sort(known)
	if diff := cmp.Diff(known, documented); diff != "" {
		t.Errorf("%s: metrics of the program (-) and of the page (+):\n%s", page, diff)
	}
}

// unit is what the name says, as conventions have it: base units, or a plain number.
func unit(name string) string {
	for _, u := range []string{"seconds", "bytes"} {
		if strings.HasSuffix(strings.TrimSuffix(name, "_total"), "_"+u) {
			return u
		}
	}
	return ""
}

func TestThePageNamesOnlyMetricsThatThereAre(t *testing.T) {
	text, err := os.ReadFile("../../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	known := map[string]bool{}
	for _, f := range newMachine(Sources{}).families {
		known[f.name] = true
		known[f.name+"_bucket"] = f.kind == histogramKind
	}
	all := scrape(t, full(t))
	for _, name := range regexp.MustCompile("tandemail_[a-z_]+|`(go|process)_[a-z_]+").FindAllString(string(text), -1) {
		name = strings.TrimPrefix(name, "`")
		if !known[name] && (strings.HasPrefix(name, prefix) || !strings.Contains(all, "\n# TYPE "+name+" ")) {
			t.Errorf("there is no metric %s", name)
		}
	}
}
