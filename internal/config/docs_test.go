package config

import (
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const page = "../../docs/configuration.md"

func readPage(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// row is a line of the page's tables: a key and, if it is one, a value in TOML.
var row = regexp.MustCompile("(?m)^\\| `([a-z0-9_.]+)` \\| (?:`([^`|]+)` \\|)?")

func TestThePageHasEveryKeyAndNoOther(t *testing.T) {
	text := readPage(t)
	var documented []string
	for _, m := range row.FindAllStringSubmatch(text, -1) {
		documented = append(documented, m[1])
	}
	for _, table := range regexp.MustCompile("(?m)^### `\\[([a-z.]+)\\]`$").FindAllStringSubmatch(text, -1) {
		documented = append(documented, table[1])
	}
	known := knownKeys(reflect.TypeFor[Config](), "")
	slices.Sort(known)
	slices.Sort(documented)
	if diff := cmp.Diff(known, documented); diff != "" {
		t.Errorf("%s: keys of the program (-) and of the page (+):\n%s", page, diff)
	}
}

func TestThePagesDefaultsAreTheDefaults(t *testing.T) {
	want, err := Parse("x", []byte(good(t)))
	if err != nil {
		t.Fatal(err)
	}
	var stated strings.Builder
	for _, m := range row.FindAllStringSubmatch(readPage(t), -1) {
		if m[2] != "" {
			stated.WriteString(m[1] + " = " + m[2] + "\n")
		}
	}
	if strings.Count(stated.String(), "\n") < 5 {
		t.Fatalf("found only these defaults on the page:\n%s", stated.String())
	}
	got, err := Parse("x", []byte(stated.String()+good(t)))
	if err != nil {
		t.Fatal(err)
	}
	if len(got.Mail.Trusted) == 0 {
		got.Mail.Trusted = nil // [] and absent are one
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("stating the defaults changes (-nothing stated +stated):\n%s", diff)
	}
}

func TestThePagesExampleIsValid(t *testing.T) {
	_, example, _ := strings.Cut(readPage(t), "```toml\n")
	example, _, ok := strings.Cut(example, "```")
	if !ok {
		t.Fatal("no example")
	}
	if _, err := Parse("example", []byte(example)); err != nil {
		t.Error(err)
	}
}
