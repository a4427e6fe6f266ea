package tidy

import (
	"go/ast"
	"os"
	"regexp"
	"testing"
)

var testName = regexp.MustCompile("`((?:Test|Fuzz)[A-Z]\\w*)`")

// TestLimitsNameTestsThatExist: a limit that is documented is held by something.
func TestLimitsNameTestsThatExist(t *testing.T) {
	text, err := os.ReadFile("../../docs/limits.md")
	if err != nil {
		t.Fatal(err)
	}
	known := map[string]bool{}
	for _, f := range source(t) {
		for _, d := range f.ast.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && f.test && fn.Recv == nil {
				known[fn.Name.Name] = true
			}
		}
	}
	names := testName.FindAllSubmatch(text, -1)
	if len(names) < 10 {
		t.Fatalf("only %d tests are named: this test does not see the tables", len(names))
	}
	for _, m := range names {
		if name := string(m[1]); !known[name] {
			t.Errorf("docs/limits.md names %s, which is not there: name the test that holds the limit", name)
		}
	}
}
