package message

import "slices"

// words are the strings that most messages share, each one octet when encoded:
// at most 64, sorted. They belong to [Version].
var words = [...]string{
	"", "7bit", "8bit", "ISO-8859-1", "US-ASCII", "UTF-8", "alternative", "application",
	"attachment", "audio", "base64", "binary", "boundary", "calendar", "charset", "csv",
	"delivery-status", "delsp", "filename", "filename*", "fixed", "flowed", "format", "gif",
	"gmail.com", "html", "image", "inline", "iso-8859-1", "jpeg", "message", "method", "micalg",
	"mixed", "multipart", "name", "no", "octet-stream", "pdf", "pgp-signature", "pkcs7-signature",
	"plain", "png", "protocol", "quoted-printable", "related", "report", "report-type", "rfc822",
	"signed", "size", "text", "type", "us-ascii", "utf-8", "video", "windows-1252", "yes",
}

// wordIndex is the index of s in words, -1 if it is not there.
func wordIndex(s string) int {
	if len(s) > len("quoted-printable") {
		return -1
	}
	if i, ok := slices.BinarySearch(words[:], s); ok {
		return i
	}
	return -1
}
