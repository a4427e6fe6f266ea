package cli

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/alecthomas/kong"
	"github.com/google/go-cmp/cmp"
)

const page = "../../docs/commands.md"

// flagRow is a line of the page's tables: a flag as --help shows it, and its default.
var flagRow = regexp.MustCompile("(?m)^\\| `(-[^`]+)` \\| *([^|]*?) *\\|")

// sections maps each heading of the page, without its marks, to what follows it.
func sections(t *testing.T) map[string]string {
	t.Helper()
	b, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	m := map[string]string{}
	heading := ""
	for line := range strings.Lines(string(b)) {
		if strings.HasPrefix(line, "#") {
			heading = strings.Trim(line, "#` \n")
			continue
		}
		m[heading] += line
	}
	return m
}

func grammar(t *testing.T) *kong.Application {
	t.Helper()
	p, err := kong.New(&Commands{}, kong.Name("tandemail"))
	if err != nil {
		t.Fatal(err)
	}
	return p.Model
}

// heading is the call of a command without its flags.
func heading(n *kong.Node) string {
	words := []string{n.FullPath()}
	for _, p := range n.Positional {
		words = append(words, p.Summary())
	}
	return strings.Join(words, " ")
}

func TestThePageHasEveryCommandAndNoOther(t *testing.T) {
	var known, documented []string
	for _, n := range grammar(t).Leaves(true) {
		known = append(known, heading(n))
	}
	for h := range sections(t) {
		if strings.HasPrefix(h, "tandemail ") {
			documented = append(documented, h)
		}
	}
	slices.Sort(known)
	slices.Sort(documented)
	if diff := cmp.Diff(known, documented); diff != "" {
		t.Errorf("%s: commands of the program (-) and of the page (+):\n%s", page, diff)
	}
}

func TestThePageHasEveryFlagAndItsDefault(t *testing.T) {
	app, page := grammar(t), sections(t)
	compare := func(where, text string, flags []*kong.Flag) {
		known, documented := map[string]string{}, map[string]string{}
		for _, f := range flags {
			if !f.Hidden {
				known[f.String()] = f.Default
			}
		}
		for _, m := range flagRow.FindAllStringSubmatch(text, -1) {
			documented[m[1]] = strings.Trim(m[2], "`")
			if v, ok := known[m[1]]; ok && v == "" {
				documented[m[1]] = "" // what its absence means stands there in words
			}
		}
		if diff := cmp.Diff(known, documented); diff != "" {
			t.Errorf("%s: flags and defaults of the program (-) and of the page (+):\n%s", where, diff)
		}
	}
	compare("every command", page["Flags of every command"], app.Flags)
	for _, n := range app.Leaves(true) {
		compare(n.FullPath(), page[heading(n)], n.Flags)
	}
}
