package peers

import "regexp"

// needs are what a command needs by what stands in it. It is sent to servers only that
// announce that.
var needs = []struct {
	in  *regexp.Regexp
	cap string
}{
	{re(`RETURN \([^)]*SAVE| \$(\s|$)`), "SEARCHRES"},
	{re(`\b(EMAILID|THREADID|MAILBOXID)\b`), "OBJECTID"},
	{re(`\bSAVE(DATE|DON|DBEFORE|DSINCE|DATESUPPORTED)\b`), "SAVEDATE"},
	{re(`\bPREVIEW\b`), "PREVIEW"},
	{re(`^\S+ (UID )?REPLACE `), "REPLACE"},
	{re(`^\S+ ESEARCH `), "MULTISEARCH"},
	{re(`FETCH .*\(PARTIAL `), "PARTIAL"},
	{re(`PARTIAL -`), "PARTIAL"},
	{re(`SEARCH RETURN \([^)]*PARTIAL \d`), "CONTEXT=SEARCH"},
	{re(`SEARCH RETURN \([^)]*UPDATE`), "CONTEXT=SEARCH"},
	{re(`SORT RETURN \([^)]*(PARTIAL|UPDATE)`), "CONTEXT=SORT"},
	{re(`SORT RETURN `), "ESORT"},
	{re(`SORT \([^)]*DISPLAY`), "SORT=DISPLAY"},
	{re(`SEARCH RETURN `), "ESEARCH"},
	{re(`STATUS .*\([^)]*DELETED`), "IMAP4rev2"},
	{re(`STATUS .*\([^)]*\bSIZE`), "STATUS=SIZE"},
	{re(`LIST .*RETURN \(.*METADATA`), "LIST-METADATA"},
	{re(`LIST .*RETURN \(.*MYRIGHTS`), "LIST-MYRIGHTS"},
	{re(`LIST .*RETURN \(.*STATUS`), "LIST-STATUS"},
	{re(`CREATE .*\(USE `), "CREATE-SPECIAL-USE"},
	{re(`\bBINARY\b|~\{`), "BINARY"},
	{re(`APPEND .*\bUTF8 |ENABLE .*UTF8=ACCEPT`), "UTF8=ACCEPT"},
	{re(`\bCATENATE\b`), "CATENATE"},
	{re(`^\S+ NOTIFY `), "NOTIFY"},
	{re(`THREAD REFS`), "THREAD=REFS"},
	{re(`\b(YOUNGER|OLDER)\b`), "WITHIN"},
	{re(`^\S+ ENABLE .*IMAP4rev2`), "IMAP4rev2"},
	{re(`^\S+ ENABLE .*UIDONLY`), "UIDONLY"},
}

func re(expr string) *regexp.Regexp { return regexp.MustCompile(`(?i)` + expr) }

// lacking is a capability that the command needs and is not announced, or "".
func lacking(command string, announced map[string]bool) string {
	for _, n := range needs {
		if !announced[n.cap] && n.in.MatchString(command) {
			return n.cap
		}
	}
	return ""
}
