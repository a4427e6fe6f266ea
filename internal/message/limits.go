package message

// Bounds of one parse. Beyond them the octets stay reachable, as the body of the
// part they are in, but are no longer interpreted.
const (
	// maxDepth counts nested multiparts and messages. Below it such a part is a
	// leaf, reported as application/octet-stream.
	maxDepth = 100
	// maxParts counts all nodes of the tree but the empty ones given to multiparts
	// that have none, at most one a level. The last one runs to the end of the
	// message.
	maxParts = 10_000
	// maxHeader is how much of one header is interpreted. Its offsets cover it all.
	maxHeader = 1 << 20
	// maxHeaders is how much is interpreted of all headers of one message.
	maxHeaders = 8 << 20
	// maxAddresses counts the addresses kept in all envelopes of one message.
	maxAddresses = 20_000
	// maxParams counts the parameters kept of one field.
	maxParams = 200
	// maxLanguages counts the tags kept of one Content-Language.
	maxLanguages = 50
	// maxDelimiter is the longest line looked at as a boundary delimiter, white
	// space after the boundary included. RFC 2046 allows 70 octets of boundary.
	maxDelimiter = 2048
	// maxBoundary is the longest boundary honoured.
	maxBoundary = 1000
	// maxIDLength is the longest message id; a longer one is no id.
	maxIDLength = 1000
	// maxReferences counts the ids kept of References and In-Reply-To: the first,
	// which is the thread's root, and the last ones.
	maxReferences = 50
	// maxQuoted is the longest string written as a quoted string; longer ones
	// become literals.
	maxQuoted = 1000
	// maxBlankRun is the longest run of white space that quoted-printable drops at
	// the end of a line.
	maxBlankRun = 1000
)

// windowSize is how much of a message is read at once.
const windowSize = 64 << 10
