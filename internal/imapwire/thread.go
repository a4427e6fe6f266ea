package imapwire

import "slices"

// ThreadAlgorithm is how THREAD finds threads.
type ThreadAlgorithm uint8

// The algorithms: RFC 5256 and, for REFS, draft-ietf-morg-inthread.
const (
	ThreadOrderedSubject ThreadAlgorithm = iota
	ThreadReferences
	ThreadRefs
)

var threadNames = [...]string{
	ThreadOrderedSubject: "ORDEREDSUBJECT", ThreadReferences: "REFERENCES", ThreadRefs: "REFS",
}

// Thread is THREAD and UID THREAD.
type Thread struct {
	Search
	Algorithm ThreadAlgorithm
}

func (l *lexer) thread() (any, error) {
	if err := l.space(); err != nil {
		return nil, err
	}
	w, err := l.word()
	if err != nil {
		return nil, err
	}
	i := slices.Index(threadNames[:], w)
	if i < 0 {
		return nil, syntax("No such THREAD algorithm")
	}
	t := &Thread{Algorithm: ThreadAlgorithm(i)}
	if err := l.argCharset(); err != nil {
		return nil, err
	}
	return t, l.program(&t.Search)
}
