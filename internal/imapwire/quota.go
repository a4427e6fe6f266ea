package imapwire

import "slices"

// Resources of a quota (RFC 9208 5).
const (
	ResourceStorage = "STORAGE" // units of 1,024 octets
	ResourceMessage = "MESSAGE"
)

// GetQuota is GETQUOTA.
type GetQuota struct{ Root string }

// GetQuotaRoot is GETQUOTAROOT.
type GetQuotaRoot struct{ Mailbox string }

// SetQuota is SETQUOTA: the limits that are to be, each resource once.
type SetQuota struct {
	Root   string
	Limits []QuotaLimit
}

// QuotaLimit is a resource's name in upper case and its limit, of 63 bit.
type QuotaLimit struct {
	Resource string
	Limit    int64
}

func (l *lexer) getQuota() (any, error) {
	root, err := l.argAstring()
	return &GetQuota{root}, err
}

func (l *lexer) getQuotaRoot() (any, error) {
	name, err := l.argMailbox()
	return &GetQuotaRoot{name}, err
}

func (l *lexer) setQuota() (any, error) {
	root, err := l.argAstring()
	if err != nil {
		return nil, err
	}
	if err := l.space(); err != nil {
		return nil, err
	}
	a := &SetQuota{Root: root}
	return a, l.list(maxItems, true, func() error {
		name, err := l.word()
		if err != nil {
			return err
		}
		if err := l.space(); err != nil {
			return err
		}
		n, err := l.number(1<<63 - 1)
		if err != nil {
			return err
		}
		if slices.ContainsFunc(a.Limits, func(q QuotaLimit) bool { return q.Resource == name }) {
			return syntax("A resource is named twice")
		}
		a.Limits = append(a.Limits, QuotaLimit{name, int64(n)})
		return nil
	})
}

// argAstring is a space and a string.
func (l *lexer) argAstring() (string, error) {
	if err := l.space(); err != nil {
		return "", err
	}
	return l.astring()
}
