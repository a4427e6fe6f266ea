package tidy

import (
	"go/ast"
	"os"
	"regexp"
	"testing"
)

var testName = regexp.MustCompile("`((?:Test|Fuzz)[A-Z]\\w*)(?:/[^`]*)?`")

// TestPagesNameTestsThatExist: a limit, or what holds in a failure, is held by something.
func TestPagesNameTestsThatExist(t *testing.T) {
	known := map[string]bool{}
	for _, f := range source(t) {
		for _, d := range f.ast.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && f.test && fn.Recv == nil {
				known[fn.Name.Name] = true
			}
		}
	}
	for _, page := range []string{"docs/limits.md", "docs/failures.md"} {
		text, err := os.ReadFile("../../" + page)
		if err != nil {
			t.Fatal(err)
		}
		names := testName.FindAllSubmatch(text, -1)
		if len(names) < 10 {
			t.Fatalf("%s names only %d tests: this test does not see the tables", page, len(names))
		}
		for _, m := range names {
			if name := string(m[1]); !known[name] {
				t.Errorf("%s names %s, which is not there: name the test that holds it", page, name)
			}
		}
	}
}
