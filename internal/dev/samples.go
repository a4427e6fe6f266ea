package dev

import (
	"bytes"
	"context"
	"embed"
	"fmt"
	"strings"
)

//go:embed samples/*.eml
var samples embed.FS

// sampleUsers are the users of a fresh cluster.
func sampleUsers() []User {
	names := strings.Fields("alice bjorn chloe dmitri emeka fatima gustav hana ines jonas kaori lars mei noor olga pavel quinn rosa sven tove")
	users := make([]User, 0, userCount)
	for _, n := range names[:userCount] {
		users = append(users, User{User: n + "@example.test", Password: n + "-tandem"})
	}
	return users
}

// deliverSamples sends every sample to every user, one transaction a message.
func (r *runner) deliverSamples(ctx context.Context) error {
	entries, err := samples.ReadDir("samples")
	if err != nil {
		return err
	}
	to := make([]string, len(r.layout.Users))
	for i, u := range r.layout.Users {
		to[i] = u.User
	}
	d, err := dialLMTP(ctx, r.machines()[0].LMTP)
	if err != nil {
		return err
	}
	defer d.close()
	for _, e := range entries {
		b, err := samples.ReadFile("samples/" + e.Name())
		if err != nil {
			return err
		}
		b = bytes.ReplaceAll(b, []byte("\n"), []byte("\r\n"))
		if err := d.send("postmaster@example.test", to, bytes.NewReader(b)); err != nil {
			return fmt.Errorf("sample %s: %w", e.Name(), err)
		}
	}
	return nil
}
