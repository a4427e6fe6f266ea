package peers

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// fetched are the items told of each message, each value that was told.
type fetched map[string]map[string][]node

func fetchesOf(rs []response) fetched {
	out := fetched{}
	for _, r := range of(rs, "FETCH", "UIDFETCH") {
		of := fmt.Sprint(r.kind, " ", r.number)
		if out[of] == nil {
			out[of] = map[string][]node{}
		}
		for _, arg := range r.args {
			_, values := pairs(arg.items)
			for k, v := range values {
				out[of][k] = append(out[of][k], v)
			}
		}
	}
	return out
}

func (c *comparison) fetches(want, got []response) {
	wanted, told := fetchesOf(want), fetchesOf(got)
	for _, of := range slices.Sorted(maps.Keys(wanted)) {
		for _, key := range slices.Sorted(maps.Keys(wanted[of])) {
			w, g := wanted[of][key], told[of][key]
			if key == rest || w[len(w)-1].text == rest {
				continue
			}
			if len(g) == 0 {
				c.differ("%s without %s", of, key)
			} else if last := w[len(w)-1]; !slices.ContainsFunc(g, func(n node) bool { return c.item(key, last, n) }) {
				c.differ("%s: %s: want %s, got %s", of, key, show(last), show(g[len(g)-1]))
			}
		}
	}
	for _, of := range slices.Sorted(maps.Keys(told)) {
		for key := range told[of] {
			_, all := wanted[of][rest]
			if key != "FLAGS" && key != "UID" && key != "MODSEQ" && wanted[of][key] == nil && !all {
				c.differ("%s with %s", of, key)
			}
		}
	}
}

func (c *comparison) item(key string, want, got node) bool {
	switch key {
	case "FLAGS":
		return c.flags(want, got)
	case "MODSEQ":
		return c.modseq(want, got)
	case "INTERNALDATE", "SAVEDATE":
		return c.date(want, got)
	case "BODY", "BODYSTRUCTURE":
		return c.try(func() bool { return c.alike(lower(want), lower(got)) })
	}
	return c.try(func() bool { return c.alike(want, got) })
}

func lower(n node) node {
	n.text = strings.ToLower(n.text)
	n.items = slices.Clone(n.items)
	for i := range n.items {
		n.items[i] = lower(n.items[i])
	}
	return n
}

func show(n node) string {
	switch {
	case n.quoted:
		return strconv.Quote(n.text)
	case !n.list:
		return n.text
	}
	parts := make([]string, len(n.items))
	for i := range n.items {
		parts[i] = show(n.items[i])
	}
	return "(" + strings.Join(parts, " ") + ")"
}
