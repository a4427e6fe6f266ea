package mailtest

import "io"

// oneByte gives its string an octet at a time, as a slow network may.
type oneByte struct{ s string }

func (r *oneByte) Read(p []byte) (int, error) {
	if r.s == "" {
		return 0, io.EOF
	}
	n := copy(p[:min(1, len(p))], r.s)
	r.s = r.s[n:]
	return n, nil
}
