package config

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"sort"
	"strings"

	"github.com/pelletier/go-toml/v2"
	"github.com/pelletier/go-toml/v2/unstable"
)

// Problem is one thing wrong with a file.
type Problem struct {
	File string
	Line int // 1-based; 0 when something is missing
	Text string
	Hint string
}

// Problems is everything wrong with a file, by line. It is the error of Load and Parse.
type Problems []Problem

// Error gives a line a problem, with its hint.
func (p Problems) Error() string {
	var b strings.Builder
	for i, e := range p {
		if i > 0 {
			b.WriteByte('\n')
		}
		b.WriteString(e.File)
		if e.Line > 0 {
			fmt.Fprintf(&b, ":%d", e.Line)
		}
		b.WriteString(": " + e.Text)
		if e.Hint != "" {
			b.WriteString(" (" + e.Hint + ")")
		}
	}
	return b.String()
}

// maxFile bounds what is read as configuration.
const maxFile = 1 << 20

// Load reads and checks the file at path.
func Load(path string) (*Config, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("read configuration: %w", err)
	}
	if info.Size() > maxFile {
		return nil, Problems{{File: path, Text: fmt.Sprintf("%d octets are too many for a configuration", info.Size())}}
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read configuration: %w", err)
	}
	return Parse(path, b)
}

// Parse checks octets; name is the file's name in errors. The error is Problems.
func Parse(name string, b []byte) (*Config, error) {
	c := &Config{}
	p := &collector{file: name}
	p.decode(b, c)
	if len(p.problems) == 0 || p.onlyUnknown {
		c.setDefaults()
		p.lines = keyLines(b)
		p.check(c)
	}
	if len(p.problems) > 0 {
		sort.SliceStable(p.problems, func(i, j int) bool { return p.problems[i].Line < p.problems[j].Line })
		return nil, p.problems
	}
	return c, nil
}

type collector struct {
	file        string
	lines       map[string]int
	problems    Problems
	onlyUnknown bool
}

func (p *collector) decode(b []byte, c *Config) {
	err := toml.NewDecoder(bytes.NewReader(b)).DisallowUnknownFields().Decode(c)
	var strict *toml.StrictMissingError
	var syntax *toml.DecodeError
	switch {
	case err == nil:
	case errors.As(err, &strict):
		p.onlyUnknown = true
		for _, e := range strict.Errors {
			row, _ := e.Position()
			key := strings.Join(e.Key(), ".")
			p.problems = append(p.problems, Problem{p.file, row, fmt.Sprintf("unknown key %q", key), nearest(key)})
		}
	case errors.As(err, &syntax):
		row, _ := syntax.Position()
		p.problems = append(p.problems, Problem{p.file, row, strings.TrimPrefix(syntax.Error(), "toml: "), ""})
	default:
		p.problems = append(p.problems, Problem{p.file, 0, strings.TrimPrefix(err.Error(), "toml: "), ""})
	}
}

// add reports a problem with the value of key.
func (p *collector) add(key, hint, format string, args ...any) {
	p.problems = append(p.problems, Problem{p.file, p.lines[key], key + ": " + fmt.Sprintf(format, args...), hint})
}

// keyLines maps dotted keys to the lines they are on.
func keyLines(b []byte) map[string]int {
	lines := map[string]int{}
	var p unstable.Parser
	p.Reset(b)
	table := ""
	for p.NextExpression() {
		e := p.Expression()
		switch e.Kind {
		case unstable.Table, unstable.ArrayTable:
			table, _ = dotted(&p, e)
		case unstable.KeyValue:
			key, line := dotted(&p, e)
			if table != "" {
				key = table + "." + key
			}
			lines[key] = line
		}
	}
	return lines
}

func dotted(p *unstable.Parser, e *unstable.Node) (string, int) {
	var parts []string
	line := 0
	for it := e.Key(); it.Next(); {
		n := it.Node()
		parts = append(parts, string(n.Data))
		if line == 0 {
			line = p.Shape(n.Raw).Start.Line
		}
	}
	return strings.Join(parts, "."), line
}
