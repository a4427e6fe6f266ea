package imapwire

// Response codes (RFC 5530, 9051 7.1, 4315, 7162, 8474, 9586), without brackets.
const (
	CodeAlert         = "ALERT"
	CodeBadURL        = "BADURL"
	CodeURLMech       = "URLMECH INTERNAL" // RFC 4467
	CodeAlreadyExists = "ALREADYEXISTS"
	CodeBadCharset    = "BADCHARSET (UTF-8 US-ASCII)"
	CodeCannot        = "CANNOT"
	CodeClientBug     = "CLIENTBUG"
	CodeClosed        = "CLOSED"
	CodeCorruption    = "CORRUPTION"
	CodeExpungeIssued = "EXPUNGEISSUED"
	CodeHasChildren   = "HASCHILDREN"
	CodeInUse         = "INUSE"
	CodeLimit         = "LIMIT"
	CodeNonExistent   = "NONEXISTENT"
	CodeNoPerm        = "NOPERM"

	CodeNotificationOverflow = "NOTIFICATIONOVERFLOW" // RFC 5465

	CodeOverQuota   = "OVERQUOTA"
	CodeServerBug   = "SERVERBUG"
	CodeTooBig      = "TOOBIG"
	CodeTryCreate   = "TRYCREATE"
	CodeUIDRequired = "UIDREQUIRED"
	CodeUnavailable = "UNAVAILABLE"
	CodeUnknownCTE  = "UNKNOWN-CTE"
	CodeUseAttr     = "USEATTR"
	CodeReadOnly    = "READ-ONLY"
	CodeReadWrite   = "READ-WRITE"
)

// Status words of a tagged response.
const (
	OK  = "OK"
	NO  = "NO"
	BAD = "BAD"
)

// AppendTagged appends a tagged, or with "*" an untagged, status response with
// its line end. An empty code is left out.
func AppendTagged(dst []byte, tag, status, code, text string) []byte {
	dst = append(dst, tag...)
	dst = append(dst, ' ')
	dst = append(dst, status...)
	dst = append(dst, ' ')
	if code != "" {
		dst = append(dst, '[')
		dst = append(dst, code...)
		dst = append(dst, "] "...)
	}
	dst = append(dst, text...)
	return append(dst, "\r\n"...)
}
