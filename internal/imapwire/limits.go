package imapwire

// Limits bound what one command may be. The zero value of a field means the
// default that stands beside it.
type Limits struct {
	Line     int   // octets of all lines of a command, literals excluded: 64 KiB
	String   int64 // octets of a literal that is an argument: 64 KiB
	Message  int64 // octets of a literal of APPEND: 100 MiB
	Memory   int64 // of literals of a command; messages beyond are spooled, if there is a spool: 64 KiB
	Literals int   // of one command: 1,000
	NonSync  int64 // largest literal that needs no continuation: no limit (LITERAL+)
}

// Bounds of what is inside a command; the line's length bounds the rest.
const (
	maxTag       = 256
	maxNesting   = 32     // lists in lists, NOT and OR
	maxKeys      = 1_000  // of one SEARCH
	maxItems     = 200    // of one FETCH
	maxFields    = 200    // header names of one section
	maxRanges    = 10_000 // of one sequence set
	maxFlags     = 200    // of one STORE or APPEND
	maxPatterns  = 100    // of one LIST
	maxSection   = 100    // numbers of one section
	maxIDPairs   = 30     // RFC 2971 3.3
	maxIDOctets  = 1024
	maxEnable    = 50
	maxGroups    = 50       // of one NOTIFY
	maxURLs      = 100      // of one GENURLAUTH or URLFETCH
	maxURL       = 8 << 10  // octets
	maxSkipTotal = 64 << 20 // octets swallowed of one refused command
)

func (l Limits) withDefaults() Limits {
	set := func(v *int64, d int64) {
		if *v == 0 {
			*v = d
		}
	}
	if l.Line == 0 {
		l.Line = 64 << 10
	}
	if l.Literals == 0 {
		l.Literals = 1000
	}
	set(&l.String, 64<<10)
	set(&l.Message, 100<<20)
	set(&l.Memory, 64<<10)
	set(&l.NonSync, 1<<62)
	return l
}
