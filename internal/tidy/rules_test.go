package tidy

import (
	"go/ast"
	"go/token"
	"path"
	"slices"
	"strings"
	"testing"
)

// maxLines is how long a file may be.
const maxLines = 500

// longFiles may be longer, each for a reason.
var longFiles = map[string]string{}

// nouns are names that say nothing about what is inside.
var nouns = []string{"util", "utils", "common", "helper", "helpers", "types", "misc", "base", "shared", "lib"}

func TestNoPackageIsNamedForNothing(t *testing.T) {
	for _, p := range packages(source(t)) {
		if slices.Contains(nouns, path.Base(p)) {
			t.Errorf("%s: name the package for what it provides", p)
		}
	}
}

func TestFilesAreShort(t *testing.T) {
	long := map[string]bool{}
	for _, f := range source(t) {
		if f.generated || f.lines <= maxLines {
			continue
		}
		if long[f.path] = true; longFiles[f.path] == "" {
			t.Errorf("%s has %d lines, more than %d: split it by nouns, or give the reason in longFiles", f.path, f.lines, maxLines)
		}
	}
	for p := range longFiles {
		if !long[p] {
			t.Errorf("%s is not too long any more: delete it from longFiles", p)
		}
	}
}

// TestNoTestSleeps allows a sleep in virtual time, marked so on its line: inside a
// testing/synctest bubble it takes no time and races with nothing.
func TestNoTestSleeps(t *testing.T) {
	for _, f := range source(t) {
		if !f.test {
			continue
		}
		virtual := map[int]bool{}
		if slices.Contains(f.imports(), "testing/synctest") {
			virtual = linesWith(f, "// virtual")
		}
		eachCall(f, func(pkg, name string, n ast.Node) {
			if pkg == "time" && name == "Sleep" && !virtual[f.fset.Position(n.Pos()).Line] {
				t.Errorf("%s: sleeps; wait for a channel, or use testing/synctest and mark the line \"// virtual\"", f.at(n))
			}
		})
	}
}

// linesWith returns the lines that end with a comment that begins so.
func linesWith(f file, begin string) map[int]bool {
	lines := map[int]bool{}
	for _, group := range f.ast.Comments {
		for _, c := range group.List {
			if strings.HasPrefix(c.Text, begin) {
				lines[f.fset.Position(c.Pos()).Line] = true
			}
		}
	}
	return lines
}

func TestOnlyTheCommandEndsTheProcess(t *testing.T) {
	for _, f := range source(t) {
		if f.test || f.pkg == "cmd/tandemail" || f.pkg == "internal/cli" {
			continue
		}
		eachCall(f, func(pkg, name string, n ast.Node) {
			if pkg == "os" && name == "Exit" || pkg == "log" && (strings.HasPrefix(name, "Fatal") || strings.HasPrefix(name, "Panic")) {
				t.Errorf("%s: %s.%s ends the process; return an error", f.at(n), pkg, name)
			}
		})
	}
}

// eachCall finds calls of functions of imported packages, by the package's own name.
func eachCall(f file, found func(pkg, name string, n ast.Node)) {
	names := map[string]string{}
	for i, p := range f.imports() {
		name := path.Base(p)
		if alias := f.ast.Imports[i].Name; alias != nil {
			name = alias.Name
		}
		names[name] = path.Base(p)
	}
	ast.Inspect(f.ast, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok {
			return true
		}
		if sel, ok := call.Fun.(*ast.SelectorExpr); ok {
			if x, ok := sel.X.(*ast.Ident); ok && names[x.Name] != "" {
				found(names[x.Name], sel.Sel.Name, n)
			}
		}
		return true
	})
}

// TestNothingIsServedFromTheDefaultMux: importing net/http/pprof puts the profiler there.
func TestNothingIsServedFromTheDefaultMux(t *testing.T) {
	for _, f := range source(t) {
		if slices.Contains(f.imports(), "net/http/pprof") && f.pkg != "internal/api" {
			t.Errorf("%s imports net/http/pprof, whose handlers internal/api registers on a mux of its own", f.path)
		}
		eachCall(f, func(pkg, name string, n ast.Node) {
			if pkg == "http" && slices.Contains([]string{"Handle", "HandleFunc", "ListenAndServe", "ListenAndServeTLS"}, name) {
				t.Errorf("%s: http.%s may serve http.DefaultServeMux; make a mux and a server", f.at(n), name)
			}
		})
	}
}

func TestNothingRunsBeforeMain(t *testing.T) {
	for _, f := range source(t) {
		if f.generated {
			continue
		}
		for _, d := range f.ast.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv == nil && fn.Name.Name == "init" {
				t.Errorf("%s: an init function; construct what you need where it is wired", f.at(fn))
			}
		}
	}
}

func TestEveryPackageSaysWhatItIs(t *testing.T) {
	said := map[string]bool{}
	files := source(t)
	for _, f := range files {
		doc := f.ast.Doc.Text()
		if strings.HasPrefix(doc, "Package "+f.ast.Name.Name+" ") || strings.HasPrefix(doc, "Command ") {
			said[f.pkg] = true
		}
	}
	for _, p := range packages(files) {
		if !said[p] {
			t.Errorf("%s has no package comment: say what it is, what it is not, its invariants, who may call it when", p)
		}
	}
}

// obvious methods have their contract in the standard library.
var obvious = []string{"String", "Error", "Unwrap", "Is", "As", "GoString", "Format", "MarshalText", "UnmarshalText", "MarshalJSON", "UnmarshalJSON", "Len", "Less", "Swap"}

func TestExportedNamesStateTheirContract(t *testing.T) {
	for _, f := range source(t) {
		if f.test || f.generated {
			continue
		}
		for _, d := range f.ast.Decls {
			switch d := d.(type) {
			case *ast.FuncDecl:
				if d.Name.IsExported() && d.Doc == nil && exportedReceiver(d) && !(d.Recv != nil && slices.Contains(obvious, d.Name.Name)) {
					t.Errorf("%s: %s has no comment", f.at(d), d.Name.Name)
				}
			case *ast.GenDecl:
				for _, name := range undocumented(d) {
					t.Errorf("%s: %s has no comment", f.at(name), name.Name)
				}
			}
		}
	}
}

// exportedReceiver reports whether d is a function, or a method that others can name.
func exportedReceiver(d *ast.FuncDecl) bool {
	if d.Recv == nil {
		return true
	}
	typ := d.Recv.List[0].Type
	for {
		switch x := typ.(type) {
		case *ast.StarExpr:
			typ = x.X
		case *ast.IndexExpr:
			typ = x.X
		case *ast.IndexListExpr:
			typ = x.X
		case *ast.Ident:
			return x.IsExported()
		default:
			return false
		}
	}
}

// undocumented returns the exported names of d that neither they nor their group explain.
func undocumented(d *ast.GenDecl) []*ast.Ident {
	if d.Tok == token.IMPORT || d.Doc != nil {
		return nil
	}
	var names []*ast.Ident
	for _, s := range d.Specs {
		switch s := s.(type) {
		case *ast.TypeSpec:
			if s.Doc == nil && s.Comment == nil && s.Name.IsExported() {
				names = append(names, s.Name)
			}
		case *ast.ValueSpec:
			if s.Doc != nil || s.Comment != nil {
				continue
			}
			for _, n := range s.Names {
				if n.IsExported() {
					names = append(names, n)
				}
			}
		}
	}
	return names
}
